#include "model/annotate/bilinear.h"

#include <math.h>
#include <string.h>

#include "op/conv.h"

/* ---- images of real numbers ---- */

bilinear_tap bilinear_tap_of(int64_t to, int64_t size, int64_t old, bilinear_way way)
{
    float place;
    if (way == BILINEAR_CORNERS) {
        place = size > 1 ? (float)(old - 1) / (float)(size - 1) * (float)to : 0;
    } else {
        place = (float)old / (float)size * ((float)to + 0.5F) - 0.5F;
        if (place < 0) place = 0;
    }
    int64_t at = (int64_t)place;
    if (at > old - 1) at = old - 1;
    const float after = place - (float)at;
    return (bilinear_tap){{at, at < old - 1 ? at + 1 : at}, {1 - after, after}};
}

typedef void fill_row(real *row, int64_t to, int64_t size, int64_t old, bilinear_way way);

static void fill_bilinear(real *row, int64_t to, int64_t size, int64_t old, bilinear_way way)
{
    const bilinear_tap tap = bilinear_tap_of(to, size, old, way);
    for (int k = 0; k < 2; k++) row[tap.at[k]] += (real)tap.weight[k];
}

static void fill_cell(real *row, int64_t to, int64_t size, int64_t old, bilinear_way way)
{
    const int64_t first = to * old / size, end = ((to + 1) * old + size - 1) / size;
    (void)way;
    for (int64_t i = first; i < end; i++) row[i] = 1 / (real)(end - first);
}

/* [size,old]: how new positions of a side are made of old ones. */
static tensor *mixture(ctx *c, int64_t size, int64_t old, fill_row *fill, bilinear_way way)
{
    tensor *t = tensor_new(c, &c->step, 2, (int64_t[]){size, old});
    const arena_place mark = arena_mark(&c->scratch);
    real *rows = t ? numbers_prepare(c, &c->scratch, t->data, size * old) : NULL;
    if (rows) {
        memset(rows, 0, (size_t)(size * old) * sizeof *rows);
        for (int64_t to = 0; to < size; to++) fill(rows + to * old, to, size, old, way);
        numbers_send(c, t->data, rows, size * old);
    }
    arena_release(&c->scratch, mark);
    return t;
}

static tensor *mix(ctx *c, tensor *x, int64_t height, int64_t width, fill_row *fill, bilinear_way way)
{
    if (ctx_failed(c)) return NULL;
    const tensor *rows = mixture(c, height, x->dim[1], fill, way), *columns = mixture(c, width, x->dim[2], fill, way);
    return op_mix_pixels(c, x, rows, columns);
}

tensor *bilinear_resize(ctx *c, tensor *x, int64_t height, int64_t width, bilinear_way way)
{
    return mix(c, x, height, width, fill_bilinear, way);
}

tensor *bilinear_pool(ctx *c, tensor *x, int64_t cells)
{
    return mix(c, x, cells, cells, fill_cell, BILINEAR_MIDDLES);
}

/* ---- bytes ----
 *
 * OpenCV's sums of bytes: weights of 11 fractional bits, rounded; along a row exact, then down a column with 4 and later 16 bits
 * dropped. Beyond the first and last column the nearest one has all the weight, beyond the first and last row it has
 * both weights, which is not the same after dropping. */

enum { ONE = 2048 };

typedef struct byte_tap {
    int64_t at[2];
    int32_t weight[2];
} byte_tap;

static int64_t within(int64_t at, int64_t size)
{
    return at < 0 ? 0 : at < size ? at : size - 1;
}

static byte_tap byte_tap_of(int64_t to, int64_t size, int64_t old, bool column)
{
    float place = (float)(((double)to + 0.5) * ((double)old / (double)size) - 0.5), whole = floorf(place);
    const int64_t at = (int64_t)whole;
    float after = place - whole;
    if (column && (at < 0 || at >= old - 1)) after = 0;
    return (byte_tap){{within(at, old), within(at + 1, old)},
                      {(int32_t)rintf((1 - after) * ONE), (int32_t)rintf(after * ONE)}};
}

static void spread_row(int32_t *out, const uint8_t *row, const byte_tap *columns, int64_t width)
{
    for (int64_t x = 0; x < width; x++)
        for (int k = 0; k < 3; k++)
            out[3 * x + k] = row[3 * columns[x].at[0] + k] * columns[x].weight[0] +
                             row[3 * columns[x].at[1] + k] * columns[x].weight[1];
}

dt_status bilinear_bytes(ctx *c, uint8_t *out, int64_t height, int64_t width, const uint8_t *in, int64_t old_height,
                         int64_t old_width)
{
    const arena_place mark = arena_mark(&c->scratch);
    byte_tap *columns = arena_alloc(&c->scratch, (size_t)width * sizeof *columns, &c->error);
    int32_t *line = arena_alloc(&c->scratch, (size_t)(6 * width) * sizeof *line, &c->error);
    if (ctx_failed(c)) return c->error.status;
    for (int64_t x = 0; x < width; x++) columns[x] = byte_tap_of(x, width, old_width, true);
    for (int64_t y = 0; y < height; y++) {
        const byte_tap tap = byte_tap_of(y, height, old_height, false);
        for (int k = 0; k < 2; k++) spread_row(line + k * 3 * width, in + tap.at[k] * old_width * 3, columns, width);
        for (int64_t i = 0; i < 3 * width; i++) {
            const int32_t above = (tap.weight[0] * (line[i] >> 4)) >> 16;
            const int32_t below = (tap.weight[1] * (line[3 * width + i] >> 4)) >> 16;
            out[y * 3 * width + i] = (uint8_t)((above + below + 2) >> 2);
        }
    }
    arena_release(&c->scratch, mark);
    return DT_OK;
}
