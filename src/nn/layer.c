#include "nn/layer.h"

#include "op/op.h"

tensor *lin(ctx *c, const lin_w *l, tensor *x)
{
    return op_linear(c, x, l->w, l->b);
}

tensor *lin_branch(ctx *c, const lin_w *l, tensor *x)
{
    return op_linear_branch(c, x, l->w, l->b);
}

tensor *lin_last(ctx *c, const lin_w *l, tensor *x)
{
    tensor *y = lin(c, l, x);
    tensor_drop(c, x);
    return y;
}

tensor *lin_branch_last(ctx *c, const lin_w *l, tensor *x)
{
    tensor *y = lin_branch(c, l, x);
    tensor_drop(c, x);
    return y;
}

tensor *lin_gelu_last(ctx *c, const lin_w *l, tensor *x)
{
    tensor *y = op_linear_gelu(c, x, l->w, l->b);
    tensor_drop(c, x);
    return y;
}
