/* One experiment of the paper: the frozen model's bank, both methods, their samples, their distances, and the report.
 *
 * A stage is a call of a public verb with settings that are derived from the recipe's. What can fail for a missing file is
 * done first: the reference needs the features' network and the test images, the cache the codec. */
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "api/experiment.h"
#include "api/settings_check.h"
#include "file/file.h"
#include "run/eval_record.h"
#include "run/metrics_log.h"

typedef struct running {
    ctx *c;
    const dt_settings *recipe;
    const dt_observer *observer;
    experiment experiment;
} running;

typedef struct stage {
    const char *name, *title;
    settings_verb verb;
    dt_method method; /* of the stages that are there once for each method */
    void (*derive)(dt_settings *s, const running *r, dt_method method);
    dt_status (*run)(running *r, const dt_settings *s, dt_method method);
} stage;

static const char *folder_of(dt_method method)
{
    return method == DT_METHOD_FINETUNE ? "finetune" : "diff-tuning";
}

static void path_of(char out[DT_PATH_MAX], const running *r, dt_method method, const char *suffix)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", folder_of(method), suffix);
    experiment_path(out, &r->experiment, name);
}

/* ---- settings of each stage ---- */

static const char default_cache[] = "latents"; /* of the setting cache_dir: then it lies in the experiment's folder */

/* Adds ":split" to the folder of a prepared data set. */
static void take_split(char out[DT_PATH_MAX], const dt_settings *s, const char *split)
{
    if (!out[0] && s->data[0]) snprintf(out, DT_PATH_MAX, "%.*s:%s", FILE_FOLDER_MAX, s->data, split);
}

static void derive_common(dt_settings *s, const running *r)
{
    *s = *r->recipe;
    take_split(s->train_data, r->recipe, "train");
    take_split(s->reference, r->recipe, r->recipe->reference_split);
    if (!s->bank[0]) experiment_path(s->bank, &r->experiment, "bank");
    if (!strcmp(s->cache_dir, default_cache)) experiment_path(s->cache_dir, &r->experiment, default_cache);
}

static void derive_reference(dt_settings *s, const running *r, dt_method method)
{
    (void)method;
    derive_common(s, r);
    s->candidate[0] = '\0';
    experiment_path(s->save_statistics, &r->experiment, "reference.npz");
}

/* The cache and the bank. */
static void derive_shared(dt_settings *s, const running *r, dt_method method)
{
    (void)method;
    derive_common(s, r);
}

static void derive_train(dt_settings *s, const running *r, dt_method method)
{
    derive_common(s, r);
    s->method = method;
    path_of(s->output_dir, r, method, "");
}

/* Features of the base are those of the model that both methods start from. */
static void derive_sample(dt_settings *s, const running *r, dt_method method)
{
    derive_common(s, r);
    s->num_samples = s->fid_count;
    if (s->feature == DT_FEATURE_BASE) strcpy(s->feature_weights, s->pretrained_model);
    path_of(s->pretrained_model, r, method, "");
    path_of(s->output_dir, r, method, "-samples");
    path_of(s->save_statistics, r, method, "-samples/statistics.npz");
}

static void derive_distance(dt_settings *s, const running *r, dt_method method)
{
    derive_common(s, r);
    experiment_path(s->reference, &r->experiment, "reference.npz");
    path_of(s->candidate, r, method, "-samples/statistics.npz");
    s->save_statistics[0] = '\0';
}

static void derive_report(dt_settings *s, const running *r, dt_method method)
{
    char plain[DT_PATH_MAX], tuned[DT_PATH_MAX];
    (void)method;
    derive_common(s, r);
    path_of(plain, r, DT_METHOD_FINETUNE, "");
    path_of(tuned, r, DT_METHOD_DIFF_TUNING, "");
    if (snprintf(s->runs, sizeof s->runs, "%s,%s", plain, tuned) >= (int)sizeof s->runs) s->runs[0] = '\0';
    experiment_path(s->output, &r->experiment, "report.html");
    if (!s->title[0]) snprintf(s->title, sizeof s->title, "%.200s", s->recipe[0] ? s->recipe : "Diff-Tuning");
}

/* ---- running ---- */

static dt_status run_reference(running *r, const dt_settings *s, dt_method method)
{
    dt_eval_result result;
    (void)method;
    return dt_eval(r->c, s, r->observer, &result);
}

static dt_status run_cache(running *r, const dt_settings *s, dt_method method)
{
    (void)method;
    return s->vae[0] ? dt_cache(r->c, s, r->observer) : DT_OK;
}

static dt_status run_bank(running *r, const dt_settings *s, dt_method method)
{
    (void)method;
    return dt_bank(r->c, s, r->observer);
}

static dt_status run_train(running *r, const dt_settings *s, dt_method method)
{
    (void)method;
    return dt_train(r->c, s, r->observer);
}

static dt_status run_sample(running *r, const dt_settings *s, dt_method method)
{
    (void)method;
    return dt_sample(r->c, s, r->observer);
}

/* The distance becomes a record of the run's own log, at its last step, where the report finds it. */
static dt_status run_distance(running *r, const dt_settings *s, dt_method method)
{
    char folder[DT_PATH_MAX], path[DT_PATH_MAX];
    dt_eval_result result;
    metrics_log log;
    dt_error *err = &r->c->error;
    if (dt_eval(r->c, s, r->observer, &result) != DT_OK) return err->status;
    path_of(folder, r, method, "");
    file_join(path, folder, "metrics.jsonl");
    json_t *record = eval_record(&result, s->max_train_steps);
    if (metrics_log_open(&log, path, s->max_train_steps, err) == DT_OK) metrics_log_write(&log, record, err);
    metrics_log_close(&log);
    json_decref(record);
    return err->status;
}

static dt_status run_report(running *r, const dt_settings *s, dt_method method)
{
    (void)method;
    return dt_report(r->c, s);
}

#define TUNED DT_METHOD_DIFF_TUNING
#define PLAIN DT_METHOD_FINETUNE

static const stage stages[] = {
    {"reference", "features of the reference images", SETTINGS_EVAL, TUNED, derive_reference, run_reference},
    {"cache", "latents of the images, for models of latents", SETTINGS_CACHE, TUNED, derive_shared, run_cache},
    {"bank", "memory bank", SETTINGS_BANK, TUNED, derive_shared, run_bank},
    {"finetune", "plain fine-tuning", SETTINGS_TRAIN, PLAIN, derive_train, run_train},
    {"finetune-samples", "its samples", SETTINGS_SAMPLE, PLAIN, derive_sample, run_sample},
    {"finetune-distance", "their distance", SETTINGS_EVAL, PLAIN, derive_distance, run_distance},
    {"diff-tuning", "Diff-Tuning", SETTINGS_TRAIN, TUNED, derive_train, run_train},
    {"diff-tuning-samples", "its samples", SETTINGS_SAMPLE, TUNED, derive_sample, run_sample},
    {"diff-tuning-distance", "their distance", SETTINGS_EVAL, TUNED, derive_distance, run_distance},
    {"report", "report", SETTINGS_REPORT, TUNED, derive_report, run_report},
};
enum { STAGE_COUNT = sizeof stages / sizeof *stages };

/* Every stage's settings are checked before the first one starts. */
static dt_status check_all(running *r, bool done[STAGE_COUNT])
{
    dt_settings s;
    dt_error *err = &r->c->error;
    for (int i = 0; i < STAGE_COUNT && err->status == DT_OK; i++) {
        const stage *one = &stages[i];
        one->derive(&s, r, one->method);
        bool idle = one->verb == SETTINGS_CACHE && !s.vae[0]; /* its rules are those of models of latents */
        if (idle || settings_check(&s, one->verb, err) == DT_OK)
            experiment_check(&done[i], &r->experiment, one->name, one->verb, &s, err);
    }
    return err->status;
}

static void tell(const running *r, int i, bool done)
{
    char line[DT_TEXT_MAX];
    snprintf(line, sizeof line, "stage %d of %d, %s: %s%s", i + 1, STAGE_COUNT, stages[i].name, stages[i].title,
             done ? ", finished before" : "");
    if (r->observer->log) r->observer->log(r->observer->user, line);
}

static dt_status run_stage(running *r, const stage *one)
{
    dt_settings s;
    one->derive(&s, r, one->method);
    if (one->run(r, &s, one->method) != DT_OK) return r->c->error.status;
    bool made_each_time = one->verb == SETTINGS_REPORT;
    return made_each_time ? DT_OK : experiment_mark(&r->experiment, one->name, one->verb, &s, &r->c->error);
}

static dt_status run_all(running *r)
{
    char path[DT_PATH_MAX];
    bool done[STAGE_COUNT] = {false};
    if (check_all(r, done) != DT_OK) return r->c->error.status;
    experiment_path(path, &r->experiment, "recipe.yaml");
    if (settings_save(r->recipe, path, &r->c->error) != DT_OK) return r->c->error.status;
    for (int i = 0; i < STAGE_COUNT && r->c->error.status == DT_OK; i++) {
        tell(r, i, done[i]);
        if (!done[i]) run_stage(r, &stages[i]);
    }
    return r->c->error.status;
}

dt_status dt_run(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    running r = {.c = c, .recipe = s, .observer = api_observer(observer)};
    if (api_enter(c, s, SETTINGS_RUN) != DT_OK) return c->error.status;
    if (experiment_open(&r.experiment, s->output_dir, &c->error) == DT_OK) run_all(&r);
    experiment_close(&r.experiment);
    return api_leave(c);
}
