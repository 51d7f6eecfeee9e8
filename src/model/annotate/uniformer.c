#include "model/annotate/uniformer.h"

#include <stdio.h>

#include "model/annotate/part.h"
#include "op/conv.h"
#include "op/op.h"

enum { NAME = 80, FULL = 112 };

#define NORM_EPSILON  ((real)1e-6)
#define PATCH_EPSILON ((real)1e-5)
#define BATCH_EPSILON 1e-5

static const int depth[UNIFORMER_STAGES] = {3, 4, 8, 3};
static const int64_t published[UNIFORMER_STAGES] = {64, 128, 320, 512};

/* ---- weights ---- */

static void read_local(const conv_file *f, uniformer_block *b, const char *name, int64_t width)
{
    char full[FULL], norm[FULL];
    snprintf(norm, sizeof norm, "%s.norm1", name);
    snprintf(full, sizeof full, "%s.conv1", name);
    conv_file_read_behind(f, &b->before, full, norm, width, width, BATCH_EPSILON);
    snprintf(full, sizeof full, "%s.attn", name);
    conv_file_read_depthwise(f, &b->local, full, width, 5);
    snprintf(full, sizeof full, "%s.conv2", name);
    conv_file_read(f, &b->after, full, width, width, 1, true);
    snprintf(norm, sizeof norm, "%s.norm2", name);
    snprintf(full, sizeof full, "%s.mlp.fc1", name);
    conv_file_read_behind(f, &b->own.fc1, full, norm, 4 * width, width, BATCH_EPSILON);
    snprintf(full, sizeof full, "%s.mlp.fc2", name);
    conv_file_read(f, &b->own.fc2, full, width, 4 * width, 1, true);
}

static void read_stage(const conv_file *f, uniformer_stage *s, int number, int64_t inputs, int64_t width)
{
    char name[NAME], full[FULL];
    snprintf(full, sizeof full, "backbone.patch_embed%d.proj", number);
    conv_file_read(f, &s->patch, full, width, inputs, number == 1 ? 4 : 2, true);
    snprintf(full, sizeof full, "backbone.patch_embed%d.norm", number);
    conv_file_read_norm(f, &s->patch_norm, full, width);
    for (int i = 0; i < s->count; i++) {
        uniformer_block *b = &s->block[i];
        snprintf(name, sizeof name, "backbone.blocks%d.%d", number, i);
        snprintf(full, sizeof full, "%s.pos_embed", name);
        conv_file_read_depthwise(f, &b->position, full, width, 3);
        if (s->attends)
            attention_block_read(f, &b->own, name, width);
        else
            read_local(f, b, name, width);
    }
    snprintf(full, sizeof full, "backbone.norm%d", number);
    conv_file_read_norm(f, &s->norm_out, full, width);
}

void uniformer_read(const conv_file *f, uniformer *net)
{
    uniformer_block *block = net->block;
    for (int i = 0; i < UNIFORMER_STAGES; i++) {
        uniformer_stage *s = &net->stage[i];
        char name[NAME];
        snprintf(name, sizeof name, "backbone.patch_embed%d.proj.weight", i + 1);
        *s = (uniformer_stage){.block = block, .count = depth[i], .attends = i >= 2};
        const conv_file_steps width = {s->attends ? UNIFORMER_HEAD_WIDTH : 1, published[i]};
        net->width[i] = conv_file_width(f, name, 0, width);
        read_stage(f, s, i + 1, i ? net->width[i - 1] : 3, net->width[i]);
        block += depth[i];
    }
}

/* ---- forward ---- */

static tensor *normalise(ctx *c, const norm_weights *n, tensor *x, real epsilon)
{
    return op_layer_norm(c, x, n->weight, n->bias, epsilon);
}

static tensor *positioned(ctx *c, const uniformer_block *b, tensor *x)
{
    return op_add(c, x, op_depthwise(c, x, b->position.weight, b->position.bias, 1, 1));
}

static tensor *patch_forward(ctx *c, const void *weights, tensor *const in[PART_INPUTS])
{
    const uniformer_stage *s = weights;
    tensor *x = op_conv2d(c, in[0], s->patch.weight, s->patch.bias, s->patch.weight->dim[1], 0);
    return normalise(c, &s->patch_norm, x, PATCH_EPSILON);
}

static tensor *local_forward(ctx *c, const void *weights, tensor *const in[PART_INPUTS])
{
    const uniformer_block *b = weights;
    tensor *x = positioned(c, b, in[0]), *h = part_linear(c, &b->before, x);
    h = op_depthwise(c, h, b->local.weight, b->local.bias, 1, 2);
    x = op_add(c, x, part_linear(c, &b->after, h));
    return op_add(c, x, attention_block_perceptron(c, &b->own, x));
}

static tensor *attention_forward(ctx *c, const void *weights, tensor *const in[PART_INPUTS])
{
    const uniformer_block *b = weights;
    const int64_t *d = in[0]->dim, width = d[3];
    tensor *x = op_reshape(c, positioned(c, b, in[0]), 3, (int64_t[]){1, d[1] * d[2], width});
    return op_reshape(c, attention_block_forward(c, &b->own, x, width / UNIFORMER_HEAD_WIDTH), 4, d);
}

static tensor *end_forward(ctx *c, const void *weights, tensor *const in[PART_INPUTS])
{
    return normalise(c, weights, in[0], NORM_EPSILON);
}

void uniformer_forward(ctx *c, const uniformer *net, tensor *level[UNIFORMER_STAGES], tensor *x)
{
    for (int i = 0; i < UNIFORMER_STAGES; i++) {
        const uniformer_stage *s = &net->stage[i];
        x = part_run(c, patch_forward, s, x, NULL);
        for (int k = 0; k < s->count; k++)
            x = part_run(c, s->attends ? attention_forward : local_forward, &s->block[k], x, NULL);
        level[i] = part_run(c, end_forward, &s->norm_out, x, NULL);
    }
}
