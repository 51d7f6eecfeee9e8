/* One experiment: every stage of the plan that is not finished, one after the other, in one folder. */
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/say.h"
#include "file/file.h"
#include "run/eval_record.h"
#include "run/metrics_log.h"
#include "study/experiment.h"
#include "study/plan.h"

typedef struct study {
    ctx *c;
    const dt_settings *recipe;
    const dt_observer *observer;
    settings_arms arms;
    study_plan plan;
    experiment experiment;
} study;

/* ---- one stage ---- */

/* The distance becomes a record of the run's own log, at its last step, where the report finds it. */
static dt_status keep_distance(study *y, const study_stage *stage, const dt_eval_result *result)
{
    char folder[DT_PATH_MAX], path[DT_PATH_MAX];
    metrics_log log;
    dt_error *err = &y->c->error;
    file_join(folder, y->experiment.folder, stage->arm->name);
    file_join(path, folder, "metrics.jsonl");
    json_t *record = eval_record(result, stage->s.max_train_steps);
    if (metrics_log_open(&log, path, stage->s.max_train_steps, err) == DT_OK) metrics_log_write(&log, record, err);
    metrics_log_close(&log);
    json_decref(record);
    return err->status;
}

static dt_status call_verb(study *y, const study_stage *stage)
{
    dt_eval_result result;
    const dt_settings *s = &stage->s;
    switch (stage->verb) {
    case SETTINGS_CACHE: return s->vae[0] ? dt_cache(y->c, s, y->observer) : DT_OK;
    case SETTINGS_BANK: return dt_bank(y->c, s, y->observer);
    case SETTINGS_TRAIN: return dt_train(y->c, s, y->observer);
    case SETTINGS_SAMPLE: return dt_sample(y->c, s, y->observer);
    case SETTINGS_EVAL:
        if (dt_eval(y->c, s, y->observer, &result) != DT_OK || stage->shared) return y->c->error.status;
        return keep_distance(y, stage, &result);
    default: return dt_report(y->c, s);
    }
}

static dt_status run_stage(study *y, const study_stage *stage)
{
    bool made_each_time = stage->verb == SETTINGS_REPORT;
    if (call_verb(y, stage) != DT_OK || made_each_time) return y->c->error.status;
    return experiment_mark(&y->experiment, stage->name, stage->verb, &stage->s, &y->c->error);
}

/* ---- all of them ---- */

static void tell(const study *y, int i, bool done)
{
    const study_stage *stage = &y->plan.stage[i];
    say(y->observer->log, y->observer->user, "stage %d of %d, %s: %s%s", i + 1, y->plan.stage_count, stage->name,
        stage->title, done ? ", finished before" : "");
}

/* Nothing is written before it is known that every finished stage is one of this plan. */
static dt_status claim(study *y, bool done[])
{
    char path[DT_PATH_MAX];
    dt_error *err = &y->c->error;
    for (int i = 0; i < y->plan.stage_count && err->status == DT_OK; i++) {
        const study_stage *stage = &y->plan.stage[i];
        experiment_check(&done[i], &y->experiment, stage->name, stage->verb, &stage->s, err);
    }
    if (err->status != DT_OK || experiment_set_arms(&y->experiment, &y->arms, err) != DT_OK) return err->status;
    file_join(path, y->experiment.folder, "recipe.yaml");
    return settings_save_with(y->recipe, y->recipe->arms[0] ? &y->arms : NULL, path, err);
}

static dt_status run_all(study *y)
{
    dt_error *err = &y->c->error;
    bool *done = calloc((size_t)y->plan.stage_count, sizeof *done);
    if (!done) return error_set(err, DT_ERR_MEMORY, "%s: no memory for its stages", y->experiment.folder);
    claim(y, done);
    for (int i = 0; i < y->plan.stage_count && err->status == DT_OK; i++) {
        tell(y, i, done[i]);
        if (!done[i]) run_stage(y, &y->plan.stage[i]);
    }
    free(done);
    return err->status;
}

static dt_status read_arms(study *y)
{
    dt_error *err = &y->c->error;
    return y->recipe->arms[0] ? settings_arms_load(&y->arms, y->recipe->arms, err)
                              : settings_arms_default(&y->arms, err);
}

dt_status dt_run(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    study y = {.c = c, .recipe = s, .observer = api_observer(observer)};
    if (api_enter(c, s, SETTINGS_RUN, y.observer) != DT_OK) return api_leave(c);
    if (read_arms(&y) == DT_OK && study_plan_open(&y.plan, s, &y.arms, &c->error) == DT_OK &&
        experiment_open(&y.experiment, s->output_dir, &c->error) == DT_OK)
        run_all(&y);
    experiment_close(&y.experiment);
    study_plan_close(&y.plan);
    settings_arms_free(&y.arms);
    return api_leave(c);
}
