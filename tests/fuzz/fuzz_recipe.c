/* libFuzzer target: any bytes as the YAML file of an experiment: its settings, its arms, and the plan made of them. */
#include "fuzz_folder.h"
#include "study/plan.h"

static void check_plan(const study_plan *plan)
{
    for (int i = 0; i < plan->stage_count; i++) {
        for (int k = 0; k < i; k++) assert(strcmp(plan->stage[i].name, plan->stage[k].name) != 0);
        for (int k = 0; k < settings_key_count; k++) assert(settings_in_range(&plan->stage[i].s, &settings_keys[k]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dt_settings s;
    settings_arms arms = {0};
    study_plan plan = {0};
    dt_error err = {0};
    dt_settings_init(&s);
    fuzz_put("recipe.yaml", (fuzz_bytes){data, size});
    if (settings_load(&s, fuzz_path("recipe.yaml"), &err) == DT_OK) {
        if (s.arms[0])
            settings_arms_load(&arms, fuzz_path("recipe.yaml"), &err);
        else
            settings_arms_default(&arms, &err);
        if (err.status == DT_OK && study_plan_open(&plan, &s, &arms, &err) == DT_OK) check_plan(&plan);
        if (err.status == DT_OK) settings_save_with(&s, &arms, fuzz_path("saved.yaml"), &err);
        if (err.status == DT_OK) assert(settings_load(&s, fuzz_path("saved.yaml"), &err) == DT_OK);
    }
    fuzz_check_error(&err);
    study_plan_close(&plan);
    settings_arms_free(&arms);
    return 0;
}
