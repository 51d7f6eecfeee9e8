#include "measure/convergence.h"

#include <math.h>
#include <string.h>

/* ---- what is compared how ---- */

static const map_measure measures_of[ANNOTATOR_KINDS] = {
    [ANNOTATE_CANNY] = MAP_SSIM,   [ANNOTATE_HED] = MAP_SSIM,  [ANNOTATE_SKETCH] = MAP_SSIM,
    [ANNOTATE_PIDINET] = MAP_SSIM, [ANNOTATE_DEPTH] = MAP_MSE, [ANNOTATE_NORMAL] = MAP_MSE,
    [ANNOTATE_SEG] = MAP_ACCURACY,
};

double convergence_threshold(const dt_settings *s)
{
    return map_threshold(s->convergence_threshold, s->control);
}

/* ---- opening ---- */

dt_status convergence_open(convergence *k, const measures *m, const trainer *t, const dt_settings *s)
{
    ctx *c = t->c;
    const annotator_kind kind = annotator_named(s->control);
    const example_table *control = m->drawing.told ? &m->drawing.told->control : NULL;
    if (kind == ANNOTATOR_KINDS || !control || !control->map_channels)
        return error_set(
            &c->error, DT_ERR_ARG,
            "convergence_steps: needs the annotator that makes the controls: control canny, hed and so on");
    if (annotator_open(c, &k->annotator, kind, s->annotator_weights) != DT_OK) return c->error.status;
    k->measure = measures_of[kind];
    k->count = s->convergence_count < m->drawing.told->count ? s->convergence_count : m->drawing.told->count;
    if (k->measure == MAP_SSIM && t->resolution < MAP_SSIM_SIDE)
        return error_set(&c->error, DT_ERR_SHAPE, "convergence_steps: SSIM needs pictures of %d pixels or more",
                         MAP_SSIM_SIDE);
    return c->error.status;
}

/* ---- measuring ---- */

typedef struct taker {
    ctx *c;
    const convergence *k;
    const drawing *drawing;
    int64_t side;
    double sum, squares;
    int64_t shown; /* pictures of the strip */
    float *strip;  /* [3 * shown,3,side,side]: controls, samples, maps of the samples */
} taker;

static void to_bytes(uint8_t *rgb, const float *x, int64_t pixels)
{
    for (int64_t i = 0; i < pixels; i++)
        for (int k = 0; k < 3; k++) rgb[3 * i + k] = image_from_float(x[k * pixels + i]);
}

static void show_map(float *x, const uint8_t *map, int64_t pixels, int64_t channels)
{
    for (int64_t i = 0; i < pixels; i++)
        for (int k = 0; k < 3; k++) x[k * pixels + i] = (float)map[channels * i + (channels == 3 ? k : 0)] / 127.5F - 1;
}

static double compare(const taker *k, const uint8_t *control, const uint8_t *map)
{
    const int64_t side = k->side, channels = k->k->annotator.channels;
    double value = NAN;
    switch (k->k->measure) {
    case MAP_SSIM: map_ssim(&value, control, map, side, side, map_blur(side, side), &k->c->error); break;
    case MAP_MSE: value = map_mse(control, map, side * side * channels); break;
    case MAP_ACCURACY: value = map_accuracy(control, map, side * side, channels); break;
    }
    return value;
}

static void take_one(taker *k, const float *picture, int64_t i)
{
    const int64_t pixels = k->side * k->side, channels = k->k->annotator.channels;
    const arena_place mark = arena_mark(&k->c->scratch);
    uint8_t *rgb = arena_alloc(&k->c->scratch, (size_t)(pixels * (3 + channels)), &k->c->error);
    if (!rgb) return;
    uint8_t *map = rgb + 3 * pixels;
    const uint8_t *control = example_table_row(&k->drawing->told->control, drawing_example(k->drawing, i), 0);
    to_bytes(rgb, picture, pixels);
    if (annotate(k->c, &k->k->annotator, map, rgb, k->side, k->side) == DT_OK) {
        const double value = compare(k, control, map);
        k->sum += value;
        k->squares += value * value;
        if (i < k->shown) {
            show_map(k->strip + i * 3 * pixels, control, pixels, channels);
            memcpy(k->strip + (k->shown + i) * 3 * pixels, picture, (size_t)(3 * pixels) * sizeof *picture);
            show_map(k->strip + (2 * k->shown + i) * 3 * pixels, map, pixels, channels);
        }
    }
    arena_release(&k->c->scratch, mark);
}

static bool take_batch(void *user, drawn *b)
{
    taker *k = user;
    for (int64_t j = 0; j < b->n && ctx_go_on(k->c); j++)
        take_one(k, b->pictures + j * 3 * k->side * k->side, b->first + j);
    return !ctx_failed(k->c);
}

static int64_t shown_of(const convergence *k)
{
    return k->count < CONVERGENCE_STRIP_MAX ? k->count : CONVERGENCE_STRIP_MAX;
}

static size_t strip_bytes(const convergence *k, int64_t side)
{
    return (size_t)(3 * shown_of(k) * 3 * side * side) * sizeof(float);
}

dt_status convergence_take(const convergence *v, const measures *m, trainer *t, convergence_value *out, image *strip)
{
    ctx *c = t->c;
    const arena_place mark = arena_mark(&c->model);
    taker k = {.c = c,
               .k = v,
               .drawing = &m->drawing,
               .side = t->resolution,
               .shown = shown_of(v),
               .strip = arena_alloc(&c->model, strip_bytes(v, t->resolution), &c->error)};
    if (k.strip && measure_draw(m, t, v->count, take_batch, &k) == DT_OK) {
        const double n = (double)v->count, mean = k.sum / n;
        *out = (convergence_value){mean, n > 1 ? sqrt(fmax(k.squares / n - mean * mean, 0) / (n - 1)) : (double)NAN};
        image_grid(strip, k.strip, 3 * k.shown, 3, k.side, k.side, k.shown, &c->error);
    }
    arena_release(&c->model, mark);
    return c->error.status;
}

int64_t convergence_bytes(const convergence *k, const trainer *t)
{
    enum { PICTURES = 2 }; /* as bytes, and as a PNG file */
    const int64_t strip = (int64_t)strip_bytes(k, t->resolution);
    return strip + PICTURES * strip / (int64_t)sizeof(float);
}
