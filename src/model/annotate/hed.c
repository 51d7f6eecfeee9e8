#include "model/annotate/hed.h"

#include <math.h>
#include <stdio.h>

#include "model/annotate/maps.h"
#include "op/conv.h"

static const struct {
    int convs;
    int64_t width;
} sizes[HED_BLOCKS] = {{2, 64}, {2, 128}, {3, 256}, {3, 512}, {3, 512}};

/* ---- weights ---- */

static void read_norm(ctx *c, hed *net, const tensor_file *file)
{
    const tensor_entry *e = tensor_file_find(file, "norm");
    if (ctx_failed(c)) return;
    if (!e || e->count != 3)
        error_set(&c->error, DT_ERR_SHAPE, "%s: tensor norm of 3 values expected (ControlNet's HED), %s", file->path,
                  e ? "found another shape" : "found none");
    else
        tensor_read_finite(net->norm, e, &c->error);
}

static void read_block(const conv_file *f, hed *net, int b)
{
    char name[48];
    for (int k = 0; k < sizes[b].convs; k++) {
        const int64_t inputs = k ? sizes[b].width : b ? sizes[b - 1].width : 3;
        snprintf(name, sizeof name, "block%d.convs.%d", b + 1, k);
        conv_file_read(f, &net->block[b].conv[k], name, sizes[b].width, inputs, 3, true);
    }
    snprintf(name, sizeof name, "block%d.projection", b + 1);
    conv_file_read(f, &net->block[b].projection, name, 1, sizes[b].width, 1, true);
}

dt_status hed_open(ctx *c, const void **net, tensor_file *file)
{
    hed *h = arena_alloc_zeroed(&c->model, sizeof *h, &c->error);
    const conv_file f = {.c = c, .file = file, .net = "ControlNet's HED"};
    if (!h) return c->error.status;
    if (!tensor_file_enter(file, "netNetwork.")) tensor_file_enter(file, "state_dict.");
    read_norm(c, h, file);
    for (int b = 0; b < HED_BLOCKS; b++) read_block(&f, h, b);
    *net = h;
    return c->error.status;
}

/* ---- logits ---- */

typedef struct block_at {
    const hed *net;
    int number;
} block_at;

/* out = h[1,H,W,C] after the block, its logits [1,H,W,1] */
static void run_block(ctx *c, const void *arg, tensor *const in[], tensor *out[])
{
    const block_at *at = arg;
    tensor *h = at->number ? maps_halve(c, in[0]) : in[0];
    for (int k = 0; k < sizes[at->number].convs; k++) {
        const conv_weights *w = &at->net->block[at->number].conv[k];
        h = op_relu(c, op_conv2d(c, h, w->weight, w->bias, 1, 1));
    }
    const conv_weights *w = &at->net->block[at->number].projection;
    out[0] = h;
    out[1] = op_conv2d(c, h, w->weight, w->bias, 1, 0);
}

void hed_forward(ctx *c, const hed *net, tensor *logit[HED_BLOCKS], const uint8_t *rgb, int64_t height, int64_t width)
{
    const picture_scaling how = {{0, 1, 2}, {net->norm[0], net->norm[1], net->norm[2]}, {1, 1, 1}};
    tensor *both[2] = {maps_picture(c, rgb, height, width, &how)};
    for (int b = 0; b < HED_BLOCKS; b++) {
        tape_inference(c, run_block, &(block_at){net, b}, both, 1, both, 2);
        logit[b] = ctx_failed(c) ? NULL : both[1];
    }
}

/* ---- the map ---- */

dt_status hed_map(ctx *c, uint8_t *map, const float *const logit[HED_BLOCKS], int64_t height, int64_t width)
{
    const int64_t pixels = height * width;
    const arena_place mark = arena_mark(&c->scratch);
    float *sum = arena_alloc_zeroed(&c->scratch, (size_t)pixels * sizeof *sum, &c->error);
    float *full = arena_alloc(&c->scratch, (size_t)pixels * sizeof *full, &c->error);
    for (int b = 0; b < HED_BLOCKS && !ctx_failed(c); b++) {
        maps_enlarge(full, logit[b], height >> b, width >> b, height, width);
        for (int64_t i = 0; i < pixels; i++) sum[i] += full[i];
    }
    for (int64_t i = 0; i < pixels && !ctx_failed(c); i++)
        map[i] = maps_byte(1 / (1 + exp(-(double)(sum[i] / HED_BLOCKS))) * 255.0);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

dt_status hed_annotate(ctx *c, const void *net, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width)
{
    tensor *logit[HED_BLOCKS];
    const float *values[HED_BLOCKS];
    const arena_place mark = arena_mark(&c->step);
    hed_forward(c, net, logit, rgb, height, width);
    for (int b = 0; b < HED_BLOCKS; b++) values[b] = maps_fetch(c, logit[b]);
    if (!ctx_failed(c)) hed_map(c, map, values, height, width);
    arena_release(&c->step, mark);
    return c->error.status;
}
