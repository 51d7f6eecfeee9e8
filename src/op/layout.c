/* Ops that move numbers: table rows, tokens and images, the mean over tokens. */
#include "op/op.h"

typedef struct embedding_saved {
    const int32_t *index;
} embedding_saved;

static void embedding_bwd(ctx *c, const tape_record *r)
{
    const embedding_saved *s = r->saved;
    real *dtable = tensor_grad(c, r->in[0]);
    if (dtable) c->engine.embedding_bwd(dtable, r->out->grad, s->index, r->out->dim[0], r->out->dim[1]);
}

tensor *op_embedding(ctx *c, tensor *table, const int32_t index[], int64_t n)
{
    if (ctx_failed(c)) return NULL;
    for (int64_t i = 0; i < n; i++) TENSOR_CHECK(index[i] >= 0 && index[i] < table->dim[0], table);
    tensor *y = tensor_new(c, &c->step, 2, (int64_t[]){n, table->dim[1]});
    embedding_saved s = {numbers_of(c, &c->step, index, (size_t)n * sizeof index[0])};
    if (ctx_failed(c)) return NULL;
    c->engine.embedding_fwd(y->data, table->data, s.index, n, table->dim[1]);
    if (tape_wants(c, y, &table, 1)) tape_push(c, embedding_bwd, y, &table, 1, &s, sizeof s);
    return y;
}

static void mean_tokens_bwd(ctx *c, const tape_record *r)
{
    const tensor *x = r->in[0];
    real *dx = tensor_grad(c, r->in[0]);
    if (dx) c->engine.mean_tokens_bwd(dx, r->out->grad, x->dim[0], x->dim[1], x->dim[2]);
}

tensor *op_mean_tokens(ctx *c, tensor *x)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(x->dim_count == 3, x);
    tensor *y = tensor_new(c, &c->step, 2, (int64_t[]){x->dim[0], x->dim[2]});
    if (!y) return NULL;
    c->engine.mean_tokens_fwd(y->data, x->data, x->dim[0], x->dim[1], x->dim[2]);
    if (tape_wants(c, y, &x, 1)) tape_push(c, mean_tokens_bwd, y, &x, 1, NULL, 0);
    return y;
}

typedef struct patch_saved {
    int64_t n, c, h, w, p;
} patch_saved;

static void patchify_bwd(ctx *c, const tape_record *r)
{
    const patch_saved *s = r->saved;
    real *dx = tensor_grad(c, r->in[0]);
    if (dx) c->engine.patchify_bwd(dx, r->out->grad, s->n, s->c, s->h, s->w, s->p);
}

tensor *op_patchify(ctx *c, tensor *x, int64_t patch)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(x->dim_count == 4 && x->dim[2] % patch == 0 && x->dim[3] % patch == 0, x);
    patch_saved s = {x->dim[0], x->dim[1], x->dim[2], x->dim[3], patch};
    int64_t tokens = (s.h / patch) * (s.w / patch);
    tensor *y = tensor_new(c, &c->step, 3, (int64_t[]){s.n, tokens, s.c * patch * patch});
    if (!y) return NULL;
    c->engine.patchify_fwd(y->data, x->data, s.n, s.c, s.h, s.w, patch);
    if (tape_wants(c, y, &x, 1)) tape_push(c, patchify_bwd, y, &x, 1, &s, sizeof s);
    return y;
}

static void unpatchify_bwd(ctx *c, const tape_record *r)
{
    const patch_saved *s = r->saved;
    real *dx = tensor_grad(c, r->in[0]);
    if (dx) c->engine.unpatchify_bwd(dx, r->out->grad, s->n, s->c, s->h, s->w, s->p);
}

tensor *op_unpatchify(ctx *c, tensor *x, int64_t patch, int64_t channels, int64_t height, int64_t width)
{
    if (ctx_failed(c)) return NULL;
    patch_saved s = {x->dim[0], channels, height, width, patch};
    TENSOR_CHECK(x->dim_count == 3 && x->dim[2] == patch * patch * channels, x);
    TENSOR_CHECK(x->dim[1] == (height / patch) * (width / patch), x);
    tensor *y = tensor_new(c, &c->step, 4, (int64_t[]){s.n, channels, height, width});
    if (!y) return NULL;
    c->engine.unpatchify_fwd(y->data, x->data, s.n, s.c, s.h, s.w, patch);
    if (tape_wants(c, y, &x, 1)) tape_push(c, unpatchify_bwd, y, &x, 1, &s, sizeof s);
    return y;
}
