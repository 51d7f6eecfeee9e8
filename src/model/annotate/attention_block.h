/* A transformer's block as ViT has it and those that follow it (timm's names): of tokens among themselves, with a perceptron of four times
 * the width. Layer norms have epsilon 1e-6. */
#ifndef ANNOTATE_ATTENTION_BLOCK_H
#define ANNOTATE_ATTENTION_BLOCK_H

#include "model/file/conv_file.h"

typedef struct attention_block {
    norm_weights norm[2];
    conv_weights qkv, project, fc1, fc2;
} attention_block;

/* Reads NAME.norm1, .attn.qkv, .attn.proj, .norm2, .mlp.fc1 and .mlp.fc2 into the model arena. */
void attention_block_read(const conv_file *f, attention_block *b, const char *name, int64_t width);

/* y[N,S,D] of x[N,S,D]. NULL after a failure. */
tensor *attention_block_forward(ctx *c, const attention_block *b, tensor *x, int64_t heads);

/* The perceptron alone: fc2(gelu(fc1(x))). */
tensor *attention_block_perceptron(ctx *c, const attention_block *b, tensor *x);

#endif
