#include "model/feature/features.h"

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "diffusion/flow.h"
#include "image/image.h"

enum { BASE_T = 100, INCEPTION_BATCH = 16 };
#define BASE_FLOW_T ((real)0.75) /* about as noisy: a third of the data's size, as at DiT's t = 100 */

void features_of_base(features *f, const denoiser *base, const char *base_sha256)
{
    *f = (features){.kind = DT_FEATURE_BASE, .dim = base->feature_width, .measure = "FD-base", .base = base};
    snprintf(f->identity, sizeof f->identity, "%s %.12s", f->measure, base_sha256);
    schedule_full(&f->schedule, base->process.noise);
}

void features_of_squeezenet(features *f, const squeezenet *net)
{
    *f = (features){.kind = DT_FEATURE_SQUEEZENET, .dim = SQUEEZENET_FEATURES, .measure = "FD-squeezenet", .net = net};
    snprintf(f->identity, sizeof f->identity, "%s", f->measure);
}

void features_of_inception(features *f, const inception *net, dt_inception_resize resize)
{
    static const char *const measures[] = {[DT_INCEPTION_TF1] = "FID tf1",
                                           [DT_INCEPTION_PYTORCH_FID] = "FID pytorch-fid",
                                           [DT_INCEPTION_CLEAN] = "FID clean"};
    *f = (features){.kind = DT_FEATURE_INCEPTION,
                    .dim = INCEPTION_FEATURES,
                    .spatial_dim = INCEPTION_SPATIAL,
                    .measure = measures[resize],
                    .inception = net,
                    .resize = resize};
    snprintf(f->identity, sizeof f->identity, "%s", f->measure);
}

/* A noisy image [count] for the base; what it is told of the time. */
static real add_noise(const features *f, real *noisy, const float *x, const float *noise, int64_t count)
{
    if (!process_is_flow(&f->base->process)) {
        schedule_add_noise(noisy, x, noise, count, &f->schedule, BASE_T);
        return BASE_T;
    }
    flow_add_noise(noisy, x, noise, count, BASE_FLOW_T);
    return BASE_FLOW_T;
}

static dt_status base_rows(ctx *c, const features *f, float *rows, const float *x, sample_shape shape, int64_t first,
                           int64_t n)
{
    const denoiser *base = f->base;
    const int64_t count = sample_values(shape);
    if (!sample_shape_same(shape, base->shape))
        return error_set(&c->error, DT_ERR_SHAPE,
                         "FD-base: the base takes %lldx%lldx%lld, the images are %lldx%lldx%lld",
                         (long long)base->shape.channels, (long long)base->shape.height, (long long)base->shape.width,
                         (long long)shape.channels, (long long)shape.height, (long long)shape.width);
    tensor *xt = tensor_new(c, &c->step, 4, (int64_t[]){n, shape.channels, shape.height, shape.width});
    real *noisy = xt ? numbers_prepare(c, &c->scratch, xt->data, n * count) : NULL;
    float *noise = arena_alloc(&c->scratch, (size_t)count * sizeof *noise, &c->error);
    real *t = arena_alloc(&c->step, (size_t)n * sizeof *t, &c->error);
    const condition nothing = {0}, null = denoiser_unconditional(c, base, &nothing, n);
    if (ctx_failed(c)) return c->error.status;
    for (int64_t i = 0; i < n; i++) {
        rng_normal(noise, count, (rng_key){0, RNG_FEATURE, 0, (uint32_t)(first + i)});
        t[i] = add_noise(f, noisy + i * count, x + i * count, noise, count);
    }
    numbers_send(c, xt->data, noisy, n * count);
    const tensor *inner = base->ops->features(c, base, xt, t, &null); /* [N,D] */
    if (inner) numbers_fetch(c, rows, inner->data, n * f->dim);
    return c->error.status;
}

/* The pictures [n,size,size,3] that a PNG would have kept of x, in scratch; NULL after a failure. */
static uint8_t *bytes_of(ctx *c, const features *f, const float *x, int64_t channels, int64_t size, int64_t n)
{
    int64_t plane = size * size;
    if (channels != 3) {
        error_set(&c->error, DT_ERR_SHAPE, "%s: images of 3 channels are expected, found %lld", f->measure,
                  (long long)channels);
        return NULL;
    }
    uint8_t *rgb = arena_alloc(&c->scratch, (size_t)(n * plane * 3), &c->error);
    for (int64_t i = 0; rgb && i < n; i++)
        for (int64_t j = 0; j < plane; j++)
            for (int64_t ch = 0; ch < 3; ch++)
                rgb[(i * plane + j) * 3 + ch] = image_from_float(x[(i * 3 + ch) * plane + j]);
    return rgb;
}

static void prepare_pictures(ctx *c, const features *f, float *x, const image pictures[], int64_t n)
{
    dt_error why[INCEPTION_BATCH] = {{0}};
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < n; i++)
        inception_prepare(x + i * INCEPTION_SIDE * INCEPTION_SIDE * 3, &pictures[i], f->resize, &why[i]);
    for (int64_t i = 0; i < n; i++)
        if (why[i].status != DT_OK) error_set(&c->error, why[i].status, "%s", why[i].message);
}

/* At most INCEPTION_BATCH pictures. */
static void inception_rows(ctx *c, const features *f, float *rows, const image pictures[], int64_t n)
{
    const int64_t width = f->dim + f->spatial_dim;
    const arena_place mark = arena_mark(&c->scratch);
    float *x = arena_alloc(&c->scratch, (size_t)(n * INCEPTION_SIDE * INCEPTION_SIDE * 3) * sizeof *x, &c->error);
    float *pool = arena_alloc(&c->scratch, (size_t)(n * width) * sizeof *pool, &c->error);
    float *spatial = pool + n * f->dim;
    if (!ctx_failed(c)) prepare_pictures(c, f, x, pictures, n);
    if (!ctx_failed(c)) inception_features(c, pool, spatial, f->inception, x, n);
    for (int64_t i = 0; i < n && !ctx_failed(c); i++) {
        memcpy(rows + i * width, pool + i * f->dim, (size_t)f->dim * sizeof *rows);
        memcpy(rows + i * width + f->dim, spatial + i * f->spatial_dim, (size_t)f->spatial_dim * sizeof *rows);
    }
    arena_release(&c->scratch, mark);
}

dt_status features_picture_rows(ctx *c, const features *f, float *rows, const image pictures[], int64_t n)
{
    for (int64_t i = 0; i < n && !ctx_failed(c); i += INCEPTION_BATCH)
        inception_rows(c, f, rows + i * (f->dim + f->spatial_dim), pictures + i,
                       n - i < INCEPTION_BATCH ? n - i : INCEPTION_BATCH);
    return c->error.status;
}

static void pictures_rows(ctx *c, const features *f, float *rows, const float *x, int64_t channels, int64_t size,
                          int64_t n)
{
    uint8_t *rgb = bytes_of(c, f, x, channels, size, n);
    image *pictures = arena_alloc(&c->scratch, (size_t)n * sizeof *pictures, &c->error);
    if (ctx_failed(c)) return;
    for (int64_t i = 0; i < n; i++) pictures[i] = (image){size, size, rgb + i * size * size * 3};
    if (f->kind == DT_FEATURE_INCEPTION)
        features_picture_rows(c, f, rows, pictures, n);
    else
        squeezenet_features(c, rows, f->net, rgb, n, size);
}

dt_status features_rows(ctx *c, const features *f, float *rows, const float *x, sample_shape shape, int64_t first,
                        int64_t n)
{
    if (ctx_failed(c)) return c->error.status;
    const arena_place step = arena_mark(&c->step), scratch = arena_mark(&c->scratch);
    if (f->kind == DT_FEATURE_BASE)
        base_rows(c, f, rows, x, shape, first, n);
    else
        pictures_rows(c, f, rows, x, shape.channels, shape.height, n);
    arena_release(&c->step, step);
    arena_release(&c->scratch, scratch);
    return c->error.status;
}
