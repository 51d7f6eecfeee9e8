#include "train/meter.h"

#include <math.h>
#include <stdio.h>

#include "eval/frechet.h"
#include "eval/kernel_distance.h"
#include "model/dit_file.h"

dt_status meter_open(ctx *c, meter *m, const dt_settings *s, const char *base_path)
{
    char path[DT_PATH_MAX];
    dit_file_info info = {0};
    *m = (meter){0};
    if (s->feature == DT_FEATURE_SQUEEZENET) {
        if (squeezenet_open(c, &m->net, s->feature_weights) == DT_OK) features_of_squeezenet(&m->features, &m->net);
    } else if (dit_file_path(path, base_path, &c->error) == DT_OK && dit_load(c, &m->base, &info, path) == DT_OK) {
        features_of_base(&m->features, &m->base, info.sha256);
    }
    dit_file_info_free(&info);
    return c->error.status;
}

void meter_close(meter *m)
{
    statistics_close(&m->reference);
}

dt_status meter_add(ctx *c, const meter *m, statistics *out, const float *x, int64_t channels, int64_t size,
                    int64_t first, int64_t n)
{
    size_t mark = arena_mark(&c->scratch);
    float *rows = arena_alloc(&c->scratch, (size_t)(n * m->features.dim) * sizeof *rows, &c->error);
    if (rows && features_rows(c, &m->features, rows, x, channels, size, first, n) == DT_OK)
        statistics_add(out, rows, n, &c->error);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

dt_status meter_measure_examples(ctx *c, const meter *m, statistics *out, const examples *e, int64_t batch)
{
    int64_t size = examples_values(e);
    if (statistics_open(out, m->features.identity, m->features.dim, true, &c->error) != DT_OK) return c->error.status;
    for (int64_t first = 0; first < e->count && !ctx_failed(c); first += batch) {
        int64_t n = e->count - first < batch ? e->count - first : batch;
        size_t mark = arena_mark(&c->scratch);
        float *x = arena_alloc(&c->scratch, (size_t)(n * size) * sizeof *x, &c->error);
        for (int64_t i = 0; x && i < n; i++) examples_get(x + i * size, e, first + i, false, NULL);
        if (x) meter_add(c, m, out, x, e->channels, e->size, first, n);
        arena_release(&c->scratch, mark);
    }
    if (!ctx_failed(c)) statistics_finish(out, &c->error);
    return c->error.status;
}

dt_status meter_compare(ctx *c, const meter *m, dt_eval_result *result, const statistics *reference,
                        const statistics *candidate, uint64_t seed)
{
    *result = (dt_eval_result){.reference_count = reference->count,
                               .candidate_count = candidate->count,
                               .kernel_distance = (double)NAN,
                               .kernel_distance_std = (double)NAN};
    snprintf(result->measure, sizeof result->measure, "%s", m->features.measure);
    frechet_distance(&result->frechet_distance, reference->mean, reference->covariance, candidate->mean,
                     candidate->covariance, reference->dim, &c->error);
    kernel_distance_result kernel;
    if (ctx_failed(c) || !reference->rows || !candidate->rows) return c->error.status;
    if (kernel_distance(&kernel, c, reference->rows, reference->count, candidate->rows, candidate->count,
                        reference->dim, seed) == DT_OK) {
        result->kernel_distance = kernel.mean;
        result->kernel_distance_std = kernel.std;
    }
    return c->error.status;
}
