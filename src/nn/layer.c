#include "nn/layer.h"

#include "op/op.h"

/* Activation and product are one op unless an adapter stands between them, and what it cannot change as narrow is kept wide. */
static int flags_under(const lin_site *site, int flags)
{
    if (!site) return flags;
    for (const lin_site *s = site; s; s = lin_site_on(s->next))
        if (!s->narrow) return 0;
    return flags & (LIN_BRANCH | LIN_GELU) ? LIN_BRANCH : 0;
}

static tensor *product(ctx *c, const lin_w *l, tensor *x, int flags)
{
    if (flags & LIN_GELU) return op_linear_gelu(c, x, l->w, l->b);
    return flags & LIN_BRANCH ? op_linear_branch(c, x, l->w, l->b) : op_linear(c, x, l->w, l->b);
}

tensor *lin(ctx *c, const lin_w *l, tensor *x, int flags)
{
    const lin_site *site = lin_site_on(l->site);
    tensor *y = product(c, l, x, flags_under(site, flags));
    for (const lin_site *s = site; s; s = lin_site_on(s->next)) y = s->join(c, s->adapter, x, y);
    if (site && flags & LIN_GELU) y = op_gelu(c, y);
    if (flags & LIN_LAST) tensor_drop(c, x);
    return y;
}
