/* libFuzzer target: a key and a value, parted by "=", as the command line and YAML files hand them over. A value that is taken is
 * in its range and is written so that it reads back to the same. */
#include "fuzz_folder.h"

#include "settings/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dt_settings s, before;
    static char text[SETTINGS_VALUE_MAX], again[SETTINGS_VALUE_MAX], hint[DT_TEXT_MAX];
    dt_error err = {0};
    fuzz_copy(text, sizeof text, (fuzz_bytes){data, size});
    char *value = strchr(text, '=');
    if (value)
        *value++ = '\0';
    else
        value = text + strlen(text);
    settings_hint(hint, text, SETTINGS_TRAIN, true);
    dt_settings_init(&s);
    before = s;
    if (settings_set(&s, text, value, &err) == DT_OK) {
        const settings_key *key = settings_find(text);
        assert(settings_in_range(&s, key));
        settings_text(again, &s, key);
        before = s;
        assert(settings_set(&s, key->name, again, &err) == DT_OK);
    }
    assert(memcmp(&s, &before, sizeof s) == 0);
    fuzz_check_error(&err);
    return 0;
}
