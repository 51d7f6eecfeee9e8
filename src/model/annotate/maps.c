#include "model/annotate/maps.h"

#include <math.h>

#include "op/conv.h"
#include "op/op.h"

tensor *maps_picture(ctx *c, const uint8_t *rgb, int64_t height, int64_t width, const picture_scaling *how)
{
    if (ctx_failed(c)) return NULL;
    tensor *x = tensor_new(c, &c->step, 4, (int64_t[]){1, height, width, 3});
    const arena_place mark = arena_mark(&c->scratch);
    real *values = x ? numbers_prepare(c, &c->scratch, x->data, tensor_count(x)) : NULL;
    for (int64_t i = 0; values && i < height * width; i++)
        for (int k = 0; k < 3; k++)
            values[3 * i + k] = how->scale[k] * ((float)rgb[3 * i + how->from[k]] - how->offset[k]);
    if (values) numbers_send(c, x->data, values, tensor_count(x));
    arena_release(&c->scratch, mark);
    return ctx_failed(c) ? NULL : x;
}

tensor *maps_halve(ctx *c, tensor *x)
{
    for (int dim = 1; dim <= 2 && !ctx_failed(c); dim++)
        if (x->dim[dim] % 2) x = op_slice(c, x, dim, 0, x->dim[dim] - 1);
    return op_max_pool(c, x, 2, 2, 0);
}

const float *maps_fetch(ctx *c, const tensor *x)
{
    if (ctx_failed(c)) return NULL;
    float *values = arena_alloc(&c->step, (size_t)tensor_count(x) * sizeof *values, &c->error);
    return values && numbers_fetch(c, values, x->data, tensor_count(x)) ? values : NULL;
}

/* Where between two neighbours an output lies. */
typedef struct between {
    int64_t low, high;
    float fraction;
} between;

static between place_of(int64_t index, int64_t in_size, int64_t out_size)
{
    const double place = ((double)index + 0.5) * ((double)in_size / (double)out_size) - 0.5;
    const int64_t low = (int64_t)floor(place);
    if (low < 0) return (between){0, 0, 0};
    if (low >= in_size - 1) return (between){in_size - 1, in_size - 1, 0};
    return (between){low, low + 1, (float)(place - (double)low)};
}

static float mix(float a, float b, float fraction)
{
    return fmaf(b - a, fraction, a);
}

void maps_enlarge(float *out, const float *in, int64_t in_height, int64_t in_width, int64_t height, int64_t width)
{
    for (int64_t y = 0; y < height; y++) {
        const between v = place_of(y, in_height, height);
        const float *upper = in + v.low * in_width, *lower = in + v.high * in_width;
        for (int64_t x = 0; x < width; x++) {
            const between h = place_of(x, in_width, width);
            const float top = mix(upper[h.low], upper[h.high], h.fraction);
            out[y * width + x] = mix(top, mix(lower[h.low], lower[h.high], h.fraction), v.fraction);
        }
    }
}
