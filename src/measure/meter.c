#include "measure/meter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/finite.h"
#include "base/say.h"
#include "eval/frechet.h"
#include "eval/inception_score.h"
#include "eval/kernel_distance.h"
#include "eval/memorisation.h"
#include "eval/precision_recall.h"
#include "data/picture_stream.h"
#include "data/watch.h"

/* The settings' choice is of their model, which has been told already or is told by who loads it. What they join to it is no part of
 * the same file where that is feature_weights. The process is that of its base too. */
static dt_status open_base(ctx *c, meter *m, const dt_settings *s, const char *path, model_kinds kinds)
{
    const model_choice any = {.process = s->process};
    model_choice own = model_choice_of(s, NULL);
    if (path != s->pretrained_model) own.adapters = own.blend = NULL;
    const model_choice *choice = strcmp(path, s->pretrained_model) ? &any : &own;
    if (denoiser_load_as(c, &m->base, &m->info, path, choice, kinds) == DT_OK && m->base.feature_width > 0)
        features_of_base(&m->features, &m->base, m->info.sha256);
    else if (!ctx_failed(c))
        error_set(&c->error, DT_ERR_UNSUPPORTED, "%s: a %s has no features for FD-base; choose another feature", path,
                  m->base.ops->kind);
    return c->error.status;
}

dt_status meter_open(ctx *c, meter *m, const dt_settings *s, const char *base_path, model_kinds kinds)
{
    *m = (meter){.score_parts = s->inception_score_parts};
    if (s->feature == DT_FEATURE_SQUEEZENET) {
        if (squeezenet_open(c, &m->net, s->feature_weights) == DT_OK) features_of_squeezenet(&m->features, &m->net);
    } else if (s->feature == DT_FEATURE_INCEPTION) {
        if (inception_open(c, &m->inception, s->feature_weights) == DT_OK)
            features_of_inception(&m->features, &m->inception, s->inception_resize);
    } else {
        open_base(c, m, s, base_path, kinds);
    }
    return c->error.status;
}

void meter_close(meter *m)
{
    model_info_free(&m->info);
    statistics_close(&m->reference);
}

statistics_kind meter_kind(const meter *m)
{
    const features *f = &m->features;
    return (statistics_kind){f->identity, f->dim, f->spatial_dim, f->kind == DT_FEATURE_INCEPTION};
}

int64_t meter_row_values(const meter *m)
{
    return m->features.dim + m->features.spatial_dim;
}

dt_status meter_statistics(ctx *c, const meter *m, statistics *out, bool keep_rows)
{
    statistics_kind kind = meter_kind(m);
    return statistics_open(out, &kind, keep_rows, &c->error);
}

/* Room for the rows of n images, in scratch. */
static float *rows_alloc(ctx *c, const meter *m, int64_t n)
{
    size_t values = (size_t)(n * meter_row_values(m));
    return arena_alloc(&c->scratch, values * sizeof(float), &c->error);
}

/* Adds the features of examples first..first+n-1. */
static void add_examples(ctx *c, const meter *m, statistics *out, const examples *e, int64_t first, int64_t n)
{
    const int64_t size = sample_values(e->shape);
    const arena_place mark = arena_mark(&c->scratch);
    float *x = arena_alloc(&c->scratch, (size_t)(n * size) * sizeof *x, &c->error);
    float *rows = rows_alloc(c, m, n);
    for (int64_t i = 0; x && i < n; i++) examples_get(x + i * size, e, first + i, false, NULL);
    if (x && rows && features_rows(c, &m->features, rows, x, e->shape, first, n) == DT_OK)
        statistics_add(out, rows, n, &c->error);
    arena_release(&c->scratch, mark);
}

dt_status meter_measure_examples(ctx *c, const meter *m, statistics *out, const examples *e, int64_t batch)
{
    if (meter_statistics(c, m, out, true) != DT_OK) return c->error.status;
    for (int64_t first = 0; first < e->count && ctx_go_on(c); first += batch)
        add_examples(c, m, out, e, first, e->count - first < batch ? e->count - first : batch);
    if (!ctx_failed(c)) statistics_finish(out, &c->error);
    return c->error.status;
}

/* ---- pictures from a path ---- */

enum { TOGETHER = 16 };

static dt_status add_pictures(ctx *c, const meter *m, statistics *out, const image pictures[], int64_t n)
{
    const arena_place mark = arena_mark(&c->scratch);
    float *rows = rows_alloc(c, m, n);
    if (rows && features_picture_rows(c, &m->features, rows, pictures, n) == DT_OK)
        statistics_add(out, rows, n, &c->error);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

static dt_status add_stream(ctx *c, const meter *m, statistics *out, picture_stream *stream)
{
    image pictures[TOGETHER];
    int64_t n = 1;
    while (n > 0 && ctx_go_on(c)) {
        picture_stream_next(stream, pictures, TOGETHER, &n, &c->error);
        add_pictures(c, m, out, pictures, n);
        for (int64_t i = 0; i < n; i++) image_close(&pictures[i]);
    }
    return c->error.status;
}

/* Pictures of a single pixel stand for those of a path. */
static void rehearse_pictures(ctx *c, const meter *m)
{
    static uint8_t rgb[3];
    image pictures[TOGETHER];
    float *rows = rows_alloc(c, m, TOGETHER);
    for (int i = 0; i < TOGETHER; i++) pictures[i] = (image){.width = 1, .height = 1, .rgb = rgb};
    if (rows) features_picture_rows(c, &m->features, rows, pictures, TOGETHER);
}

static void rehearse_examples(ctx *c, const meter *m, sample_shape shape, int64_t n)
{
    const size_t bytes = (size_t)(n * sample_values(shape)) * sizeof(float);
    float *x = arena_alloc_zeroed(&c->scratch, bytes, &c->error), *rows = rows_alloc(c, m, n);
    if (x && rows) features_rows(c, &m->features, rows, x, shape, 0, n);
}

void meter_rehearse(ctx *c, const meter *m, int64_t channels, int64_t side, int64_t n)
{
    const arena_place mark = arena_mark(&c->scratch);
    if (m->features.kind == DT_FEATURE_INCEPTION)
        rehearse_pictures(c, m);
    else
        rehearse_examples(c, m, (sample_shape){channels, side, side}, n);
    arena_release(&c->scratch, mark);
}

dt_status meter_count_path(ctx *c, int64_t *count, const char *path, const dt_settings *s)
{
    picture_stream stream = {0};
    bool has_samples = true;
    *count = 0;
    if (file_has_extension(path, "npz") && npz_has(&has_samples, path, "arr_0", &c->error) != DT_OK)
        return c->error.status;
    if (has_samples && picture_stream_open(&stream, path, s->resolution, s->background, s->strict, &c->error) == DT_OK)
        *count = stream.is_stack ? stream.stack.count : stream.source.file_count;
    picture_stream_close(&stream);
    return c->error.status;
}

static void tell_skips(const data_watcher *watcher, const picture_stream *stream, const char *path, int64_t measured)
{
    if (stream->report.skip_count == 0) return;
    say(watcher->log, watcher->user, "%.600s: %lld images, %lld skipped", path, (long long)measured,
        (long long)stream->report.skip_count);
    if (watcher->log) report_tell_skips(&stream->report, watcher->log, watcher->user);
}

static dt_status measure_pictures(ctx *c, const meter *m, statistics *out, const dt_settings *s, const char *path,
                                  const data_watcher *watcher)
{
    picture_stream stream = {0};
    meter_statistics(c, m, out, true);
    if (!ctx_failed(c) &&
        picture_stream_open(&stream, path, s->resolution, s->background, s->strict, &c->error) == DT_OK)
        add_stream(c, m, out, &stream);
    if (!ctx_failed(c)) statistics_finish(out, &c->error);
    if (!ctx_failed(c)) tell_skips(watcher, &stream, path, out->count);
    picture_stream_close(&stream);
    return c->error.status;
}

/* Statistics from a file; the rows of its samples, where it has any, beside them. */
static dt_status measure_file(ctx *c, const meter *m, statistics *out, const dt_settings *s, const char *path,
                              bool has_samples, const data_watcher *watcher)
{
    const statistics_kind kind = meter_kind(m);
    bool named = false;
    if (statistics_load(out, path, &kind, &named, &c->error) != DT_OK) return c->error.status;
    if (!named)
        say(watcher->log, watcher->user, "%.600s does not say how its images were resized; taken for %s", path,
            kind.measure);
    statistics samples = {0};
    if (has_samples && measure_pictures(c, m, &samples, s, path, watcher) == DT_OK) statistics_take_rows(out, &samples);
    statistics_close(&samples);
    return c->error.status;
}

dt_status meter_measure_path(ctx *c, const meter *m, statistics *out, const dt_settings *s, const char *path,
                             const data_watcher *watcher)
{
    bool has_statistics = false, has_samples = false;
    *out = (statistics){0};
    if (!file_has_extension(path, "npz")) return measure_pictures(c, m, out, s, path, watcher);
    if (npz_has(&has_statistics, path, "mu", &c->error) != DT_OK ||
        npz_has(&has_samples, path, "arr_0", &c->error) != DT_OK)
        return c->error.status;
    if (has_statistics || !has_samples) return measure_file(c, m, out, s, path, has_samples, watcher);
    return measure_pictures(c, m, out, s, path, watcher);
}

dt_status meter_open_reference(ctx *c, meter *m, const dt_settings *s, const char *path, const codec *k,
                               int64_t resolution, const dt_observer *observer)
{
    examples e;
    const codec pixels = codec_of_pixels(3);
    const statistics_kind kind = meter_kind(m);
    const data_watcher watcher = watch_log(observer);
    const examples_options options = {.codec = k ? k : &pixels,
                                      .resolution = resolution,
                                      .background = s->background,
                                      .strict = s->strict,
                                      .memory_limit_bytes = examples_memory(),
                                      .held_out = true,
                                      .watch = watcher};
    if (file_has_extension(path, "npz"))
        return s->feature == DT_FEATURE_INCEPTION ? meter_measure_path(c, m, &m->reference, s, path, &watcher)
                                                  : statistics_load(&m->reference, path, &kind, NULL, &c->error);
    if (examples_open(c, &e, path, &options) != DT_OK) return c->error.status;
    meter_measure_examples(c, m, &m->reference, &e, s->sample_batch_size);
    examples_close(&e);
    return c->error.status;
}

/* ---- comparing ---- */

/* The measures that need the images of both sides. */
static dt_status compare_rows(ctx *c, dt_eval_result *result, const statistics *reference, const statistics *candidate,
                              uint64_t seed)
{
    kernel_distance_result kernel;
    precision_recall_result shares;
    const int64_t dim = reference->features.dim;
    if (kernel_distance(&kernel, c, reference->rows, reference->row_count, candidate->rows, candidate->row_count, dim,
                        seed) != DT_OK ||
        precision_recall(&shares, c, reference->rows, reference->row_count, candidate->rows, candidate->row_count,
                         dim) != DT_OK)
        return c->error.status;
    result->kernel_distance = kernel.mean;
    result->kernel_distance_std = kernel.std;
    result->precision = shares.precision;
    result->recall = shares.recall;
    return DT_OK;
}

/* Room for the class scores of the images, in scratch. */
static float *logits_alloc(ctx *c, int64_t count)
{
    return arena_alloc(&c->scratch, (size_t)(count * INCEPTION_CLASSES) * sizeof(float), &c->error);
}

/* ADM's program leaves out the bias of the classes, and so does torch-fidelity. */
static dt_status score(ctx *c, const meter *m, dt_eval_result *result, const statistics *candidate)
{
    inception_score_result value;
    const int64_t count = candidate->row_count;
    if (m->features.kind != DT_FEATURE_INCEPTION || count < 10) return DT_OK;
    const arena_place mark = arena_mark(&c->scratch);
    float *logits = logits_alloc(c, count);
    if (logits && inception_logits(c, logits, &m->inception, candidate->rows, count, false) == DT_OK &&
        finite_first_bad(logits, count * INCEPTION_CLASSES) >= 0)
        error_set(&c->error, DT_ERR_NUMERIC, "%s: the network's logits are not finite", m->features.measure);
    if (logits && !ctx_failed(c) &&
        inception_score(&value, logits, count, INCEPTION_CLASSES, m->score_parts, &c->error) == DT_OK) {
        result->inception_score = value.mean;
        result->inception_score_std = value.std;
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}

int64_t meter_rehearse_compare(ctx *c, const meter *m, int64_t reference_count, int64_t candidate_count)
{
    const features *f = &m->features;
    const int64_t widest = f->dim > f->spatial_dim ? f->dim : f->spatial_dim;
    kernel_distance_rehearse(c, reference_count, candidate_count, f->dim);
    precision_recall_rehearse(c, reference_count, candidate_count, f->dim);
    const arena_place mark = arena_mark(&c->scratch);
    if (f->kind == DT_FEATURE_INCEPTION) logits_alloc(c, candidate_count);
    arena_release(&c->scratch, mark);
    return frechet_bytes(widest);
}

void meter_rehearse_memorisation(ctx *c, const meter *m, int64_t training, int64_t held_out, int64_t samples)
{
    memorisation_rehearse(c, training, held_out, samples, m->features.dim);
}

static dt_status frechet(ctx *c, double *distance, const feature_moments *a, const feature_moments *b)
{
    return frechet_distance(c, distance, a->mean, a->covariance, b->mean, b->covariance, a->dim);
}

/* Of sets of which statistics are known but not how many images they are of, the images at hand count. */
static int64_t count_of(const statistics *s)
{
    return s->count ? s->count : s->row_count;
}

dt_eval_result meter_no_result(const meter *m)
{
    const double none = (double)NAN;
    dt_eval_result r = {.frechet_distance = none,
                        .kernel_distance = none,
                        .kernel_distance_std = none,
                        .precision = none,
                        .recall = none,
                        .spatial_frechet_distance = none,
                        .inception_score = none,
                        .inception_score_std = none,
                        .copied = none,
                        .copied_held_out = none,
                        .nearest_ratio = none};
    snprintf(r.measure, sizeof r.measure, "%s", m->features.measure);
    return r;
}

dt_status meter_compare(ctx *c, const meter *m, dt_eval_result *result, const statistics *reference,
                        const statistics *candidate, uint64_t seed)
{
    *result = meter_no_result(m);
    result->reference_count = count_of(reference);
    result->candidate_count = count_of(candidate);
    frechet(c, &result->frechet_distance, &reference->features, &candidate->features);
    if (!ctx_failed(c) && reference->spatial.dim && candidate->spatial.dim)
        frechet(c, &result->spatial_frechet_distance, &reference->spatial, &candidate->spatial);
    if (!ctx_failed(c) && reference->rows && candidate->rows) compare_rows(c, result, reference, candidate, seed);
    if (!ctx_failed(c) && candidate->rows) score(c, m, result, candidate);
    return c->error.status;
}

static feature_set set_of(const statistics *s)
{
    return (feature_set){s->rows, s->rows ? s->row_count : 0};
}

dt_status meter_memorisation(ctx *c, dt_eval_result *result, const statistics *training, const statistics *reference,
                             const statistics *candidate)
{
    memorisation_result found;
    if (memorisation(&found, c, set_of(training), set_of(reference), set_of(candidate), training->features.dim) !=
        DT_OK)
        return c->error.status;
    result->copied = found.copied;
    result->copied_held_out = found.copied_held_out;
    result->nearest_ratio = found.nearest_ratio;
    return DT_OK;
}
