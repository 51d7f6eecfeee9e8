#include "model/squeezenet.h"

#include <stdio.h>
#include <string.h>

#include "io/resample.h"
#include "io/safetensors.h"
#include "op/conv.h"
#include "op/op.h"

enum { BATCH = 4 }; /* pictures at a time: their activations take about 60 MB */

static const int64_t squeeze_width[SQUEEZENET_FIRES] = {16, 16, 32, 32, 48, 48, 64, 64};

/* ---- weights ---- */

static void format_shape(char text[96], int dim_count, const int64_t dims[])
{
    int used = snprintf(text, 96, "[");
    for (int i = 0; i < dim_count && used < 72; i++)
        used += snprintf(text + used, 96 - (size_t)used, i ? ",%lld" : "%lld", (long long)dims[i]);
    snprintf(text + used, 96 - (size_t)used, "]");
}

/* The values of a tensor that must have this shape, in scratch; NULL after a failure. */
static float *read_tensor(ctx *c, const tensor_file *f, const char *name, int dim_count, const int64_t dims[])
{
    char expected[96], found[96];
    format_shape(expected, dim_count, dims);
    const tensor_entry *e = tensor_file_find(f, name);
    if (!e) {
        error_set(&c->error, DT_ERR_SHAPE, "%s: tensor %s of shape %s expected (SqueezeNet v1.1), found none", f->path,
                  name, expected);
        return NULL;
    }
    if (e->dim_count != dim_count || memcmp(e->dims, dims, (size_t)dim_count * sizeof dims[0]) != 0) {
        format_shape(found, e->dim_count, e->dims);
        error_set(&c->error, DT_ERR_SHAPE, "%s: tensor %s: shape %s expected (SqueezeNet v1.1), found %s", f->path,
                  name, expected, found);
        return NULL;
    }
    float *values = arena_alloc(&c->scratch, (size_t)e->count * sizeof(float), &c->error);
    if (values) tensor_read_f32(values, e, &c->error);
    return ctx_failed(c) ? NULL : values;
}

/* w[O,H,W,I] from a file's [O,I,H,W] */
static void channels_last(real *w, const float *values, int64_t outputs, int64_t inputs, int64_t positions)
{
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t p = 0; p < positions; p++)
            for (int64_t i = 0; i < inputs; i++)
                w[(o * positions + p) * inputs + i] = values[(o * inputs + i) * positions + p];
}

static void load_conv(ctx *c, squeezenet_conv *conv, const tensor_file *f, const char *name, int64_t outputs,
                      int64_t inputs, int64_t side)
{
    if (ctx_failed(c)) return;
    char weight_name[64], bias_name[64];
    snprintf(weight_name, sizeof weight_name, "%s.weight", name);
    snprintf(bias_name, sizeof bias_name, "%s.bias", name);
    size_t mark = arena_mark(&c->scratch);
    const float *weight = read_tensor(c, f, weight_name, 4, (int64_t[]){outputs, inputs, side, side});
    const float *bias = weight ? read_tensor(c, f, bias_name, 1, &outputs) : NULL;
    conv->weight = tensor_new(c, &c->model, 4, (int64_t[]){outputs, side, side, inputs});
    conv->bias = tensor_new(c, &c->model, 1, &outputs);
    if (ctx_failed(c)) return;
    channels_last(conv->weight->data, weight, outputs, inputs, side * side);
    for (int64_t o = 0; o < outputs; o++) conv->bias->data[o] = bias[o];
    arena_release(&c->scratch, mark);
}

static void load_fire(ctx *c, squeezenet_fire *fire, const tensor_file *f, int number, int64_t inputs, int64_t width)
{
    char name[48];
    snprintf(name, sizeof name, "fire%d.squeeze1x1", number);
    load_conv(c, &fire->squeeze, f, name, width, inputs, 1);
    snprintf(name, sizeof name, "fire%d.expand1x1", number);
    load_conv(c, &fire->expand1, f, name, 4 * width, width, 1);
    snprintf(name, sizeof name, "fire%d.expand3x3", number);
    load_conv(c, &fire->expand3, f, name, 4 * width, width, 3);
}

dt_status squeezenet_open(ctx *c, squeezenet *net, const char *path)
{
    tensor_file f;
    if (tensor_file_open(&f, path, &c->error) == DT_OK) {
        load_conv(c, &net->conv1, &f, "conv1", 64, 3, 3);
        for (int i = 0; i < SQUEEZENET_FIRES; i++)
            load_fire(c, &net->fire[i], &f, i + 2, i ? 8 * squeeze_width[i - 1] : 64, squeeze_width[i]);
    }
    tensor_file_close(&f);
    return c->error.status;
}

/* ---- features ---- */

/* x[227,227,3] = the picture's blue, green, red, each minus its mean over ImageNet */
static void prepare(ctx *c, real *x, const uint8_t *rgb, int64_t side)
{
    static const real mean[3] = {104, 117, 123};
    const image given = {.width = side, .height = side, .rgb = (uint8_t *)rgb};
    image resized = {0};
    if (side != SQUEEZENET_SIDE)
        resample_image(&resized, &given, SQUEEZENET_SIDE, SQUEEZENET_SIDE, RESAMPLE_BICUBIC, &c->error);
    const uint8_t *pixel = resized.rgb ? resized.rgb : rgb;
    for (int64_t i = 0; i < 3 * SQUEEZENET_SIDE * SQUEEZENET_SIDE && !ctx_failed(c); i += 3)
        for (int64_t k = 0; k < 3; k++) x[i + k] = (real)pixel[i + 2 - k] - mean[k];
    image_close(&resized);
}

static tensor *convolve(ctx *c, const squeezenet_conv *k, tensor *x, int64_t stride, int64_t pad)
{
    return op_relu(c, op_conv2d(c, x, k->weight, k->bias, stride, pad));
}

static tensor *fire_forward(ctx *c, const squeezenet_fire *fire, tensor *x)
{
    tensor *squeezed = convolve(c, &fire->squeeze, x, 1, 0);
    tensor *narrow = convolve(c, &fire->expand1, squeezed, 1, 0);
    tensor *wide = convolve(c, &fire->expand3, squeezed, 1, 1);
    return op_concat(c, narrow, wide);
}

/* [N,512] of x[N,227,227,3] */
static tensor *forward(ctx *c, const squeezenet *net, tensor *x)
{
    tensor *h = convolve(c, &net->conv1, x, 2, 0);
    for (int i = 0; i < SQUEEZENET_FIRES; i++) {
        bool pooled = i == 0 || i == 2 || i == 4; /* before fire2, fire4 and fire6 */
        h = fire_forward(c, &net->fire[i], pooled ? op_max_pool(c, h, 3, 2) : h);
    }
    if (ctx_failed(c)) return NULL;
    return op_mean_tokens(c, op_reshape(c, h, 3, (int64_t[]){h->dim[0], h->dim[1] * h->dim[2], h->dim[3]}));
}

static void run_batch(ctx *c, float *features, const squeezenet *net, const uint8_t *rgb, int64_t n, int64_t side)
{
    const int64_t pixels = SQUEEZENET_SIDE * SQUEEZENET_SIDE * 3;
    size_t mark = arena_mark(&c->step);
    tensor *x = tensor_new(c, &c->step, 4, (int64_t[]){n, SQUEEZENET_SIDE, SQUEEZENET_SIDE, 3});
    for (int64_t i = 0; x && i < n; i++) prepare(c, x->data + i * pixels, rgb + i * side * side * 3, side);
    const tensor *y = forward(c, net, x);
    if (y) memcpy(features, y->data, (size_t)(n * SQUEEZENET_FEATURES) * sizeof(float));
    arena_release(&c->step, mark);
}

/* No weight here wants a gradient, so the ops leave no records, whether the tape is on or not. */
dt_status squeezenet_features(ctx *c, float *features, const squeezenet *net, const uint8_t *rgb, int64_t n,
                              int64_t side)
{
    const int gemm_flags = c->gemm_flags;
    c->gemm_flags = 0;
    for (int64_t i = 0; i < n && !ctx_failed(c); i += BATCH)
        run_batch(c, features + i * SQUEEZENET_FEATURES, net, rgb + i * side * side * 3, n - i < BATCH ? n - i : BATCH,
                  side);
    c->gemm_flags = gemm_flags;
    return c->error.status;
}
