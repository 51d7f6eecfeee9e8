#include "nn/layer.h"

#include "op/op.h"

/* Activation and product are one op unless an adapter stands between them, and what an adapter changes is kept wide. */
static tensor *product(ctx *c, const lin_w *l, tensor *x, int flags)
{
    if (flags & LIN_GELU) return op_linear_gelu(c, x, l->w, l->b);
    return flags & LIN_BRANCH ? op_linear_branch(c, x, l->w, l->b) : op_linear(c, x, l->w, l->b);
}

tensor *lin(ctx *c, const lin_w *l, tensor *x, int flags)
{
    const lin_site *site = lin_site_on(l->site);
    tensor *y = product(c, l, x, site ? 0 : flags);
    for (const lin_site *s = site; s; s = lin_site_on(s->next)) y = s->join(c, s->adapter, x, y);
    if (site && flags & LIN_GELU) y = op_gelu(c, y);
    if (flags & LIN_LAST) tensor_drop(c, x);
    return y;
}
