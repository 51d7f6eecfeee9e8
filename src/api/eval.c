#include <math.h>
#include <string.h>

#include "api/api.h"
#include "train/meter.h"

/* Images at the size the features want: the base model's own, else the settings' (0: 64). */
static int64_t resolution_of(const meter *m, const dt_settings *s)
{
    if (s->feature == DT_FEATURE_BASE) return m->base.config.input_size;
    return s->resolution ? s->resolution : 64;
}

static bool is_saved(const char *path)
{
    size_t length = strlen(path);
    return length > 4 && !strcmp(path + length - 4, ".npz");
}

/* A side is a file of statistics or a set of images. */
static dt_status open_side(ctx *c, const meter *m, const dt_settings *s, statistics *out, const char *path)
{
    if (is_saved(path)) return statistics_load(out, path, m->features.identity, m->features.dim, &c->error);
    dataset d;
    dataset_options options = {
        .resolution = resolution_of(m, s), .background = s->background, .strict = s->strict, .threads = c->threads};
    if (dataset_open(&d, path, &options, &c->error) != DT_OK) return c->error.status;
    meter_measure_dataset(c, m, out, &d, s->sample_batch_size);
    dataset_close(&d);
    return c->error.status;
}

static dt_status compare_sides(ctx *c, const meter *m, const dt_settings *s, const dt_observer *observer,
                               dt_eval_result *result)
{
    statistics reference = {0}, candidate = {0};
    if (open_side(c, m, s, &reference, s->reference) == DT_OK && s->save_statistics[0])
        statistics_save(&reference, s->save_statistics, &c->error);
    if (!ctx_failed(c) && !api_progress(observer, "eval", 1, 2, 0))
        error_set(&c->error, DT_ERR_INTERRUPTED, "eval: stopped");
    if (!ctx_failed(c) && !s->candidate[0])
        *result = (dt_eval_result){.reference_count = reference.count,
                                   .frechet_distance = (double)NAN,
                                   .kernel_distance = (double)NAN,
                                   .kernel_distance_std = (double)NAN};
    else if (!ctx_failed(c) && open_side(c, m, s, &candidate, s->candidate) == DT_OK)
        meter_compare(c, m, result, &reference, &candidate, (uint64_t)s->seed);
    if (!ctx_failed(c)) api_progress(observer, "eval", 2, 2, 0);
    statistics_close(&reference);
    statistics_close(&candidate);
    return c->error.status;
}

dt_status dt_eval(dt_context *c, const dt_settings *s, const dt_observer *observer, dt_eval_result *result)
{
    meter m;
    *result = (dt_eval_result){0};
    if (api_enter(c, s, SETTINGS_EVAL) != DT_OK) return c->error.status;
    if (meter_open(c, &m, s, s->pretrained_model) == DT_OK) compare_sides(c, &m, s, api_observer(observer), result);
    meter_close(&m);
    return api_leave(c);
}
