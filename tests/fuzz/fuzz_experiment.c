/* libFuzzer target: any bytes as the experiment.json of a folder that an experiment goes on in. */
#include "fuzz_folder.h"
#include "study/experiment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dt_settings s;
    settings_arms arms = {0};
    experiment e;
    bool done;
    dt_error err = {0};
    dt_settings_init(&s);
    fuzz_make_dirs("e");
    fuzz_put("e/experiment.json", (fuzz_bytes){data, size});
    if (experiment_open(&e, fuzz_path("e"), &err) == DT_OK) {
        experiment_check(&done, &e, "bank", SETTINGS_BANK, &s, &err);
        fuzz_check_error(&err);
        error_clear(&err);
        settings_arms_default(&arms, &err);
        if (experiment_set_arms(&e, &arms, &err) == DT_OK &&
            experiment_mark(&e, "bank", SETTINGS_BANK, &s, &err) == DT_OK)
            assert(experiment_check(&done, &e, "bank", SETTINGS_BANK, &s, &err) == DT_OK && done);
        experiment_close(&e);
    }
    fuzz_check_error(&err);
    settings_arms_free(&arms);
    return 0;
}
