/* A denoiser whose right answer is known: the best one there is for pictures 3x8x8 whose cosine coefficients are independent and
 * normal, each with a mean and a variance of its own, the same for the three channels. Its file holds the two tables. */
#ifndef TESTS_GAUSSIAN_DENOISER_H
#define TESTS_GAUSSIAN_DENOISER_H

#include <math.h>
#include <string.h>

#include "container/safetensors.h"
#include "file/folder.h"
#include "image/image.h"
#include "model/maker.h"

enum { GAUSSIAN_SIDE = 8, GAUSSIAN_PIXELS = GAUSSIAN_SIDE * GAUSSIAN_SIDE, GAUSSIAN_CHANNELS = 3 };

typedef struct gaussian {
    double mean[GAUSSIAN_PIXELS], variance[GAUSSIAN_PIXELS];
} gaussian;

/* Like pictures: the variance falls with the frequency. */
static inline gaussian gaussian_of_pictures(void)
{
    gaussian g = {0};
    for (int k = 0; k < GAUSSIAN_PIXELS; k++) {
        const int v = k / GAUSSIAN_SIDE, u = k % GAUSSIAN_SIDE;
        g.variance[k] = 1.5 / pow(1 + u * u + v * v, 1.2);
    }
    return g;
}

/* Entry (k, i) of the orthonormal cosine transform of a picture. */
static inline double gaussian_basis(int k, int i)
{
    const double side = GAUSSIAN_SIDE, pi = 3.14159265358979323846;
    const int v = k / GAUSSIAN_SIDE, u = k % GAUSSIAN_SIDE, y = i / GAUSSIAN_SIDE, x = i % GAUSSIAN_SIDE;
    const double scale = sqrt((u ? 2 : 1) / side) * sqrt((v ? 2 : 1) / side);
    return scale * cos(pi * (x + 0.5) * u / side) * cos(pi * (y + 0.5) * v / side);
}

static inline const double *gaussian_table(void)
{
    static double table[GAUSSIAN_PIXELS * GAUSSIAN_PIXELS];
    static bool made;
    for (int k = 0; !made && k < GAUSSIAN_PIXELS * GAUSSIAN_PIXELS; k++)
        table[k] = gaussian_basis(k / GAUSSIAN_PIXELS, k % GAUSSIAN_PIXELS);
    made = true;
    return table;
}

/* pixels[64] of coefficients, or with `back` coefficients of pixels. */
static inline void gaussian_transform(double out[GAUSSIAN_PIXELS], const double in[GAUSSIAN_PIXELS], bool back)
{
    const double *table = gaussian_table();
    for (int i = 0; i < GAUSSIAN_PIXELS; i++) {
        out[i] = 0;
        for (int j = 0; j < GAUSSIAN_PIXELS; j++)
            out[i] += in[j] * (back ? table[i * GAUSSIAN_PIXELS + j] : table[j * GAUSSIAN_PIXELS + i]);
    }
}

/* ---- the denoiser ---- */

typedef struct gaussian_network {
    params params;
    gaussian law;
    schedule schedule;
} gaussian_network;

/* The expectation of the noise: s (y - a m) / (a^2 v + s^2) of coefficient y = a x + s e. */
static inline tensor *gaussian_forward(ctx *c, const denoiser *d, tensor *x, const real t[], const condition *k)
{
    const gaussian_network *m = d->self;
    (void)k;
    tensor *out = ctx_failed(c) ? NULL : tensor_new(c, &c->step, 4, x->dim);
    for (int64_t i = 0; out && i < x->dim[0] * GAUSSIAN_CHANNELS; i++) {
        const double abar = m->schedule.abar[(int)t[i / GAUSSIAN_CHANNELS]], a = sqrt(abar), s = sqrt(1 - abar);
        double pixels[GAUSSIAN_PIXELS], y[GAUSSIAN_PIXELS];
        for (int j = 0; j < GAUSSIAN_PIXELS; j++) pixels[j] = (double)x->data[i * GAUSSIAN_PIXELS + j];
        gaussian_transform(y, pixels, true);
        for (int j = 0; j < GAUSSIAN_PIXELS; j++)
            y[j] = s * (y[j] - a * m->law.mean[j]) / (abar * m->law.variance[j] + s * s);
        gaussian_transform(pixels, y, false);
        for (int j = 0; j < GAUSSIAN_PIXELS; j++) out->data[i * GAUSSIAN_PIXELS + j] = (real)pixels[j];
    }
    return out;
}

static inline bool gaussian_fits(const tensor_file *f)
{
    return tensor_file_find(f, "variance") != NULL;
}

static inline dt_status gaussian_view(tensor_file *f, sample_shape *shape, dt_error *err)
{
    (void)f;
    *shape = (sample_shape){GAUSSIAN_CHANNELS, GAUSSIAN_SIDE, GAUSSIAN_SIDE};
    return err->status;
}

static inline int64_t gaussian_class_count(const tensor_file *f)
{
    (void)f;
    return 0;
}

static inline dt_status gaussian_load(ctx *c, denoiser *d, const tensor_file *f, const model_info *info,
                                      const label_start *labels)
{
    static const denoiser_ops ops = {.kind = "Gaussian", .forward = gaussian_forward};
    static const char *const names[] = {"mean", "variance"};
    gaussian_network *m = arena_alloc_zeroed(&c->model, sizeof *m, &c->error);
    (void)info;
    (void)labels;
    for (int i = 0; m && i < 2; i++) {
        tensor *t = params_add(c, &m->params, PARAM_GIVEN, 1, (int64_t[]){GAUSSIAN_PIXELS}, "%s", names[i]);
        if (!t || tensor_read_f32(t->data, tensor_file_find(f, names[i]), &c->error) != DT_OK) return c->error.status;
        for (int k = 0; k < GAUSSIAN_PIXELS; k++) (i ? m->law.variance : m->law.mean)[k] = (double)t->data[k];
    }
    if (!m) return c->error.status;
    schedule_full(&m->schedule, NOISE_LINEAR);
    *d = (denoiser){.ops = &ops,
                    .self = m,
                    .params = &m->params,
                    .shape = {GAUSSIAN_CHANNELS, GAUSSIAN_SIDE, GAUSSIAN_SIDE},
                    .process = {NOISE_LINEAR, PREDICTS_NOISE, false}};
    return c->error.status;
}

static const model_kind gaussian_kind = {.fits = gaussian_fits,
                                         .view = gaussian_view,
                                         .class_count = gaussian_class_count,
                                         .load = gaussian_load,
                                         .names = ""};

static const model_kind *const gaussian_kinds[] = {&gaussian_kind, NULL};

/* ---- files ---- */

static inline void gaussian_save(const gaussian *g, const char *path)
{
    float mean[GAUSSIAN_PIXELS], variance[GAUSSIAN_PIXELS];
    const int64_t dims[1] = {GAUSSIAN_PIXELS};
    dt_error err = {0};
    for (int k = 0; k < GAUSSIAN_PIXELS; k++) mean[k] = (float)g->mean[k], variance[k] = (float)g->variance[k];
    const tensor_source source[] = {
        {.name = "mean", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = dims, .values = mean},
        {.name = "variance", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = dims, .values = variance}};
    assert_int_equal(safetensors_write(path, source, 2, NULL, 0, NULL, &err), DT_OK);
}

/* What becomes of a picture's coefficients before it is saved; NULL: nothing. */
typedef void gaussian_damage(double y[GAUSSIAN_PIXELS], rng_key key);

/* folder/c0/NNNN.png: `count` pictures drawn from the law. */
static inline void gaussian_pictures(const gaussian *g, const char *folder, int count, uint64_t seed,
                                     gaussian_damage *damage)
{
    char path[2048];
    uint8_t rgb[GAUSSIAN_PIXELS * 3];
    real z[GAUSSIAN_PIXELS];
    double y[GAUSSIAN_PIXELS], pixels[GAUSSIAN_PIXELS];
    dt_error err = {0};
    snprintf(path, sizeof path, "%s/c0", folder);
    assert_int_equal(file_make_dirs(path, &err), DT_OK);
    for (int i = 0; i < count; i++) {
        for (int channel = 0; channel < GAUSSIAN_CHANNELS; channel++) {
            const rng_key key = {seed, RNG_INIT, (uint32_t)i, (uint32_t)channel};
            rng_normal(z, GAUSSIAN_PIXELS, key);
            for (int k = 0; k < GAUSSIAN_PIXELS; k++) y[k] = g->mean[k] + sqrt(g->variance[k]) * (double)z[k];
            if (damage) damage(y, key);
            gaussian_transform(pixels, y, false);
            for (int k = 0; k < GAUSSIAN_PIXELS; k++)
                rgb[3 * k + channel] = (uint8_t)fmin(fmax(127.5 * pixels[k] + 128, 0), 255);
        }
        snprintf(path, sizeof path, "%s/c0/%04d.png", folder, i);
        assert_int_equal(image_write_png(path, rgb, GAUSSIAN_SIDE, GAUSSIAN_SIDE, NULL, 0, &err), DT_OK);
    }
}

#endif
