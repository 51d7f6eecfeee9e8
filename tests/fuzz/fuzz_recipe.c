/* libFuzzer target: any bytes as the YAML file of an experiment or of a study: its settings, its arms and its grid, and the plan
 * made of them. */
#include "fuzz_folder.h"
#include "study/grid.h"
#include "study/plan.h"

static void check_plan(const study_plan *plan)
{
    for (int i = 0; i < plan->stage_count; i++) {
        for (int k = 0; k < i; k++) assert(strcmp(plan->stage[i].name, plan->stage[k].name) != 0);
        dt_settings s;
        study_stage_settings(&s, plan, &plan->stage[i]);
        for (int k = 0; k < settings_key_count; k++) assert(settings_in_range(&s, &settings_keys[k]));
    }
}

/* A plan of many arms takes a while and shows nothing that one of few does not. */
enum { PLANNED_MAX = 32 };

static void plan_experiment(const dt_settings *s, dt_error *err)
{
    settings_arms arms = {0};
    study_plan plan = {0};
    if (s->arms[0])
        settings_arms_load(&arms, fuzz_path("recipe.yaml"), err);
    else
        settings_arms_default(&arms, err);
    if (err->status == DT_OK && arms.count <= PLANNED_MAX && study_plan_open(&plan, s, &arms, NULL, err) == DT_OK)
        check_plan(&plan);
    study_plan_close(&plan);
    settings_arms_free(&arms);
}

static void check_cases(const study_grid *grid, const settings_study *file)
{
    for (int i = 0; i < grid->cases.count; i++) {
        const study_case *of = &grid->kase[i];
        assert(of->arm < grid->arms.count && of->data <= file->data.count && of->seed <= file->seeds.count);
        for (int k = 0; k < file->axis_count; k++) assert(grid->place[of->arm][k] < file->axis[k].value.count);
    }
}

static void plan_study(const dt_settings *s, const settings_study *file, dt_error *err)
{
    study_grid grid = {0};
    study_plan plan = {0};
    if (study_grid_open(&grid, file, err) == DT_OK) {
        check_cases(&grid, file);
        if (grid.cases.count <= PLANNED_MAX && study_plan_open(&plan, s, &grid.cases, &file->draw, err) == DT_OK) {
            check_plan(&plan);
            study_plan_check_inputs(&plan, err);
        }
    }
    study_plan_close(&plan);
    study_grid_close(&grid);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dt_settings s;
    settings_study file = {0};
    dt_error err = {0}, of_experiment = {0}, of_study = {0};
    dt_settings_init(&s);
    fuzz_put("recipe.yaml", (fuzz_bytes){data, size});
    if (settings_load(&s, fuzz_path("recipe.yaml"), &err) == DT_OK &&
        settings_study_load(&file, fuzz_path("recipe.yaml"), &err) == DT_OK) {
        plan_experiment(&s, &of_experiment);
        plan_study(&s, &file, &of_study);
        settings_save_with(&s, &file, fuzz_path("saved.yaml"), &err);
        if (err.status == DT_OK) assert(settings_load(&s, fuzz_path("saved.yaml"), &err) == DT_OK);
    }
    fuzz_check_error(&err);
    fuzz_check_error(&of_experiment);
    fuzz_check_error(&of_study);
    settings_study_free(&file);
    return 0;
}
