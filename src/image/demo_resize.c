#include "image/demo_resize.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MULTIPLE = 64, TAPS_MAX = 8, LINEAR_TAPS = 2, ONE = 2048 /* of fixed-point weights */ };

typedef enum way { WAY_LANCZOS, WAY_LINEAR } way;

static dt_status no_memory(dt_error *err)
{
    return error_set(err, DT_ERR_MEMORY, "no memory to resize a picture");
}

static int64_t clamp(int64_t at, int64_t count)
{
    return at < 0 ? 0 : at < count ? at : count - 1;
}

static uint8_t to_byte(double value)
{
    return value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)lrint(value);
}

/* Old pixels in a new one along a side, as OpenCV rounds it. */
static double step_of(int64_t size, int64_t old)
{
    return 1.0 / ((double)size / (double)old);
}

/* ---- weights in fixed point ---- */

/* What a new position is made of. */
typedef struct taps {
    int64_t at[TAPS_MAX];
    int32_t weight[TAPS_MAX];
} taps;

/* imgproc/src/resize.cpp, interpolateLanczos4: sines of arguments that differ by 45 degrees are sums of two. */
static void weigh_lanczos(float weight[TAPS_MAX], float x)
{
    static const double s45 = 0.70710678118654752440084436210485;
    const double turn[TAPS_MAX][2] = {{1, 0},  {-s45, -s45}, {0, 1},  {s45, -s45},
                                      {-1, 0}, {s45, s45},   {0, -1}, {-s45, s45}};
    const double quarter = M_PI * 0.25, start = -((double)x + 3) * quarter;
    float sum = 0;
    memset(weight, 0, TAPS_MAX * sizeof *weight);
    if (x < FLT_EPSILON) {
        weight[3] = 1;
        return;
    }
    for (int i = 0; i < TAPS_MAX; i++) {
        const double y = -((double)x + 3 - i) * quarter;
        weight[i] = (float)((turn[i][0] * sin(start) + turn[i][1] * cos(start)) / (y * y));
        sum += weight[i];
    }
    sum = 1 / sum;
    for (int i = 0; i < TAPS_MAX; i++) weight[i] *= sum;
}

static taps lanczos_taps(int64_t to, int64_t size, int64_t old)
{
    taps t;
    float weight[TAPS_MAX];
    const float place = (float)(((double)to + 0.5) * step_of(size, old) - 0.5);
    const int64_t at = (int64_t)floorf(place);
    weigh_lanczos(weight, place - (float)at);
    for (int i = 0; i < TAPS_MAX; i++) {
        t.at[i] = clamp(at - 3 + i, old);
        t.weight[i] = (int32_t)lrintf(weight[i] * ONE);
    }
    return t;
}

/* What areas become where a side grows. A column's last pixel has no neighbour; rows have the last one twice. */
static taps linear_taps(int64_t to, int64_t size, int64_t old, bool column)
{
    const double inverse = (double)size / (double)old;
    int64_t at = (int64_t)floor((double)to * step_of(size, old));
    float after = (float)((double)(to + 1) - (double)(at + 1) * inverse);
    after = after <= 0 ? 0 : after - floorf(after);
    if (column && at >= old - 1) {
        after = 0;
        at = old - 1;
    }
    return (taps){.at = {clamp(at, old), clamp(at + 1, old)},
                  .weight = {(int32_t)lrintf((1 - after) * ONE), (int32_t)lrintf(after * ONE)}};
}

static taps taps_of(way w, int64_t to, int64_t size, int64_t old, bool column)
{
    return w == WAY_LANCZOS ? lanczos_taps(to, size, old) : linear_taps(to, size, old, column);
}

/* lines[height,width,3] of the old picture, each line brought to the new width, times ONE. */
static void spread_lines(int32_t *lines, const image *in, int64_t width, way w)
{
    const int count = w == WAY_LANCZOS ? TAPS_MAX : LINEAR_TAPS;
    for (int64_t x = 0; x < width; x++) {
        const taps t = taps_of(w, x, width, in->width, true);
        for (int64_t y = 0; y < in->height; y++)
            for (int k = 0; k < 3; k++) {
                int32_t sum = 0;
                for (int i = 0; i < count; i++) sum += in->rgb[3 * (y * in->width + t.at[i]) + k] * t.weight[i];
                lines[3 * (y * width + x) + k] = sum;
            }
    }
}

static uint8_t join_lanczos(const int32_t *column, const taps *t, int64_t stride)
{
    enum { BITS = 22 };
    int64_t sum = 1 << (BITS - 1);
    for (int i = 0; i < TAPS_MAX; i++) sum += (int64_t)column[t->at[i] * stride] * t->weight[i];
    sum >>= BITS;
    return sum < 0 ? 0 : sum > 255 ? 255 : (uint8_t)sum;
}

static uint8_t join_linear(const int32_t *column, const taps *t, int64_t stride)
{
    const int32_t above = (t->weight[0] * (column[t->at[0] * stride] >> 4)) >> 16,
                  below = (t->weight[1] * (column[t->at[1] * stride] >> 4)) >> 16;
    return (uint8_t)((above + below + 2) >> 2);
}

static dt_status resize_by_taps(image *out, const image *in, way w, dt_error *err)
{
    const int64_t stride = 3 * out->width;
    int32_t *lines = malloc((size_t)(in->height * stride) * sizeof *lines);
    if (!lines) return no_memory(err);
    spread_lines(lines, in, out->width, w);
    for (int64_t y = 0; y < out->height; y++) {
        const taps t = taps_of(w, y, out->height, in->height, false);
        for (int64_t i = 0; i < stride; i++)
            out->rgb[y * stride + i] =
                w == WAY_LANCZOS ? join_lanczos(lines + i, &t, stride) : join_linear(lines + i, &t, stride);
    }
    free(lines);
    return DT_OK;
}

/* ---- areas ---- */

/* Both sides shrink by whole numbers. */
static void resize_by_blocks(image *out, const image *in, int64_t across, int64_t down)
{
    const float share = 1.0F / (float)(across * down);
    for (int64_t i = 0; i < out->height * out->width * 3; i++) {
        const int64_t y = i / (3 * out->width), x = i / 3 % out->width;
        int64_t sum = 0;
        for (int64_t j = 0; j < across * down; j++)
            sum += in->rgb[3 * ((y * down + j / across) * in->width + x * across + j % across) + i % 3];
        out->rgb[i] = across == 2 && down == 2 ? (uint8_t)((sum + 2) >> 2) : to_byte((double)((float)sum * share));
    }
}

/* The old pixels that a new one covers: `first` and `last` in part, those between wholly. */
typedef struct cover {
    int64_t first, last; /* both included */
    float whole, at_first, at_last;
} cover;

/* A part of less than a thousandth is none. */
static cover cover_of(int64_t to, int64_t size, int64_t old)
{
    const double little = 1e-3, step = step_of(size, old), from = (double)to * step, end = from + step;
    const double cell = fmin(step, (double)old - from);
    int64_t first = (int64_t)ceil(from), behind = (int64_t)floor(end);
    if (behind > old - 1) behind = old - 1;
    if (first > behind) first = behind;
    cover c = {.first = first, .last = behind - 1, .whole = (float)(1 / cell)};
    c.at_first = c.at_last = c.whole;
    if (end - (double)behind > little) {
        c.last = behind;
        c.at_last = (float)(fmin(fmin(end - (double)behind, 1), cell) / cell);
        if (first == behind) c.at_first = c.at_last;
    }
    if ((double)first - from > little) {
        c.first = first - 1;
        c.at_first = (float)(((double)first - from) / cell);
    }
    return c;
}

static float cover_weight(const cover *c, int64_t i)
{
    return i == c->first ? c->at_first : i == c->last ? c->at_last : c->whole;
}

/* row[width,3] of one old line. */
static void cover_line(float *row, const uint8_t *line, int64_t width, const cover *columns)
{
    for (int64_t x = 0; x < width; x++)
        for (int k = 0; k < 3; k++) {
            float sum = 0;
            for (int64_t i = columns[x].first; i <= columns[x].last; i++)
                sum += (float)line[3 * i + k] * cover_weight(&columns[x], i);
            row[3 * x + k] = sum;
        }
}

static dt_status resize_by_areas(image *out, const image *in, dt_error *err)
{
    const int64_t values = 3 * out->width;
    cover *columns = malloc((size_t)out->width * sizeof *columns);
    float *row = malloc((size_t)values * sizeof *row), *sum = malloc((size_t)values * sizeof *sum);
    if (!columns || !row || !sum) no_memory(err);
    for (int64_t x = 0; x < out->width && err->status == DT_OK; x++) columns[x] = cover_of(x, out->width, in->width);
    for (int64_t y = 0; y < out->height && err->status == DT_OK; y++) {
        const cover rows = cover_of(y, out->height, in->height);
        memset(sum, 0, (size_t)values * sizeof *sum);
        for (int64_t j = rows.first; j <= rows.last; j++) {
            const float weight = cover_weight(&rows, j);
            cover_line(row, in->rgb + 3 * j * in->width, out->width, columns);
            for (int64_t i = 0; i < values; i++) sum[i] += row[i] * weight;
        }
        for (int64_t i = 0; i < values; i++) out->rgb[y * values + i] = to_byte((double)sum[i]);
    }
    free(columns);
    free(row);
    free(sum);
    return err->status;
}

/* ---- the whole ---- */

/* The whole number that a side shrinks by; 0: by none. */
static int64_t whole_step(int64_t size, int64_t old)
{
    const double step = step_of(size, old);
    return fabs(step - rint(step)) < DBL_EPSILON ? (int64_t)rint(step) : 0;
}

static int64_t new_side(int64_t old, double factor)
{
    return (int64_t)rint((double)old * factor / MULTIPLE) * MULTIPLE;
}

dt_status demo_resize(image *out, const image *in, int64_t side, dt_error *err)
{
    const int64_t shorter = in->width < in->height ? in->width : in->height;
    const double factor = (double)side / (double)shorter;
    if (image_alloc(out, new_side(in->width, factor), new_side(in->height, factor), err) != DT_OK) return err->status;
    const int64_t across = whole_step(out->width, in->width), down = whole_step(out->height, in->height);
    if (out->width == in->width && out->height == in->height)
        memcpy(out->rgb, in->rgb, (size_t)(3 * in->width * in->height));
    else if (factor > 1)
        resize_by_taps(out, in, WAY_LANCZOS, err);
    else if (out->width > in->width || out->height > in->height)
        resize_by_taps(out, in, WAY_LINEAR, err);
    else if (across && down)
        resize_by_blocks(out, in, across, down);
    else
        resize_by_areas(out, in, err);
    if (err->status != DT_OK) image_close(out);
    return err->status;
}
