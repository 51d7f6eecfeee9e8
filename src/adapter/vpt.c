/* VPT-deep (Jia et al. 2022; KMnP/vpt): each block has tokens of its own in front of those it is given, which it passes on without
 * them, so that the next block's take their place. They have no position. Rows blocks.i.prompt_embeddings [1,T,D] start uniform
 * in +-sqrt(6 / (inputs of a patch + D)). */
#include "adapter/kinds.h"

#include <math.h>

#include "op/op.h"

typedef struct prompts {
    tensor *row; /* [1,T*D] */
    int64_t tokens, width;
} prompts;

static tensor *put_in_front(ctx *c, const prompts *p, tensor *x)
{
    const int64_t n = x->dim[0];
    tensor *tokens = op_reshape(c, kind_spread(c, p->row, n), 3, (int64_t[]){n, p->tokens, p->width});
    return op_concat(c, tokens, x, 1);
}

static tensor *change_tokens(ctx *c, const void *weights, block_place place, tensor *x, tensor *h)
{
    const prompts *p = weights;
    (void)h;
    if (ctx_failed(c)) return NULL;
    if (place == BLOCK_ENTRY) return put_in_front(c, p, x);
    return place == BLOCK_EXIT ? op_slice(c, x, 1, p->tokens, x->dim[1] - p->tokens) : h;
}

void vpt_join(ctx *c, adapter *a, denoiser *d)
{
    const network_sites *s = d->sites;
    const double bound = sqrt(6.0 / (double)(s->token_map->w->dim[1] + s->width));
    for (int i = 0; i < s->block_count && !ctx_failed(c); i++) {
        block_sites *b = &s->block[i];
        prompts *p = arena_alloc(&c->model, sizeof *p, &c->error);
        if (!p) return;
        *p = (prompts){.tokens = a->plan.tokens, .width = s->width};
        p->row = params_add_uniform(c, &a->params, bound, 3, (int64_t[]){1, p->tokens, p->width},
                                    "%s.prompt_embeddings", b->name);
        kind_join_block(c, a, b, change_tokens, p);
    }
}
