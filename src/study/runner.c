#include "study/runner.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/say.h"
#include "file/names.h"
#include "file/path.h"
#include "run/eval_record.h"
#include "run/metrics_log.h"
#include "settings/settings_implied.h"

/* ---- one stage ---- */

/* The distance becomes a record of the run's own log, at its last step, where the report finds it. */
static dt_status log_distance(runner *r, const study_stage *stage, const dt_eval_result *result)
{
    char folder[DT_PATH_MAX], path[DT_PATH_MAX];
    metrics_log log;
    dt_error *err = &r->c->error;
    file_join(folder, r->experiment->folder, stage->arm->name);
    file_join(path, folder, METRICS_FILE);
    const int64_t step = stage->arm->s.max_train_steps;
    json_t *record = eval_record(result, step);
    if (metrics_log_open(&log, path, step, err) == DT_OK) metrics_log_write(&log, record, err);
    metrics_log_close(&log);
    json_decref(record);
    return err->status;
}

/* A run has one distance of each step: that of the first way to draw. */
static dt_status keep_distance(runner *r, const study_stage *stage, const dt_eval_result *result)
{
    dt_error *err = &r->c->error;
    if (stage->way == 0 && log_distance(r, stage, result) != DT_OK) return err->status;
    if (!r->plan->study) return DT_OK;
    return experiment_keep_result(r->experiment, stage->name, eval_record(result, stage->arm->s.max_train_steps), err);
}

static dt_status call_verb(runner *r, const study_stage *stage, const dt_settings *s)
{
    dt_eval_result result;
    switch (stage->verb) {
    case SETTINGS_CACHE: return s->vae[0] ? dt_cache(r->c, s, r->observer) : DT_OK;
    case SETTINGS_BANK: return dt_bank(r->c, s, r->observer);
    case SETTINGS_TRAIN: return dt_train(r->c, s, r->observer);
    case SETTINGS_SAMPLE: return dt_sample(r->c, s, r->observer);
    case SETTINGS_EVAL:
        if (dt_eval(r->c, s, r->observer, &result) != DT_OK || study_is_shared(stage)) return r->c->error.status;
        return keep_distance(r, stage, &result);
    default: return dt_report(r->c, s);
    }
}

/* Keeps how long the stage took, and why it failed. */
static dt_status note(runner *r, const study_stage *stage, double seconds)
{
    dt_error own = {0};
    dt_error *err = &r->c->error;
    experiment_add_seconds(r->experiment, stage->name, seconds, &own);
    if (err->status == DT_OK) return own.status == DT_OK ? DT_OK : error_set(err, own.status, "%s", own.message);
    if (err->status != DT_ERR_INTERRUPTED) experiment_keep_failure(r->experiment, stage->name, err->message, &own);
    experiment_write(r->experiment, &own);
    return err->status;
}

static dt_status run_stage(runner *r, const study_stage *stage)
{
    const double started_s = clock_s();
    const bool made_each_time = stage->kind == STUDY_REPORT;
    dt_settings s, complete;
    study_stage_settings(&s, r->plan, stage);
    complete = s;
    settings_imply(&complete, stage->verb); /* what the models that were trained by now say */
    call_verb(r, stage, &complete);
    if (r->plan->study) note(r, stage, clock_s() - started_s);
    if (r->c->error.status != DT_OK || made_each_time) return r->c->error.status;
    return experiment_mark(r->experiment, stage->name, stage->verb, &s, &r->c->error);
}

/* ---- all of them ---- */

static void tell(const runner *r, const study_stage *stage, const char *how)
{
    say(r->observer->log, r->observer->user, "stage %d of %d, %s: %s%s", runner_number(r, stage) + 1,
        r->plan->stage_count, stage->name, stage->title, how);
}

/* A study's failure is told and remembered, and leaves the context as if nothing had been; a wish to stop is none. */
static void pass_over(runner *r, const study_stage *stage)
{
    dt_error *err = &r->c->error;
    if (!r->plan->study || err->status == DT_ERR_INTERRUPTED) return;
    say(r->observer->log, r->observer->user, "stage %s failed: %s", stage->name, err->message);
    if (r->failures++ == 0) r->first_failure = *err;
    r->failed[runner_number(r, stage)] = true;
    error_clear(err);
}

static bool lacks_a_need(const runner *r, const study_stage *stage)
{
    bool lacks = false;
    for (int i = 0; i < STUDY_NEEDS_MAX && stage->needs[i]; i++)
        lacks = lacks || r->failed[runner_number(r, stage->needs[i])];
    return lacks;
}

dt_status runner_run(runner *r)
{
    const dt_error *err = &r->c->error;
    for (int i = 0; i < r->plan->stage_count && err->status == DT_OK; i++) {
        const study_stage *stage = &r->plan->stage[i];
        r->failed[i] = !r->done[i] && lacks_a_need(r, stage);
        tell(r, stage, r->done[i] ? ", finished before" : r->failed[i] ? ", left out for what failed before it" : "");
        if (r->done[i] || r->failed[i]) continue;
        if (run_stage(r, stage) != DT_OK) pass_over(r, stage);
        r->done[i] = err->status == DT_OK && !r->failed[i];
        if (r->after && err->status == DT_OK) r->after(r->after_user, stage);
    }
    return err->status;
}

/* A run whose folder is gone is made again: its curves were there alone. */
static void forget_missing_run(runner *r, const study_stage *stage)
{
    char folder[DT_PATH_MAX], path[DT_PATH_MAX];
    file_join(folder, r->experiment->folder, stage->name);
    file_join(path, folder, RUN_FILE);
    if (stage->verb != SETTINGS_TRAIN || file_exists(path)) return;
    say(r->observer->log, r->observer->user, "stage %s: %s is not there any more; the run is made again", stage->name,
        path);
    experiment_forget(r->experiment, stage->name);
    r->done[runner_number(r, stage)] = false;
}

dt_status runner_open(runner *r)
{
    dt_error *err = &r->c->error;
    r->done = calloc((size_t)r->plan->stage_count, sizeof *r->done);
    r->failed = calloc((size_t)r->plan->stage_count, sizeof *r->failed);
    if (!r->done || !r->failed) error_set(err, DT_ERR_MEMORY, "%s: no memory for its stages", r->experiment->folder);
    for (int i = 0; i < r->plan->stage_count && err->status == DT_OK; i++) {
        const study_stage *stage = &r->plan->stage[i];
        dt_settings s;
        study_stage_settings(&s, r->plan, stage);
        experiment_check(&r->done[i], r->experiment, stage->name, stage->verb, &s, err);
        if (err->status == DT_OK && r->done[i]) forget_missing_run(r, stage);
    }
    if (err->status != DT_OK) runner_close(r);
    return err->status;
}

void runner_close(runner *r)
{
    free(r->done);
    free(r->failed);
    r->done = r->failed = NULL;
}
