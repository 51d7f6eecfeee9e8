#include "image/resample.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

enum { FRACTION_BITS = 22 }; /* of a weight; with 8-bit pixels and overshoot the sums stay in 32 bits */

typedef struct filter {
    double support; /* half width at scale 1 */
    double (*weight)(double x);
} filter;

/* Half open, so that a pixel on the border of two boxes counts once. */
static double box_weight(double x)
{
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double bilinear_weight(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Keys' cubic with a = -1/2. The order of operations is part of the contract with Pillow. */
static double bicubic_weight(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

static filter filter_of(resample_filter name)
{
    switch (name) {
    case RESAMPLE_BOX: return (filter){0.5, box_weight};
    case RESAMPLE_BILINEAR: return (filter){1.0, bilinear_weight};
    default: return (filter){2.0, bicubic_weight};
    }
}

/* The outputs start .. start + count - 1 of a line that is resized from in_size to out_size. */
typedef struct axis {
    int64_t in_size, out_size, start, count;
} axis;

/* Of each output, which inputs it takes and with which weights. */
typedef struct taps {
    int64_t width;    /* weights kept for one output */
    int64_t *first;   /* [count] */
    int64_t *length;  /* [count], at most width */
    double *exact;    /* [count, width] */
    int32_t *weights; /* [count, width], the same with FRACTION_BITS */
} taps;

static void taps_close(taps *t)
{
    free(t->first);
    free(t->length);
    free(t->exact);
    free(t->weights);
}

/* Weights of output `index` in double, normalised; returns their number. */
static int64_t exact_weights(double *weights, int64_t *first, const axis *a, int64_t index, const filter *f)
{
    double scale = (double)a->in_size / (double)a->out_size;
    double stretch = scale < 1.0 ? 1.0 : scale;
    double support = f->support * stretch, step = 1.0 / stretch;
    double centre = ((double)index + 0.5) * scale, sum = 0.0;
    int64_t from = (int64_t)(centre - support + 0.5), to = (int64_t)(centre + support + 0.5);
    if (from < 0) from = 0;
    if (to > a->in_size) to = a->in_size;
    for (int64_t i = from; i < to; i++) {
        weights[i - from] = f->weight(((double)i - centre + 0.5) * step);
        sum += weights[i - from];
    }
    for (int64_t i = 0; sum != 0.0 && i < to - from; i++) weights[i] /= sum;
    *first = from;
    return to - from;
}

/* A side that keeps its size gets the single weight 1: its pass copies, which is what Pillow's skipping of it means. */
static dt_status taps_open(taps *t, const axis *a, resample_filter name, dt_error *err)
{
    filter f = filter_of(a->in_size == a->out_size ? RESAMPLE_BOX : name);
    double scale = (double)a->in_size / (double)a->out_size;
    t->width = (int64_t)ceil(f.support * (scale < 1.0 ? 1.0 : scale)) * 2 + 1;
    size_t count = (size_t)a->count, width = (size_t)t->width;
    t->first = calloc(count, sizeof *t->first);
    t->length = calloc(count, sizeof *t->length);
    t->exact = calloc(count * width, sizeof *t->exact);
    t->weights = calloc(count * width, sizeof *t->weights);
    if (!t->first || !t->length || !t->exact || !t->weights) {
        taps_close(t);
        return error_set(err, DT_ERR_MEMORY, "no memory to resize %lld pixels to %lld", (long long)a->in_size,
                         (long long)a->out_size);
    }
    for (int64_t i = 0; i < a->count; i++) {
        double *exact = t->exact + i * t->width;
        t->length[i] = exact_weights(exact, &t->first[i], a, a->start + i, &f);
        for (int64_t k = 0; k < t->length[i]; k++) {
            double fixed = exact[k] * (1 << FRACTION_BITS);
            t->weights[i * t->width + k] = (int32_t)(fixed < 0.0 ? fixed - 0.5 : fixed + 0.5);
        }
    }
    return DT_OK;
}

static uint8_t clip(int32_t sum)
{
    int32_t value = sum >> FRACTION_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* Filters `count` pixels, `stride` bytes apart, into one. */
static void filter_pixel(uint8_t *out, const uint8_t *in, const int32_t *weights, int64_t count, int64_t stride)
{
    int32_t sum[3] = {1 << (FRACTION_BITS - 1), 1 << (FRACTION_BITS - 1), 1 << (FRACTION_BITS - 1)};
    for (int64_t k = 0; k < count; k++) {
        for (int c = 0; c < 3; c++) sum[c] += in[k * stride + c] * weights[k];
    }
    for (int c = 0; c < 3; c++) out[c] = clip(sum[c]);
}

/* Columns a->start.. of the rows first_row.. of `in`; `out` has its size already. */
static void filter_rows(image *out, const image *in, const taps *t, int64_t first_row)
{
    for (int64_t y = 0; y < out->height; y++) {
        const uint8_t *row = in->rgb + 3 * in->width * (first_row + y);
        for (int64_t x = 0; x < out->width; x++) {
            filter_pixel(out->rgb + 3 * (y * out->width + x), row + 3 * t->first[x], t->weights + x * t->width,
                         t->length[x], 3);
        }
    }
}

/* `in` begins with row first_row of the picture that the taps count in. */
static void filter_columns(image *out, const image *in, const taps *t, int64_t first_row)
{
    int64_t stride = 3 * in->width;
    for (int64_t y = 0; y < out->height; y++) {
        const uint8_t *top = in->rgb + stride * (t->first[y] - first_row);
        for (int64_t x = 0; x < out->width; x++) {
            filter_pixel(out->rgb + 3 * (y * out->width + x), top + 3 * x, t->weights + y * t->width, t->length[y],
                         stride);
        }
    }
}

/* The window of the resized picture that `across` and `down` name. */
static dt_status resample_window(image *out, const image *in, const axis *across, const axis *down,
                                 resample_filter name, dt_error *err)
{
    taps horizontal, vertical;
    *out = (image){0};
    dt_status status = taps_open(&horizontal, across, name, err);
    if (status != DT_OK) return status;
    status = taps_open(&vertical, down, name, err);
    if (status != DT_OK) {
        taps_close(&horizontal);
        return status;
    }
    int64_t last = down->count - 1, first_row = vertical.first[0];
    image middle = {0};
    status = image_alloc(&middle, across->count, vertical.first[last] + vertical.length[last] - first_row, err);
    if (status == DT_OK) status = image_alloc(out, across->count, down->count, err);
    if (status == DT_OK) {
        filter_rows(&middle, in, &horizontal, first_row);
        filter_columns(out, &middle, &vertical, first_row);
    }
    image_close(&middle);
    taps_close(&horizontal);
    taps_close(&vertical);
    return status;
}

/* ---- to float ---- */

/* One row of `in`, filtered across: the sum of pixels times weights in double, in order, rounded once, as Pillow. */
static void filter_float_row(float *out, const uint8_t *in, const taps *t, int64_t width)
{
    for (int64_t x = 0; x < width; x++) {
        const uint8_t *pixel = in + 3 * t->first[x];
        double sum[3] = {0};
        for (int64_t k = 0; k < t->length[x]; k++)
            for (int c = 0; c < 3; c++) sum[c] += (double)pixel[3 * k + c] * t->exact[x * t->width + k];
        for (int c = 0; c < 3; c++) out[3 * x + c] = (float)sum[c];
    }
}

/* sum[y] += weight * row for each output row y that takes input row `index`; *first is the first that may. The rows come in
 * order, so that each sum is made in order, and no more than one of them is held, however many there are. */
static void add_float_row(double *sum, int64_t *first, const float *row, int64_t index, const taps *t, const axis *down,
                          int64_t values)
{
    while (*first < down->count && t->first[*first] + t->length[*first] <= index) ++*first;
    for (int64_t y = *first; y < down->count && t->first[y] <= index; y++) {
        const double weight = t->exact[y * t->width + index - t->first[y]];
        for (int64_t i = 0; i < values; i++) sum[y * values + i] += (double)row[i] * weight;
    }
}

static dt_status pillow_bicubic(float *out, const image *in, const axis *across, const axis *down, dt_error *err)
{
    taps horizontal, vertical;
    if (taps_open(&horizontal, across, RESAMPLE_BICUBIC, err) != DT_OK) return err->status;
    if (taps_open(&vertical, down, RESAMPLE_BICUBIC, err) != DT_OK) {
        taps_close(&horizontal);
        return err->status;
    }
    const int64_t values = 3 * across->out_size, count = values * down->out_size;
    int64_t first = 0;
    float *row = malloc((size_t)values * sizeof *row);
    double *sum = calloc((size_t)count, sizeof *sum);
    for (int64_t y = 0; row && sum && y < down->in_size; y++) {
        filter_float_row(row, in->rgb + 3 * in->width * y, &horizontal, across->out_size);
        add_float_row(sum, &first, row, y, &vertical, down, values);
    }
    for (int64_t i = 0; row && sum && i < count; i++) out[i] = (float)sum[i];
    if (!row || !sum) error_set(err, DT_ERR_MEMORY, "no memory to resize an image");
    free(row);
    free(sum);
    taps_close(&horizontal);
    taps_close(&vertical);
    return err->status;
}

/* Where between two neighbours an output lies. */
typedef struct between {
    int64_t low, high;
    float fraction;
} between;

/* In float, as both programs count. `centred`: pixels are squares whose middles are compared (PyTorch without
 * align_corners), else their upper left corners are (TensorFlow 1). */
static between place_of(int64_t index, const axis *a, bool centred)
{
    float scale = (float)a->in_size / (float)a->out_size;
    float place = centred ? scale * ((float)index + 0.5F) - 0.5F : (float)index * scale;
    if (place < 0) place = 0;
    int64_t low = (int64_t)place;
    if (low > a->in_size - 1) low = a->in_size - 1;
    return (between){low, low + 1 < a->in_size ? low + 1 : low, place - (float)low};
}

static void bilinear(float *out, const uint8_t *in, const axis *across, const axis *down, bool centred)
{
    for (int64_t y = 0; y < down->out_size; y++) {
        between v = place_of(y, down, centred);
        const uint8_t *upper = in + 3 * across->in_size * v.low, *lower = in + 3 * across->in_size * v.high;
        for (int64_t x = 0; x < across->out_size; x++) {
            between h = place_of(x, across, centred);
            for (int c = 0; c < 3; c++) {
                const float a = upper[3 * h.low + c], b = lower[3 * h.low + c];
                float top = a + ((float)upper[3 * h.high + c] - a) * h.fraction;
                float bottom = b + ((float)lower[3 * h.high + c] - b) * h.fraction;
                *out++ = top + (bottom - top) * v.fraction;
            }
        }
    }
}

dt_status resample_float(float *out, const image *in, int64_t width, int64_t height, resample_float_way way,
                         dt_error *err)
{
    const axis across = {in->width, width, 0, width}, down = {in->height, height, 0, height};
    if (way == RESAMPLE_PILLOW_BICUBIC) return pillow_bicubic(out, in, &across, &down, err);
    bilinear(out, in->rgb, &across, &down, way == RESAMPLE_TORCH_BILINEAR);
    return DT_OK;
}

/* ---- to 8 bits ---- */

dt_status resample_image(image *out, const image *in, int64_t width, int64_t height, resample_filter filter_name,
                         dt_error *err)
{
    *out = (image){0};
    if (width < 1 || height < 1 || width > IMAGE_PIXEL_LIMIT / height) {
        return error_set(err, DT_ERR_ARG, "an image cannot be resized to %lld x %lld pixels", (long long)width,
                         (long long)height);
    }
    axis across = {in->width, width, 0, width}, down = {in->height, height, 0, height};
    return resample_window(out, in, &across, &down, filter_name, err);
}

/* A side after the bicubic step. Python's round() takes ties to the even number, as rint does. */
static axis crop_axis(int64_t in_size, double scale, int64_t size)
{
    int64_t scaled = (int64_t)rint((double)in_size * scale);
    return (axis){in_size, scaled, (scaled - size) / 2, size};
}

dt_status resample_centre_crop(image *out, const image *in, int64_t size, dt_error *err)
{
    image halved = {0};
    const image *from = in;
    while (from->width >= 2 * size && from->height >= 2 * size) {
        image next;
        dt_status status = resample_image(&next, from, from->width / 2, from->height / 2, RESAMPLE_BOX, err);
        image_close(&halved);
        if (status != DT_OK) return status;
        halved = next;
        from = &halved;
    }
    double scale = (double)size / (double)(from->width < from->height ? from->width : from->height);
    axis across = crop_axis(from->width, scale, size), down = crop_axis(from->height, scale, size);
    dt_status status = resample_window(out, from, &across, &down, RESAMPLE_BICUBIC, err);
    image_close(&halved);
    return status;
}
