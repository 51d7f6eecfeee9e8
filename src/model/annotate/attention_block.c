#include "model/annotate/attention_block.h"

#include <stdio.h>

#include "model/annotate/part.h"
#include "op/op.h"

enum { FULL = 112 };

#define EPSILON ((real)1e-6)

static void read_map(const conv_file *f, conv_weights *k, const char *name, const char *map, int64_t outputs,
                     int64_t inputs)
{
    char full[FULL];
    snprintf(full, sizeof full, "%s.%s", name, map);
    conv_file_read(f, k, full, outputs, inputs, 1, true);
}

void attention_block_read(const conv_file *f, attention_block *b, const char *name, int64_t width)
{
    for (int i = 0; i < 2; i++) {
        char full[FULL];
        snprintf(full, sizeof full, "%s.norm%d", name, i + 1);
        conv_file_read_norm(f, &b->norm[i], full, width);
    }
    read_map(f, &b->qkv, name, "attn.qkv", 3 * width, width);
    read_map(f, &b->project, name, "attn.proj", width, width);
    read_map(f, &b->fc1, name, "mlp.fc1", 4 * width, width);
    read_map(f, &b->fc2, name, "mlp.fc2", width, 4 * width);
}

static tensor *normalise(ctx *c, const norm_weights *n, tensor *x)
{
    return op_layer_norm(c, x, n->weight, n->bias, EPSILON);
}

tensor *attention_block_perceptron(ctx *c, const attention_block *b, tensor *x)
{
    return part_linear(c, &b->fc2, op_exact_gelu(c, part_linear(c, &b->fc1, x)));
}

tensor *attention_block_forward(ctx *c, const attention_block *b, tensor *x, int64_t heads)
{
    tensor *h = part_linear(c, &b->qkv, normalise(c, &b->norm[0], x));
    x = op_add(c, x, part_linear(c, &b->project, op_attention(c, h, heads)));
    return op_add(c, x, attention_block_perceptron(c, b, normalise(c, &b->norm[1], x)));
}
