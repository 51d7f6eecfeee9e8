#include "nn/layer.h"

#include "op/op.h"

/* Activation and product are one op unless an adapter stands between them. */
static tensor *product(ctx *c, const lin_w *l, tensor *x, int flags)
{
    if ((flags & LIN_GELU) && !l->site.join) return op_linear_gelu(c, x, l->w, l->b);
    return flags & LIN_BRANCH ? op_linear_branch(c, x, l->w, l->b) : op_linear(c, x, l->w, l->b);
}

tensor *lin(ctx *c, const lin_w *l, tensor *x, int flags)
{
    tensor *y = product(c, l, x, flags);
    if (l->site.join) {
        y = l->site.join(c, l->site.adapter, x, y);
        if (flags & LIN_GELU) y = op_gelu(c, y);
    }
    if (flags & LIN_LAST) tensor_drop(c, x);
    return y;
}
