/* libFuzzer target: any bytes as what the holder of a lock says of itself. */
#include "fuzz_folder.h"

#include <fcntl.h>

#include "file/lock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static file_lock held;
    file_lock mine;
    dt_error err = {0};
    if (!held.held) {
        fuzz_make_dirs("f");
        assert(file_lock_folder(&held, fuzz_path("f"), &err) == DT_OK);
    }
    assert(ftruncate(held.fd, 0) == 0 && pwrite(held.fd, data, size, 0) == (ssize_t)size);
    assert(file_lock_folder(&mine, fuzz_path("f"), &err) == DT_ERR_CONFLICT && !mine.held);
    fuzz_check_error(&err);
    return 0;
}
