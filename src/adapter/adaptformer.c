/* AdaptFormer (Chen et al. 2022; ShoufaChen/AdaptFormer): beside the MLP of each block a bottleneck that sees the residual as it is,
 * h + s (up relu(down x)), added before the MLP's gate. down starts uniform in +-1/sqrt(D), which is Kaiming's rule with a =
 * sqrt(5), up and both biases at 0. Its dropout is left out. Rows blocks.i.adaptmlp.{down_proj,up_proj}.{weight,bias}. */
#include "adapter/kinds.h"

#include <math.h>

#include "op/conv.h"

typedef struct bottleneck {
    lin_w down, up;
    tensor *scale; /* [1,D] */
} bottleneck;

static tensor *add_bottleneck(ctx *c, const void *weights, block_place place, tensor *x, tensor *h)
{
    const bottleneck *b = weights;
    if (place != BLOCK_MLP || ctx_failed(c)) return h;
    tensor *u = lin(c, &b->up, op_relu(c, lin(c, &b->down, x, 0)), 0);
    return kind_add(c, h, u, kind_spread(c, b->scale, x->dim[0]));
}

static lin_w add_map(ctx *c, adapter *a, const char *block, const char *name, double bound, int64_t out, int64_t in)
{
    return (lin_w){
        .w = params_add_uniform(c, &a->params, bound, 2, (int64_t[]){out, in}, "%s.adaptmlp.%s.weight", block, name),
        .b = params_add(c, &a->params, PARAM_ZERO, 1, &out, "%s.adaptmlp.%s.bias", block, name)};
}

void adaptformer_join(ctx *c, adapter *a, denoiser *d)
{
    const network_sites *s = d->sites;
    for (int i = 0; i < s->block_count && !ctx_failed(c); i++) {
        block_sites *site = &s->block[i];
        bottleneck *b = arena_alloc(&c->model, sizeof *b, &c->error);
        if (!b) return;
        b->down = add_map(c, a, site->name, "down_proj", 1 / sqrt((double)s->width), a->plan.width, s->width);
        b->up = add_map(c, a, site->name, "up_proj", 0, s->width, a->plan.width);
        b->scale = kind_constant(c, s->width, a->plan.scale);
        kind_join_block(c, a, site, add_bottleneck, b);
    }
}
