#include "api/api.h"
#include "container/npz.h"
#include "data/need.h"
#include "data/watch.h"
#include "file/path.h"
#include "measure/meter.h"
#include "model/file/of_run.h"
#include "tensor/rehearsal.h"

/* What the features are of: for FD-base what the base sees, else pictures at the settings' size (0: 64). */
typedef struct eval_input {
    const dt_observer *observer;
    codec codec;
    int64_t resolution; /* of the pictures */
} eval_input;

static dt_status open_input(ctx *c, eval_input *in, const meter *m, const dt_settings *s, const dt_observer *observer)
{
    *in = (eval_input){
        .observer = observer, .codec = codec_of_pixels(3), .resolution = s->resolution ? s->resolution : 64};
    if (s->feature != DT_FEATURE_BASE) return DT_OK;
    if (codec_open_for(c, &in->codec, s->vae, s->pretrained_model, m->base.shape.channels) != DT_OK)
        return c->error.status;
    in->resolution = m->base.shape.height * in->codec.factor;
    of_run_tell_others(m->info.metadata, &(of_run_use){s->pretrained_model, s->vae, in->codec.sha256, "", ""},
                       observer);
    return DT_OK;
}

static examples_options options_of(const eval_input *in, const dt_settings *s)
{
    return (examples_options){.codec = &in->codec,
                              .resolution = in->resolution,
                              .background = s->background,
                              .strict = s->strict,
                              .watch = watch_log(in->observer)};
}

/* ---- memory ---- */

/* What a side will take: its pictures while they are measured, the numbers of it afterwards too. */
typedef struct side_size {
    int64_t count, pictures_bytes, statistics_bytes;
} side_size;

/* A stack of samples is read for inception alone, whose pictures may have any size. */
static dt_status check_stack(const dt_settings *s, const char *path, dt_error *err)
{
    bool has_statistics = true, has_samples = false;
    if (s->feature == DT_FEATURE_INCEPTION || !file_has_extension(path, "npz")) return DT_OK;
    if (npz_has(&has_statistics, path, "mu", err) != DT_OK || npz_has(&has_samples, path, "arr_0", err) != DT_OK)
        return err->status;
    if (has_statistics || !has_samples) return DT_OK;
    return error_set(err, DT_ERR_ARG,
                     "%s is a stack of samples, which feature inception alone takes; give the folder of images", path);
}

static dt_status measure_side(ctx *c, side_size *out, const meter *m, const eval_input *in, const dt_settings *s,
                              const char *path)
{
    const statistics_kind kind = meter_kind(m);
    const examples_options options = options_of(in, s);
    examples_size size = {0};
    if (check_stack(s, path, &c->error) != DT_OK) return c->error.status;
    if (file_has_extension(path, "npz")) statistics_count_rows(&size.count, path, &c->error);
    if (size.count == 0 && s->feature == DT_FEATURE_INCEPTION)
        meter_count_path(c, &size.count, path, s);
    else if (!file_has_extension(path, "npz"))
        examples_measure(c, &size, path, &options);
    const int64_t numbers = statistics_bytes(&kind, size.count);
    *out = (side_size){size.count, size.kept_bytes + size.opening_bytes, numbers};
    return c->error.status;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static dt_status tell_need(ctx *c, const meter *m, const eval_input *in, const dt_settings *s)
{
    side_size reference, candidate = {0}, training = {0};
    int64_t comparing = 0;
    rehearsal r;
    if (measure_side(c, &reference, m, in, s, s->reference) != DT_OK ||
        (s->candidate[0] && measure_side(c, &candidate, m, in, s, s->candidate) != DT_OK) ||
        (s->trained_on[0] && measure_side(c, &training, m, in, s, s->trained_on) != DT_OK))
        return c->error.status;
    rehearsal_begin(c, &r);
    meter_rehearse(c, m, in->codec.channels, in->resolution / in->codec.factor, s->sample_batch_size);
    if (s->candidate[0]) comparing = meter_rehearse_compare(c, m, reference.count, candidate.count);
    if (s->trained_on[0]) meter_rehearse_memorisation(c, m, training.count, reference.count, candidate.count);
    rehearsal_end(c, &r);
    const int64_t both = reference.statistics_bytes + candidate.statistics_bytes;
    if (!ctx_failed(c))
        need_tell(c, in->observer,
                  larger(reference.statistics_bytes + reference.pictures_bytes,
                         both + larger(larger(candidate.pictures_bytes, comparing),
                                       training.statistics_bytes + training.pictures_bytes)));
    return c->error.status;
}

/* ---- sides ---- */

/* A side is a file of statistics or a set of images. */
static dt_status open_side(ctx *c, const meter *m, const eval_input *in, const dt_settings *s, statistics *out,
                           const char *path)
{
    const statistics_kind kind = meter_kind(m);
    const data_watcher watcher = watch_log(in->observer);
    if (s->feature == DT_FEATURE_INCEPTION) return meter_measure_path(c, m, out, s, path, &watcher);
    if (file_has_extension(path, "npz")) return statistics_load(out, path, &kind, NULL, &c->error);
    examples e;
    const examples_options options = options_of(in, s);
    if (examples_open(c, &e, path, &options) != DT_OK) return c->error.status;
    meter_measure_examples(c, m, out, &e, s->sample_batch_size);
    examples_close(&e);
    return c->error.status;
}

/* Statistics of the reference are kept with its rows where they are asked for. */
static dt_status keep_reference(ctx *c, const dt_settings *s, const statistics *reference)
{
    if (!s->save_features) return statistics_save(reference, s->save_statistics, &c->error);
    if (reference->rows) return statistics_save_with_rows(reference, s->save_statistics, &c->error);
    return error_set(&c->error, DT_ERR_ARG, "save_features needs the images of reference; %s has none", s->reference);
}

static dt_status judge_copies(ctx *c, const meter *m, const eval_input *in, const dt_settings *s,
                              dt_eval_result *result, const statistics *reference, const statistics *candidate)
{
    statistics training = {0};
    if (open_side(c, m, in, s, &training, s->trained_on) == DT_OK) {
        if (training.rows && candidate->rows)
            meter_memorisation(c, result, &training, reference, candidate);
        else
            error_set(&c->error, DT_ERR_ARG, "trained_on needs images on both sides; %s has statistics only",
                      training.rows ? s->candidate : s->trained_on);
    }
    statistics_close(&training);
    return c->error.status;
}

static dt_status compare_sides(ctx *c, const meter *m, const eval_input *in, const dt_settings *s,
                               dt_eval_result *result)
{
    const dt_observer *observer = in->observer;
    statistics reference = {0}, candidate = {0};
    *result = meter_no_result(m);
    if (open_side(c, m, in, s, &reference, s->reference) == DT_OK && s->save_statistics[0])
        keep_reference(c, s, &reference);
    if (!ctx_failed(c) && !watch_progress(observer, "eval", 1, 2, 0))
        error_set(&c->error, DT_ERR_INTERRUPTED, "eval: stopped; the same command begins anew");
    if (!ctx_failed(c) && !s->candidate[0])
        result->reference_count = reference.count;
    else if (!ctx_failed(c) && open_side(c, m, in, s, &candidate, s->candidate) == DT_OK)
        meter_compare(c, m, result, &reference, &candidate, (uint64_t)s->seed);
    if (!ctx_failed(c) && s->candidate[0] && s->trained_on[0])
        judge_copies(c, m, in, s, result, &reference, &candidate);
    if (!ctx_failed(c)) watch_progress(observer, "eval", 2, 2, 0);
    statistics_close(&reference);
    statistics_close(&candidate);
    return c->error.status;
}

dt_status dt_eval(dt_context *c, const dt_settings *s, const dt_observer *observer, dt_eval_result *result)
{
    meter m;
    eval_input in;
    *result = (dt_eval_result){0};
    observer = api_observer(observer);
    if (api_enter(c, s, SETTINGS_EVAL, observer) != DT_OK) return api_leave(c);
    if (meter_open(c, &m, s, s->pretrained_model, model_kinds_all) == DT_OK &&
        open_input(c, &in, &m, s, observer) == DT_OK && tell_need(c, &m, &in, s) == DT_OK)
        compare_sides(c, &m, &in, s, result);
    meter_close(&m);
    return api_leave(c);
}
