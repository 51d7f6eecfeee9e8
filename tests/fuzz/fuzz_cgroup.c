/* libFuzzer target: any bytes as what the kernel says of a process's control groups, and of their limits. */
#include "fuzz_folder.h"

#include "base/cpus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"m/g/cpu.max", "m/cpu/g/cpu.cfs_quota_us", "m/cpu/g/cpu.cfs_period_us"};
    fuzz_bytes rest = {data, size};
    fuzz_make_dirs("m/g");
    fuzz_make_dirs("m/cpu/g");
    fuzz_put("groups", fuzz_part(&rest));
    for (int i = 0; i < 3; i++) {
        const fuzz_bytes part = fuzz_part(&rest);
        fuzz_put(names[i], part);
        if (part.size == 0) remove(fuzz_path(names[i]));
    }
    assert(cpus_of_groups(fuzz_path("groups"), fuzz_path("m")) >= 0);
    return 0;
}
