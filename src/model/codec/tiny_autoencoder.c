#include "model/codec/tiny_autoencoder.h"

#include <stdio.h>
#include <string.h>

#include "op/conv.h"
#include "op/op.h"

enum { POOL_GROUPS = 4, POOL_FACTOR = 4, WIDTH_MAX = 1 << 12 };
#define POOL_EPSILON 1e-5

/* ---- weights: the number in a name is the place in the sequence of layers ---- */

static void read_conv(const conv_file *f, conv_weights *k, int place, int64_t outputs, int64_t inputs, bool bias)
{
    char name[32];
    snprintf(name, sizeof name, "%d", place);
    conv_file_read(f, k, name, outputs, inputs, 3, bias);
}

static void read_block(const conv_file *f, tiny_block *b, int place, int64_t width)
{
    char name[48];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%d.conv.%d", place, 2 * i);
        conv_file_read(f, &b->conv[i], name, width, width, 3, true);
    }
    snprintf(name, sizeof name, "%d.pool.0.weight", place);
    if (!tensor_file_find(f->file, name)) return;
    snprintf(name, sizeof name, "%d.pool.0", place);
    conv_file_read(f, &b->pool_in, name, POOL_FACTOR * width, width, 1, false);
    snprintf(name, sizeof name, "%d.pool.1.weight", place);
    b->pool_scale = conv_file_vector(f, name, POOL_FACTOR * width);
    snprintf(name, sizeof name, "%d.pool.1.bias", place);
    b->pool_shift = conv_file_vector(f, name, POOL_FACTOR * width);
    snprintf(name, sizeof name, "%d.pool.3", place);
    conv_file_read(f, &b->pool_out, name, width, POOL_FACTOR * width, 1, false);
}

static void read_encoder(const conv_file *f, tiny_half *h, const tiny_autoencoder *k)
{
    int place = 0;
    read_conv(f, &h->conv_in, place++, k->width, 3, true);
    read_block(f, &h->lone, place++, k->width);
    for (int stage = 0; stage < TINY_STAGES; stage++) {
        read_conv(f, &h->resample[stage], place++, k->width, k->width, false);
        for (int i = 0; i < TINY_BLOCKS; i++) read_block(f, &h->block[stage][i], place++, k->width);
    }
    read_conv(f, &h->conv_out, place, k->latents, k->width, true);
}

/* Layers without weights count: the clamp (0), the ReLU (2) and each upsampling. */
static void read_decoder(const conv_file *f, tiny_half *h, const tiny_autoencoder *k)
{
    int place = 3;
    read_conv(f, &h->conv_in, 1, k->width, k->latents, true);
    for (int stage = 0; stage < TINY_STAGES; stage++) {
        for (int i = 0; i < TINY_BLOCKS; i++) read_block(f, &h->block[stage][i], place++, k->width);
        read_conv(f, &h->resample[stage], ++place, k->width, k->width, false);
        place++;
    }
    read_block(f, &h->lone, place++, k->width);
    read_conv(f, &h->conv_out, place, 3, k->width, true);
}

bool tiny_autoencoder_fits(const tensor_file *encoder, const tensor_file *decoder)
{
    return tensor_file_find(encoder, "14.weight") && tensor_file_find(encoder, "1.conv.0.weight") &&
           tensor_file_find(decoder, "19.weight") && tensor_file_find(decoder, "3.conv.0.weight");
}

static dt_status read_half(ctx *c, tiny_half *h, const tensor_file *file, const tiny_autoencoder *k,
                           void (*read)(const conv_file *, tiny_half *, const tiny_autoencoder *))
{
    const arena_place mark = arena_mark(&c->scratch);
    conv_file f = {.c = c, .file = file, .net = "tiny autoencoder"};
    f.used = arena_alloc_zeroed(&c->scratch, file->count * sizeof *f.used, &c->error);
    if (ctx_failed(c)) return c->error.status;
    read(&f, h, k);
    for (size_t i = 0; i < file->count && !ctx_failed(c); i++)
        if (!f.used[i])
            error_set(&c->error, DT_ERR_SHAPE, "%s: tensor %s is not one of this autoencoder's", file->path,
                      file->entries[i].name);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

static dt_status read_width(int64_t *width, const tensor_file *f, const char *name, dt_error *err)
{
    const tensor_entry *e = tensor_file_find(f, name);
    if (!e || e->dim_count != 4 || e->dims[0] < 1 || e->dims[0] > WIDTH_MAX)
        return error_set(err, DT_ERR_SHAPE, "%s: tensor %s of 1 to %d channels expected", f->path, name, WIDTH_MAX);
    *width = e->dims[0];
    return DT_OK;
}

dt_status tiny_autoencoder_open(ctx *c, tiny_autoencoder *k, const tensor_file *encoder, const tensor_file *decoder)
{
    *k = (tiny_autoencoder){0};
    if (ctx_failed(c) || read_width(&k->width, encoder, "0.weight", &c->error) != DT_OK ||
        read_width(&k->latents, encoder, "14.weight", &c->error) != DT_OK)
        return c->error.status;
    if (read_half(c, &k->encoder, encoder, k, read_encoder) == DT_OK)
        read_half(c, &k->decoder, decoder, k, read_decoder);
    return c->error.status;
}

/* ---- the network ---- */

static tensor *convolve(ctx *c, const conv_weights *k, tensor *x, int64_t stride)
{
    return op_conv2d(c, x, k->weight, k->bias, stride, k->weight->dim[1] / 2);
}

static void block_forward(ctx *c, const void *arg, tensor *const in[], tensor *out[])
{
    const tiny_block *b = arg;
    tensor *x = in[0];
    if (b->pool_in.weight) {
        tensor *h = convolve(c, &b->pool_in, x, 1);
        h = op_relu(c, op_group_norm(c, h, b->pool_scale, b->pool_shift, POOL_GROUPS, (real)POOL_EPSILON));
        x = op_add(c, x, convolve(c, &b->pool_out, h, 1));
    }
    tensor *h = x;
    for (int i = 0; i < 3; i++) {
        h = convolve(c, &b->conv[i], h, 1);
        if (i < 2) h = op_relu(c, h);
    }
    out[0] = op_relu(c, op_add(c, h, x));
}

static tensor *run(ctx *c, tape_function *f, const void *weights, tensor *x)
{
    tensor *y;
    tape_inference(c, f, weights, &x, 1, &y, 1);
    return y;
}

static void upsample_forward(ctx *c, const void *arg, tensor *const in[], tensor *out[])
{
    out[0] = convolve(c, arg, op_upsample(c, in[0]), 1);
}

/* y = x factor + offset, in place: the pictures outside are in [-1,1], the networks' in [0,1]. */
static tensor *shift_range(ctx *c, tensor *x, real factor, real offset)
{
    const arena_place mark = arena_mark(&c->scratch);
    const int64_t count = x ? tensor_count(x) : 0;
    real *values = x ? numbers_read(c, &c->scratch, x->data, count) : NULL;
    for (int64_t i = 0; values && i < count; i++) values[i] = values[i] * factor + offset;
    if (values) numbers_send(c, x->data, values, count);
    arena_release(&c->scratch, mark);
    return x;
}

tensor *tiny_autoencoder_encode(ctx *c, const tiny_autoencoder *k, tensor *x)
{
    const tiny_half *h = &k->encoder;
    tensor *unit = ctx_failed(c) ? NULL : tensor_new(c, &c->step, 4, x->dim);
    if (!unit) return NULL;
    c->engine.memory.copy(unit->data, x->data, (size_t)tensor_count(x) * sizeof(real));
    x = convolve(c, &h->conv_in, shift_range(c, unit, (real)0.5, (real)0.5), 1);
    x = run(c, block_forward, &h->lone, x);
    for (int stage = 0; stage < TINY_STAGES; stage++) {
        x = convolve(c, &h->resample[stage], x, 2);
        for (int i = 0; i < TINY_BLOCKS; i++) x = run(c, block_forward, &h->block[stage][i], x);
    }
    return convolve(c, &h->conv_out, x, 1);
}

tensor *tiny_autoencoder_decode(ctx *c, const tiny_autoencoder *k, tensor *z)
{
    const tiny_half *h = &k->decoder;
    tensor *x = op_relu(c, convolve(c, &h->conv_in, op_soft_clamp(c, z, 3), 1));
    for (int stage = 0; stage < TINY_STAGES; stage++) {
        for (int i = 0; i < TINY_BLOCKS; i++) x = run(c, block_forward, &h->block[stage][i], x);
        x = run(c, upsample_forward, &h->resample[stage], x);
    }
    x = run(c, block_forward, &h->lone, x);
    return shift_range(c, convolve(c, &h->conv_out, x, 1), 2, -1);
}
