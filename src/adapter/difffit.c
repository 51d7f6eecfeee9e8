/* DiffFit (Xie et al. 2023) as the code of Diff-Tuning has it (thuml/Diffusion-Tuning models.py): the network's biases and label
 * rows train, and vectors gamma, at first ones, multiply
 *
 *     blocks.i.attn.gamma1 [3D]  queries, keys and values, their bias included
 *     blocks.i.attn.gamma2 [D]   what leaves the heads' projection
 *     blocks.i.gamma1      [D]   the attention branch, beside its gate
 *     blocks.i.gamma2      [D]   the MLP branch, beside its gate
 *
 * in the first 14 blocks: 6 D a block. The paper counts 7 D in every block and does not say where the seventh is. Here it is
 *
 *     blocks.i.mlp.gamma   [D]   what leaves the MLP's second map. */
#include "adapter/kinds.h"

#include "op/op.h"

/* y gamma as y + (gamma - 1) y, which is y while gamma is one. */
typedef struct gamma {
    tensor *gamma;     /* [O] */
    tensor *minus_one; /* [1,O] */
} gamma;

typedef struct block_gammas {
    gamma attention, mlp;
} block_gammas;

static tensor *scale(ctx *c, const gamma *g, tensor *y)
{
    if (ctx_failed(c)) return NULL;
    const int64_t n = y->dim[0];
    tensor *row = op_reshape(c, g->gamma, 2, g->minus_one->dim);
    return kind_add(c, y, y, op_add(c, kind_spread(c, row, n), kind_spread(c, g->minus_one, n)));
}

static tensor *scale_map(ctx *c, const void *weights, tensor *x, tensor *y)
{
    (void)x;
    return scale(c, weights, y);
}

static tensor *scale_branch(ctx *c, const void *weights, block_place place, tensor *x, tensor *h)
{
    const block_gammas *g = weights;
    (void)x;
    if (place == BLOCK_ATTENTION) return scale(c, &g->attention, h);
    return place == BLOCK_MLP ? scale(c, &g->mlp, h) : h;
}

static gamma add_gamma(ctx *c, adapter *a, const block_sites *b, int64_t width, const char *name)
{
    return (gamma){.gamma = params_add(c, &a->params, PARAM_ONE, 1, &width, "%s.%s", b->name, name),
                   .minus_one = kind_constant(c, width, -1)};
}

static void join_map(ctx *c, adapter *a, const block_sites *b, lin_w *map, const char *name)
{
    gamma *g = arena_alloc(&c->model, sizeof *g, &c->error);
    if (!g) return;
    *g = add_gamma(c, a, b, map->w->dim[0], name);
    kind_join_map(c, a, map, scale_map, false, g);
}

static void join_block(ctx *c, adapter *a, block_sites *b, int64_t width)
{
    block_gammas *g = arena_alloc(&c->model, sizeof *g, &c->error);
    if (!g) return;
    join_map(c, a, b, b->attention_in, "attn.gamma1");
    join_map(c, a, b, b->attention_out, "attn.gamma2");
    if (a->plan.variant == DT_DIFFFIT_PAPER) join_map(c, a, b, b->mlp_out, "mlp.gamma");
    g->attention = add_gamma(c, a, b, width, "gamma1");
    g->mlp = add_gamma(c, a, b, width, "gamma2");
    kind_join_block(c, a, b, scale_branch, g);
}

void difffit_join(ctx *c, adapter *a, denoiser *d)
{
    const network_sites *s = d->sites;
    const int64_t all = s->block_count, some = a->plan.blocks < all ? a->plan.blocks : all;
    const int64_t count = a->plan.variant == DT_DIFFFIT_PAPER ? all : some;
    for (int64_t i = 0; i < count && !ctx_failed(c); i++) join_block(c, a, &s->block[i], s->width);
}
