/* A network runs in parts, and of each only the result stays: at any time the activations of one part are there. */
#ifndef ANNOTATE_PART_H
#define ANNOTATE_PART_H

#include "model/file/conv_file.h"
#include "op/op.h"

enum { PART_INPUTS = 2 };

typedef tensor *part_function(ctx *c, const void *weights, tensor *const in[PART_INPUTS]);

typedef struct part {
    part_function *forward;
    const void *weights;
} part;

static inline void part_on_tape(ctx *c, const void *arg, tensor *const in[], tensor *out[])
{
    const part *p = arg;
    out[0] = p->forward(c, p->weights, in);
}

/* forward(weights, {x, beside}); NULL after a failure. */
static inline tensor *part_run(ctx *c, part_function *forward, const void *weights, tensor *x, tensor *beside)
{
    const part p = {forward, weights};
    tensor *in[PART_INPUTS] = {x, beside}, *y = NULL;
    if (ctx_go_on(c)) tape_inference(c, part_on_tape, &p, in, PART_INPUTS, &y, 1);
    return y;
}

/* A linear map, read as a 1x1 convolution, of each pixel or token. */
static inline tensor *part_linear(ctx *c, const conv_weights *k, tensor *x)
{
    if (ctx_failed(c)) return NULL;
    return op_linear(c, x, op_reshape(c, k->weight, 2, (int64_t[]){k->weight->dim[0], k->weight->dim[3]}), k->bias);
}

#endif
