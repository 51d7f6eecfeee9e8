#include "model/feature/squeezenet.h"

#include <stdio.h>
#include <string.h>

#include "container/tensor_open.h"
#include "image/resample.h"
#include "op/conv.h"
#include "op/op.h"

enum { BATCH = 4 }; /* pictures at a time: their activations take about 60 MB */

static const int64_t squeeze_width[SQUEEZENET_FIRES] = {16, 16, 32, 32, 48, 48, 64, 64};

/* ---- weights ---- */

static void read_fire(const conv_file *f, squeezenet_fire *fire, int number, int64_t inputs, int64_t width)
{
    char name[48];
    snprintf(name, sizeof name, "fire%d.squeeze1x1", number);
    conv_file_read(f, &fire->squeeze, name, width, inputs, 1, true);
    snprintf(name, sizeof name, "fire%d.expand1x1", number);
    conv_file_read(f, &fire->expand1, name, 4 * width, width, 1, true);
    snprintf(name, sizeof name, "fire%d.expand3x3", number);
    conv_file_read(f, &fire->expand3, name, 4 * width, width, 3, true);
}

dt_status squeezenet_open(ctx *c, squeezenet *net, const char *path)
{
    tensor_file file;
    const conv_file f = {.c = c, .file = &file, .net = "SqueezeNet v1.1"};
    if (tensor_file_open(&file, path, &c->error) == DT_OK) {
        conv_file_read(&f, &net->conv1, "conv1", 64, 3, 3, true);
        for (int i = 0; i < SQUEEZENET_FIRES; i++)
            read_fire(&f, &net->fire[i], i + 2, i ? 8 * squeeze_width[i - 1] : 64, squeeze_width[i]);
    }
    tensor_file_close(&file);
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

static tensor *convolve(ctx *c, const conv_weights *k, tensor *x, int64_t stride, int64_t pad)
{
    return op_relu(c, op_conv2d(c, x, k->weight, k->bias, stride, pad));
}

static tensor *fire_forward(ctx *c, const squeezenet_fire *fire, tensor *x)
{
    tensor *squeezed = convolve(c, &fire->squeeze, x, 1, 0);
    tensor *narrow = convolve(c, &fire->expand1, squeezed, 1, 0);
    tensor *wide = convolve(c, &fire->expand3, squeezed, 1, 1);
    return op_concat(c, narrow, wide, 3);
}

/* [N,512] of x[N,227,227,3] */
static tensor *forward(ctx *c, const squeezenet *net, tensor *x)
{
    tensor *h = convolve(c, &net->conv1, x, 2, 0);
    for (int i = 0; i < SQUEEZENET_FIRES; i++) {
        bool pooled = i == 0 || i == 2 || i == 4; /* before fire2, fire4 and fire6 */
        h = fire_forward(c, &net->fire[i], pooled ? op_max_pool(c, h, 3, 2, 0) : h);
    }
    if (ctx_failed(c)) return NULL;
    return op_mean_tokens(c, op_reshape(c, h, 3, (int64_t[]){h->dim[0], h->dim[1] * h->dim[2], h->dim[3]}));
}

static void run_batch(ctx *c, float *features, const squeezenet *net, const uint8_t *rgb, int64_t n, int64_t side)
{
    const int64_t pixels = SQUEEZENET_SIDE * SQUEEZENET_SIDE * 3;
    const arena_place mark = arena_mark(&c->step);
    tensor *x = tensor_new(c, &c->step, 4, (int64_t[]){n, SQUEEZENET_SIDE, SQUEEZENET_SIDE, 3});
    real *pictures = x ? numbers_prepare(c, &c->step, x->data, n * pixels) : NULL;
    for (int64_t i = 0; pictures && i < n; i++) prepare(c, pictures + i * pixels, rgb + i * side * side * 3, side);
    if (pictures) numbers_send(c, x->data, pictures, n * pixels);
    const tensor *y = forward(c, net, x);
    if (y) numbers_fetch(c, features, y->data, n * SQUEEZENET_FEATURES);
    arena_release(&c->step, mark);
}

/* No weight here wants a gradient, so the ops leave no records, whether the tape is on or not. */
dt_status squeezenet_features(ctx *c, float *features, const squeezenet *net, const uint8_t *rgb, int64_t n,
                              int64_t side)
{
    const int precision = ctx_set_precision(c, 0);
    for (int64_t i = 0; i < n && !ctx_failed(c); i += BATCH)
        run_batch(c, features + i * SQUEEZENET_FEATURES, net, rgb + i * side * side * 3, n - i < BATCH ? n - i : BATCH,
                  side);
    ctx_set_precision(c, precision);
    return c->error.status;
}
