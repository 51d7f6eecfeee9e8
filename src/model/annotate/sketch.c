#include "model/annotate/sketch.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { RIDGE_MIN = 127, STROKE_MIN = 4 };  /* values above them are kept */
enum { FLOAT_REACH = 12, BYTE_REACH = 9 }; /* of OpenCV's kernels for sigma 3: 4 sigma in float, 3 in bytes */

#define SIGMA 3.0

/* Position `at` of a line that goes on mirrored before its first and behind its last value, which are not repeated. */
static int64_t mirrored(int64_t at, int64_t size)
{
    if (size == 1) return 0;
    const int64_t period = 2 * (size - 1);
    at %= period;
    if (at < 0) at += period;
    return at < size ? at : period - at;
}

/* ---- the blur in float ----
 *
 * Ridges are found by comparing neighbours, so last bits decide where a stroke lies on a plateau. Sums are made as OpenCV 4 makes
 * them where products and sums are fused (fmaf): along a row from left to right, along a column from the middle outwards.
 * A direction of one pixel is not blurred. */

static void float_weights(float weight[2 * FLOAT_REACH + 1])
{
    double exact[2 * FLOAT_REACH + 1], sum = 0;
    for (int i = -FLOAT_REACH; i <= FLOAT_REACH; i++)
        sum += exact[FLOAT_REACH + i] = exp(-(double)(i * i) / (2 * SIGMA * SIGMA));
    for (int i = 0; i <= 2 * FLOAT_REACH; i++) weight[i] = (float)(exact[i] / sum);
}

/* `line` is room for width + 2 FLOAT_REACH values. */
static void blur_along_row(float *out, float *line, const float *in, const float *weight, int64_t width)
{
    if (width == 1) {
        out[0] = in[0];
        return;
    }
    for (int64_t x = 0; x < width + 2 * FLOAT_REACH; x++) line[x] = in[mirrored(x - FLOAT_REACH, width)];
    for (int64_t x = 0; x < width; x++) {
        float sum = line[x] * weight[0];
        for (int i = 1; i <= 2 * FLOAT_REACH; i++) sum = fmaf(line[x + i], weight[i], sum);
        out[x] = sum;
    }
}

/* Row y of in[height,width], blurred along the columns. */
static void blur_along_columns(float *out, const float *in, const float *weight, int64_t y, int64_t height,
                               int64_t width)
{
    const float *middle = in + y * width;
    for (int64_t x = 0; x < width; x++) out[x] = height == 1 ? middle[x] : middle[x] * weight[FLOAT_REACH];
    for (int64_t i = 1; i <= FLOAT_REACH && height > 1; i++) {
        const float *above = in + mirrored(y - i, height) * width, *below = in + mirrored(y + i, height) * width;
        for (int64_t x = 0; x < width; x++) out[x] = fmaf(below[x] + above[x], weight[FLOAT_REACH + i], out[x]);
    }
}

/* out[height,width] of bytes in[height,width]; `rows` is room for as many values, `line` for a row between its mirrors. */
static void blur_to_floats(float *out, float *rows, float *line, const uint8_t *in, int64_t height, int64_t width)
{
    float weight[2 * FLOAT_REACH + 1];
    float_weights(weight);
    for (int64_t i = 0; i < height * width; i++) out[i] = (float)in[i];
    for (int64_t y = 0; y < height; y++) blur_along_row(rows + y * width, line, out + y * width, weight, width);
    for (int64_t y = 0; y < height; y++) blur_along_columns(out + y * width, rows, weight, y, height, width);
}

/* ---- ridges ---- */

static bool is_ridge(const float *soft, int64_t y, int64_t x, int64_t height, int64_t width)
{
    static const int64_t lines[4][2] = {{0, 1}, {1, 0}, {1, 1}, {1, -1}}; /* down, right */
    const float value = soft[y * width + x];
    for (int i = 0; i < 4; i++) {
        bool greatest = true;
        for (int64_t side = -1; side <= 1; side += 2) {
            const int64_t v = y + side * lines[i][0], u = x + side * lines[i][1];
            if (v >= 0 && v < height && u >= 0 && u < width) greatest = greatest && soft[v * width + u] <= value;
        }
        if (greatest) return true;
    }
    return false;
}

/* ---- the pen: the blur in bytes, which is exact in whole numbers ---- */

/* In 256ths; what rounding leaves over is carried outwards in, so that they sum to 256. */
static const int32_t byte_weights[2 * BYTE_REACH + 1] = {0,  1,  3,  4,  9, 14, 20, 28, 32, 34,
                                                         32, 28, 20, 14, 9, 4,  3,  1,  0};

/* map = 255 where the blurred map is above STROKE_MIN, else 0; `rows` is room for height * width numbers. */
static void draw_strokes(uint8_t *map, int32_t *rows, int64_t height, int64_t width)
{
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            int32_t sum = 0;
            for (int i = -BYTE_REACH; i <= BYTE_REACH; i++)
                sum += byte_weights[BYTE_REACH + i] * map[y * width + mirrored(x + i, width)];
            rows[y * width + x] = sum;
        }
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            int32_t sum = 1 << 15;
            for (int i = -BYTE_REACH; i <= BYTE_REACH; i++)
                sum += byte_weights[BYTE_REACH + i] * rows[mirrored(y + i, height) * width + x];
            map[y * width + x] = sum >> 16 > STROKE_MIN ? 255 : 0;
        }
}

dt_status sketch_of_soft_edge(ctx *c, uint8_t *map, const uint8_t *soft, int64_t height, int64_t width)
{
    const arena_place mark = arena_mark(&c->scratch);
    const size_t pixels = (size_t)(height * width);
    float *blurred = arena_alloc(&c->scratch, pixels * sizeof *blurred, &c->error);
    float *line = arena_alloc(&c->scratch, (size_t)(width + 2 * FLOAT_REACH) * sizeof *line, &c->error);
    union {
        float *floats;
        int32_t *sums;
    } rows = {arena_alloc(&c->scratch, pixels * sizeof(float), &c->error)};
    if (!ctx_failed(c)) {
        blur_to_floats(blurred, rows.floats, line, soft, height, width);
        for (int64_t y = 0; y < height; y++)
            for (int64_t x = 0; x < width; x++)
                map[y * width + x] =
                    blurred[y * width + x] > RIDGE_MIN && is_ridge(blurred, y, x, height, width) ? 255 : 0;
        draw_strokes(map, rows.sums, height, width);
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}

dt_status sketch_annotate(ctx *c, const void *net, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width)
{
    if (hed_annotate(c, net, map, rgb, height, width) != DT_OK) return c->error.status;
    return sketch_of_soft_edge(c, map, map, height, width);
}
