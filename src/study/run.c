/* One experiment: every stage of the plan that is not finished, one after the other, in one folder. */
#include "api/api.h"
#include "file/names.h"
#include "file/path.h"
#include "study/runner.h"
#include "study/unused.h"

static dt_status read_arms(settings_arms *arms, const dt_settings *recipe, dt_error *err)
{
    return recipe->arms[0] ? settings_arms_load(arms, recipe->arms, err) : settings_arms_default(arms, err);
}

static dt_status save_recipe(const dt_settings *recipe, const settings_arms *arms, dt_error *err)
{
    char path[DT_PATH_MAX];
    settings_study parts = {0};
    if (recipe->arms[0]) parts.arms = *arms;
    file_join(path, recipe->output_dir, RECIPE_FILE);
    return settings_save_with(recipe, &parts, path, err);
}

/* Nothing is written before it is known that every finished stage is one of this plan. */
static dt_status run_plan(ctx *c, const dt_settings *recipe, const settings_arms *arms, const study_plan *plan,
                          const dt_observer *observer)
{
    experiment e;
    if (experiment_open(&e, recipe->output_dir, &c->error) != DT_OK) return c->error.status;
    runner r = {.c = c, .observer = observer, .plan = plan, .experiment = &e};
    if (runner_open(&r) == DT_OK && experiment_set_arms(&e, arms, &c->error) == DT_OK &&
        save_recipe(recipe, arms, &c->error) == DT_OK)
        runner_run(&r);
    runner_close(&r);
    experiment_close(&e);
    return c->error.status;
}

dt_status dt_run(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    settings_arms arms = {0};
    study_plan plan = {0};
    observer = api_observer(observer);
    if (api_enter(c, s, SETTINGS_RUN, observer) != DT_OK) return api_leave(c);
    if (read_arms(&arms, s, &c->error) == DT_OK && study_plan_open(&plan, s, &arms, NULL, &c->error) == DT_OK &&
        (experiment_exists(s->output_dir) || study_plan_check_inputs(&plan, &c->error) == DT_OK) &&
        study_plan_check_bases(&plan, &c->error) == DT_OK) {
        study_tell_unused(&plan, s, &arms, observer);
        run_plan(c, s, &arms, &plan, observer);
    }
    study_plan_close(&plan);
    settings_arms_free(&arms);
    return api_leave(c);
}
