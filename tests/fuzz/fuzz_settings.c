/* libFuzzer target: any bytes as a YAML file of settings; what is accepted is in its ranges, and what is refused changes
 * nothing. */
#include <string.h>

#include "fuzz_file.h"
#include "settings/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dt_settings s, before;
    dt_error err = {0};
    int fd = fuzz_file_open(data, size);
    dt_settings_init(&s);
    before = s;
    if (settings_load(&s, fuzz_file_path(fd), &err) == DT_OK) {
        for (int i = 0; i < settings_key_count; i++) assert(settings_in_range(&s, &settings_keys[i]));
    } else {
        assert(memcmp(&s, &before, sizeof s) == 0);
        assert(err.message[0] && !strchr(err.message, '\n'));
    }
    close(fd);
    return 0;
}
