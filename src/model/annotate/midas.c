#include "model/annotate/midas.h"

#include <math.h>
#include <stdio.h>

#include "base/finite.h"
#include "model/annotate/bilinear.h"
#include "model/annotate/maps.h"
#include "model/annotate/part.h"
#include "op/conv.h"
#include "op/op.h"

enum { STEM = 64, FUSED = 256, LAST = 32, GRID = 24, WIDTH = 768, NAME = 80, FULL = 112 };

static const int bottlenecks[MIDAS_STAGES] = {3, 4, 9};
static const int tapped_block[2] = {8, 11};

#define BACKBONE     "pretrained.model.patch_embed.backbone."
#define NORM_EPSILON ((real)1e-5)

/* ---- weights ---- */

/* Reads a convolution without a bias and standardises it: the weights of each output get mean 0 and variance 1, with 1e-8 added to
 * the variance. In double, rounded once. */
static void read_standardised(const conv_file *f, conv_weights *k, const char *name, int64_t outputs, int64_t inputs,
                              int64_t side)
{
    ctx *c = f->c;
    const int64_t each = inputs * side * side;
    conv_file_read(f, k, name, outputs, inputs, side, false);
    const arena_place mark = arena_mark(&c->scratch);
    real *weight = ctx_failed(c) ? NULL : numbers_read(c, &c->scratch, k->weight->data, outputs * each);
    for (int64_t o = 0; weight && o < outputs; o++) {
        real *w = weight + o * each;
        double mean = 0, square = 0;
        for (int64_t i = 0; i < each; i++) mean += (double)w[i] / (double)each;
        for (int64_t i = 0; i < each; i++) square += ((double)w[i] - mean) * ((double)w[i] - mean) / (double)each;
        for (int64_t i = 0; i < each; i++) w[i] = (real)(((double)w[i] - mean) / sqrt(square + 1e-8));
    }
    if (weight) numbers_send(c, k->weight->data, weight, outputs * each);
    arena_release(&c->scratch, mark);
}

static void read_bottleneck(const conv_file *f, midas_bottleneck *b, const char *name, int64_t inputs, int64_t inner,
                            int64_t outputs)
{
    const int64_t from[3] = {inputs, inner, inner}, to[3] = {inner, inner, outputs}, side[3] = {1, 3, 1};
    char full[FULL];
    for (int i = 0; i < 3; i++) {
        snprintf(full, sizeof full, "%s.conv%d", name, i + 1);
        read_standardised(f, &b->conv[i], full, to[i], from[i], side[i]);
        snprintf(full, sizeof full, "%s.norm%d", name, i + 1);
        conv_file_read_norm(f, &b->norm[i], full, to[i]);
    }
}

/* Returns what the ResNet's last stage puts out; `tap` gets the widths of the first two stages. */
static int64_t read_resnet(const conv_file *f, midas *net, int64_t tap[MIDAS_TAPS])
{
    const conv_file_steps thirty_two = {MIDAS_GROUPS, STEM};
    int64_t width = conv_file_width(f, BACKBONE "stem.conv.weight", 0, thirty_two);
    midas_bottleneck *b = net->bottleneck;
    char name[NAME], full[FULL];
    read_standardised(f, &net->stem, BACKBONE "stem.conv", width, 3, 7);
    conv_file_read_norm(f, &net->stem_norm, BACKBONE "stem.norm", width);
    for (int s = 0; s < MIDAS_STAGES; s++) {
        const conv_file_steps published = {MIDAS_GROUPS, FUSED << s}, quarter = {MIDAS_GROUPS, STEM << s};
        snprintf(name, sizeof name, BACKBONE "stages.%d.blocks.0", s);
        snprintf(full, sizeof full, "%s.conv3.weight", name);
        const int64_t outputs = conv_file_width(f, full, 0, published), inner = conv_file_width(f, full, 1, quarter);
        snprintf(full, sizeof full, "%s.downsample.conv", name);
        read_standardised(f, &b->shortcut, full, outputs, width, 1);
        snprintf(full, sizeof full, "%s.downsample.norm", name);
        conv_file_read_norm(f, &b->shortcut_norm, full, outputs);
        for (int i = 0; i < bottlenecks[s]; i++, b++, width = outputs) {
            snprintf(name, sizeof name, BACKBONE "stages.%d.blocks.%d", s, i);
            read_bottleneck(f, b, name, width, inner, outputs);
            b->stride = s > 0 && i == 0 ? 2 : 1;
        }
        if (s < 2) tap[s] = outputs;
    }
    return width;
}

static void read_vit(const conv_file *f, midas *net, int64_t inputs, int64_t width)
{
    const char *const position = "pretrained.model.pos_embed";
    const int64_t tokens = conv_file_width(f, position, 1, (conv_file_steps){1, GRID * GRID + 1});
    const int64_t side = (int64_t)lround(sqrt((double)(tokens - 1)));
    conv_file_read(f, &net->embedding, "pretrained.model.patch_embed.proj", width, inputs, 1, true);
    net->class_token = conv_file_tensor(f, "pretrained.model.cls_token", 3, (int64_t[]){1, 1, width});
    net->position = conv_file_tensor(f, position, 3, (int64_t[]){1, side < 1 ? 2 : side * side + 1, width});
    for (int i = 0; i < MIDAS_BLOCKS; i++) {
        char name[NAME];
        snprintf(name, sizeof name, "pretrained.model.blocks.%d", i);
        attention_block_read(f, &net->block[i], name, width);
    }
    for (int i = 0; i < 2; i++) {
        char name[NAME];
        snprintf(name, sizeof name, "pretrained.act_postprocess%d.0.project.0", i + 3);
        conv_file_read(f, &net->readout[i], name, width, 2 * width, 1, true);
        snprintf(name, sizeof name, "pretrained.act_postprocess%d.3", i + 3);
        conv_file_read(f, &net->widen[i], name, width, width, 1, true);
    }
    conv_file_read(f, &net->halve, "pretrained.act_postprocess4.4", width, width, 3, true);
}

static void read_unit(const conv_file *f, conv_weights unit[2], int fusion, int number, int64_t width)
{
    for (int i = 0; i < 2; i++) {
        char name[NAME];
        snprintf(name, sizeof name, "scratch.refinenet%d.resConfUnit%d.conv%d", fusion, number, i + 1);
        conv_file_read(f, &unit[i], name, width, width, 3, true);
    }
}

static void read_decoder(const conv_file *f, midas *net, const int64_t tap[MIDAS_TAPS])
{
    const int64_t width = conv_file_width(f, "scratch.layer1_rn.weight", 0, (conv_file_steps){2, FUSED});
    const int64_t last = conv_file_width(f, "scratch.output_conv.2.weight", 0, (conv_file_steps){1, LAST});
    for (int i = 0; i < MIDAS_TAPS; i++) {
        char name[NAME];
        snprintf(name, sizeof name, "scratch.layer%d_rn", i + 1);
        conv_file_read(f, &net->rn[i], name, width, tap[i], 3, false);
        if (i < MIDAS_TAPS - 1) read_unit(f, net->fusion[i].skip, i + 1, 1, width);
        read_unit(f, net->fusion[i].own, i + 1, 2, width);
        snprintf(name, sizeof name, "scratch.refinenet%d.out_conv", i + 1);
        conv_file_read(f, &net->fusion[i].out, name, width, width, 1, true);
    }
    conv_file_read(f, &net->head[0], "scratch.output_conv.0", width / 2, width, 3, true);
    conv_file_read(f, &net->head[1], "scratch.output_conv.2", last, width / 2, 3, true);
    conv_file_read(f, &net->head[2], "scratch.output_conv.4", 1, last, 1, true);
}

dt_status midas_open(ctx *c, const void **net, tensor_file *file)
{
    const conv_file f = {.c = c, .file = file, .net = "MiDaS DPT-hybrid"};
    midas *m = arena_alloc_zeroed(&c->model, sizeof *m, &c->error);
    if (!m) return c->error.status;
    int64_t tap[MIDAS_TAPS];
    const int64_t inputs = read_resnet(&f, m, tap);
    tap[2] = tap[3] = conv_file_width(&f, "pretrained.model.cls_token", 2, (conv_file_steps){MIDAS_HEAD_WIDTH, WIDTH});
    read_vit(&f, m, inputs, tap[2]);
    read_decoder(&f, m, tap);
    *net = m;
    return c->error.status;
}

/* ---- the ResNet ---- */

static tensor *convolve(ctx *c, const conv_weights *k, tensor *x, int64_t pad)
{
    return op_conv2d(c, x, k->weight, k->bias, 1, pad);
}

static tensor *normalise(ctx *c, const norm_weights *n, tensor *x)
{
    return op_group_norm(c, x, n->weight, n->bias, MIDAS_GROUPS, NORM_EPSILON);
}

/* TensorFlow's SAME with stride 2 of an even side: of the zeros an odd one is below and to the right. */
static tensor *convolve_halving(ctx *c, const conv_weights *k, tensor *x)
{
    const int64_t side = ctx_failed(c) ? 0 : k->weight->dim[1];
    return op_conv2d(c, side > 1 ? op_pad_end(c, x) : x, k->weight, NULL, 2, side > 1 ? (side - 2) / 2 : 0);
}

static tensor *stem_forward(ctx *c, const void *weights, tensor *const in[PART_INPUTS])
{
    const midas *net = weights;
    tensor *h = op_relu(c, normalise(c, &net->stem_norm, convolve_halving(c, &net->stem, in[0])));
    return op_max_pool(c, h, 3, 2, 0);
}

static tensor *bottleneck_forward(ctx *c, const void *weights, tensor *const in[PART_INPUTS])
{
    const midas_bottleneck *b = weights;
    const bool halves = b->stride == 2;
    tensor *x = in[0], *h = op_relu(c, normalise(c, &b->norm[0], convolve(c, &b->conv[0], x, 0)));
    h = halves ? convolve_halving(c, &b->conv[1], h) : convolve(c, &b->conv[1], h, 1);
    h = op_relu(c, normalise(c, &b->norm[1], h));
    h = normalise(c, &b->norm[2], convolve(c, &b->conv[2], h, 0));
    if (b->shortcut.weight) {
        x = halves ? convolve_halving(c, &b->shortcut, x) : convolve(c, &b->shortcut, x, 0);
        x = normalise(c, &b->shortcut_norm, x);
    }
    return op_relu(c, op_add(c, h, x));
}

/* ---- the ViT ---- */

/* tokens[1,1+h*w,D] of the ResNet's last stage x[1,h,w,..]. */
static tensor *embed_forward(ctx *c, const void *weights, tensor *const in[PART_INPUTS])
{
    const midas *net = weights;
    if (ctx_failed(c)) return NULL;
    const int64_t h = in[0]->dim[1], w = in[0]->dim[2], width = net->position->dim[2], old = net->position->dim[1] - 1;
    const int64_t side = (int64_t)lround(sqrt((double)old)), tokens[] = {1, h * w, width};
    tensor *x = op_concat(c, net->class_token, op_reshape(c, convolve(c, &net->embedding, in[0], 0), 3, tokens), 1);
    tensor *grid = op_reshape(c, op_slice(c, net->position, 1, 1, old), 4, (int64_t[]){1, side, side, width});
    grid = op_reshape(c, bilinear_resize(c, grid, h, w, BILINEAR_MIDDLES), 3, tokens);
    return op_add_row(c, x, op_concat(c, op_slice(c, net->position, 1, 0, 1), grid, 1));
}

static tensor *block_forward(ctx *c, const void *weights, tensor *const in[PART_INPUTS])
{
    if (ctx_failed(c)) return NULL;
    return attention_block_forward(c, weights, in[0], in[0]->dim[2] / MIDAS_HEAD_WIDTH);
}

/* [1,h*w,D]: each token told of the class token beside it. */
static tensor *readout(ctx *c, const conv_weights *k, tensor *tokens)
{
    if (ctx_failed(c)) return NULL;
    const int64_t count = tokens->dim[1] - 1, width = tokens->dim[2];
    const arena_place mark = arena_mark(&c->scratch);
    int32_t *first = arena_alloc(&c->scratch, (size_t)count * sizeof *first, &c->error);
    for (int64_t i = 0; first && i < count; i++) first[i] = 0;
    tensor *token = op_reshape(c, op_slice(c, tokens, 1, 0, 1), 2, (int64_t[]){1, width});
    tensor *beside = op_reshape(c, op_embedding(c, token, first, count), 3, (int64_t[]){1, count, width});
    arena_release(&c->scratch, mark);
    return op_exact_gelu(c, part_linear(c, k, op_concat(c, op_slice(c, tokens, 1, 1, count), beside, 2)));
}

/* ---- fusion ---- */

static tensor *unit(ctx *c, const conv_weights k[2], tensor *x)
{
    return op_add(c, convolve(c, &k[1], op_relu(c, convolve(c, &k[0], op_relu(c, x), 1)), 1), x);
}

/* in: the path from the coarser fusion (NULL: none) and what joins it, of the same size. The last convolution is of single pixels and
 * may come before the resizing: bilinear weights add up to 1. */
static tensor *fusion_forward(ctx *c, const void *weights, tensor *const in[PART_INPUTS])
{
    const midas_fusion *f = weights;
    tensor *x = in[1] ? op_add(c, in[1], unit(c, f->skip, in[0])) : in[0];
    x = convolve(c, &f->out, unit(c, f->own, x), 0);
    return ctx_failed(c) ? NULL : bilinear_resize(c, x, 2 * x->dim[1], 2 * x->dim[2], BILINEAR_CORNERS);
}

static tensor *join_forward(ctx *c, const void *weights, tensor *const in[PART_INPUTS])
{
    return convolve(c, weights, in[0], 1);
}

static tensor *head_forward(ctx *c, const void *weights, tensor *const in[PART_INPUTS])
{
    const midas *net = weights;
    tensor *x = convolve(c, &net->head[0], in[0], 1);
    if (ctx_failed(c)) return NULL;
    x = bilinear_resize(c, x, 2 * x->dim[1], 2 * x->dim[2], BILINEAR_CORNERS);
    return op_relu(c, convolve(c, &net->head[2], op_relu(c, convolve(c, &net->head[1], x, 1)), 0));
}

/* ---- the whole ---- */

/* What the fusions take of tap number `number` of the ViT, tokens[1,1+h*w,D]: [1,h,w,D], of the second one [1,h/2,w/2,D]. */
static tensor *reassemble(ctx *c, const midas *net, int number, tensor *tokens, int64_t h, int64_t w)
{
    tensor *x = readout(c, &net->readout[number], tokens);
    if (ctx_failed(c)) return NULL;
    x = convolve(c, &net->widen[number], op_reshape(c, x, 4, (int64_t[]){1, h, w, x->dim[2]}), 0);
    return number == 1 ? op_conv2d(c, x, net->halve.weight, net->halve.bias, 2, 1) : x;
}

/* [1,H,W,1] of x[1,H,W,3], sides of multiples of 32. */
static tensor *forward(ctx *c, const midas *net, tensor *x)
{
    tensor *tap[MIDAS_TAPS] = {0};
    const int64_t h = x->dim[1] / 16, w = x->dim[2] / 16;
    int at = 0;
    x = part_run(c, stem_forward, net, x, NULL);
    for (int s = 0; s < MIDAS_STAGES; s++) {
        for (int i = 0; i < bottlenecks[s]; i++) x = part_run(c, bottleneck_forward, &net->bottleneck[at++], x, NULL);
        if (s < 2) tap[s] = x;
    }
    x = part_run(c, embed_forward, net, x, NULL);
    for (int i = 0; i < MIDAS_BLOCKS; i++) {
        x = part_run(c, block_forward, &net->block[i], x, NULL);
        for (int k = 0; k < 2; k++)
            if (i == tapped_block[k]) tap[2 + k] = reassemble(c, net, k, x, h, w);
    }
    x = NULL;
    for (int i = MIDAS_TAPS - 1; i >= 0; i--) {
        tensor *joined = part_run(c, join_forward, &net->rn[i], tap[i], NULL);
        x = part_run(c, fusion_forward, &net->fusion[i], joined, x);
    }
    return part_run(c, head_forward, net, x, NULL);
}

static int64_t seen_side(int64_t side)
{
    const int64_t nearest = 64 * (int64_t)rint((double)side / 64);
    return nearest < 64 ? 64 : nearest;
}

dt_status midas_depth(ctx *c, const midas *net, float *depth, const uint8_t *rgb, int64_t height, int64_t width)
{
    static const picture_scaling scaling = {{0, 1, 2}, {127.5F, 127.5F, 127.5F}, {1 / 127.5F, 1 / 127.5F, 1 / 127.5F}};
    const bool fits = height % 32 == 0 && width % 32 == 0;
    const arena_place mark = arena_mark(&c->step);
    const int precision = ctx_set_precision(c, 0);
    tensor *x = maps_picture(c, rgb, height, width, &scaling);
    if (!fits) x = bilinear_resize(c, x, seen_side(height), seen_side(width), BILINEAR_MIDDLES);
    if (x) x = forward(c, net, x);
    if (!fits) x = bilinear_resize(c, x, height, width, BILINEAR_MIDDLES);
    if (x && numbers_fetch(c, depth, x->data, height * width) && finite_first_bad(depth, height * width) >= 0)
        error_set(&c->error, DT_ERR_NUMERIC, "MiDaS gives this picture a depth that is no number");
    ctx_set_precision(c, precision);
    arena_release(&c->step, mark);
    return c->error.status;
}

depth_range depth_range_of(const float *depth, int64_t count)
{
    float least = depth[0], greatest = depth[0];
    for (int64_t i = 1; i < count; i++) {
        least = fminf(least, depth[i]);
        greatest = fmaxf(greatest, depth[i]);
    }
    return (depth_range){least, greatest - least};
}

void midas_bytes(uint8_t *map, const float *depth, int64_t count)
{
    const depth_range range = depth_range_of(depth, count);
    for (int64_t i = 0; i < count; i++) map[i] = (uint8_t)(depth_within(depth[i], range) * 255.0F);
}

dt_status midas_annotate(ctx *c, const void *net, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width)
{
    const arena_place mark = arena_mark(&c->scratch);
    float *depth = arena_alloc(&c->scratch, (size_t)(height * width) * sizeof *depth, &c->error);
    if (depth && midas_depth(c, net, depth, rgb, height, width) == DT_OK) midas_bytes(map, depth, height * width);
    arena_release(&c->scratch, mark);
    return c->error.status;
}
