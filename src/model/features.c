#include "model/features.h"

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "io/image.h"

enum { BASE_T = 100 };

void features_of_base(features *f, const dit *base, const char *base_sha256)
{
    *f = (features){.kind = DT_FEATURE_BASE, .dim = base->config.hidden, .measure = "FD-base", .base = base};
    snprintf(f->identity, sizeof f->identity, "%s %.12s", f->measure, base_sha256);
    schedule_full(&f->schedule);
}

void features_of_squeezenet(features *f, const squeezenet *net)
{
    *f = (features){.kind = DT_FEATURE_SQUEEZENET, .dim = SQUEEZENET_FEATURES, .measure = "FD-squeezenet", .net = net};
    snprintf(f->identity, sizeof f->identity, "%s", f->measure);
}

static dt_status base_rows(ctx *c, const features *f, float *rows, const float *x, int64_t channels, int64_t size,
                           int64_t first, int64_t n)
{
    const dit_config *k = &f->base->config;
    int64_t count = channels * size * size;
    if (channels != k->channels || size != k->input_size)
        return error_set(&c->error, DT_ERR_SHAPE,
                         "FD-base: the base takes %lldx%lldx%lld, the images are %lldx%lldx%lld",
                         (long long)k->channels, (long long)k->input_size, (long long)k->input_size,
                         (long long)channels, (long long)size, (long long)size);
    tensor *xt = tensor_new(c, &c->step, 4, (int64_t[]){n, channels, size, size});
    float *noise = arena_alloc(&c->scratch, (size_t)count * sizeof *noise, &c->error);
    int32_t *t = arena_alloc(&c->step, (size_t)n * sizeof *t, &c->error),
            *y = arena_alloc(&c->step, (size_t)n * sizeof *y, &c->error);
    if (ctx_failed(c)) return c->error.status;
    for (int64_t i = 0; i < n; i++) {
        rng_normal(noise, count, (rng_key){0, RNG_FEATURE, 0, (uint32_t)(first + i)});
        schedule_add_noise(xt->data + i * count, x + i * count, noise, count, &f->schedule, BASE_T);
        t[i] = BASE_T;
        y[i] = (int32_t)dit_null_class(f->base);
    }
    const tensor *tokens = dit_features(c, f->base, xt, t, y, (k->depth + 1) / 2); /* [N,D] */
    if (!ctx_failed(c)) memcpy(rows, tokens->data, (size_t)(n * f->dim) * sizeof *rows);
    return c->error.status;
}

static dt_status squeezenet_rows(ctx *c, const features *f, float *rows, const float *x, int64_t channels, int64_t size,
                                 int64_t n)
{
    int64_t plane = size * size;
    if (channels != 3)
        return error_set(&c->error, DT_ERR_SHAPE, "FD-squeezenet: images of 3 channels are expected, found %lld",
                         (long long)channels);
    uint8_t *rgb = arena_alloc(&c->scratch, (size_t)(n * plane * 3), &c->error);
    if (!rgb) return c->error.status;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < plane; j++)
            for (int64_t ch = 0; ch < 3; ch++)
                rgb[(i * plane + j) * 3 + ch] = image_from_float(x[(i * 3 + ch) * plane + j]);
    return squeezenet_features(c, rows, f->net, rgb, n, size);
}

dt_status features_rows(ctx *c, const features *f, float *rows, const float *x, int64_t channels, int64_t size,
                        int64_t first, int64_t n)
{
    if (ctx_failed(c)) return c->error.status;
    size_t step = arena_mark(&c->step), scratch = arena_mark(&c->scratch);
    if (f->kind == DT_FEATURE_BASE)
        base_rows(c, f, rows, x, channels, size, first, n);
    else
        squeezenet_rows(c, f, rows, x, channels, size, n);
    arena_release(&c->step, step);
    arena_release(&c->scratch, scratch);
    return c->error.status;
}
