/* The one function in which weights meet the math; adapters will join it here. */
#ifndef NN_LAYER_H
#define NN_LAYER_H

#include "tensor/tensor.h"

typedef struct lin_w {
    tensor *w; /* [O,I] */
    tensor *b; /* [O] */
} lin_w;

/* y[..,O] = x[..,I] w^T + b */
tensor *lin(ctx *c, const lin_w *l, tensor *x);

/* The same for a result that stays inside a residual branch (op/op.h). */
tensor *lin_branch(ctx *c, const lin_w *l, tensor *x);

/* Where x is used for the last time in the forward pass: if the values of x can be made again they are dropped. */
tensor *lin_last(ctx *c, const lin_w *l, tensor *x);
tensor *lin_branch_last(ctx *c, const lin_w *l, tensor *x);

/* gelu of lin_branch_last */
tensor *lin_gelu_last(ctx *c, const lin_w *l, tensor *x);

#endif
