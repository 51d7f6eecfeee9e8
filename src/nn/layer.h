/* The one function in which weights meet the math, and where an adapter joins it. */
#ifndef NN_LAYER_H
#define NN_LAYER_H

#include "nn/adapter.h"
#include "tensor/tensor.h"

typedef struct lin_w {
    tensor *w;            /* [O,I] */
    tensor *b;            /* [O]; NULL: none */
    const lin_site *site; /* NULL: no adapter */
} lin_w;

/* What is said of one use of a linear map. */
enum {
    LIN_BRANCH = 1, /* the result stays inside a residual branch and may be kept narrow (op/op.h) */
    LIN_LAST = 2,   /* x is used for the last time in the forward pass: values that can be made again are dropped */
    LIN_GELU = 4,   /* gelu of the result, in the product's epilogue where the engine has one; with LIN_BRANCH only */
};

/* y[..,O] = x[..,I] w^T + b */
tensor *lin(ctx *c, const lin_w *l, tensor *x, int flags);

#endif
