/* Ops that move numbers: table rows, tokens and images, the mean over tokens, images of other sizes, tensors side by side and
 * parts of them. */
#include "op/conv.h"
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

static void upsample_bwd(ctx *c, const tape_record *r)
{
    const tensor *x = r->in[0];
    real *dx = tensor_grad(c, r->in[0]);
    if (dx) c->engine.upsample_bwd(dx, r->out->grad, x->dim[0], x->dim[1], x->dim[2], x->dim[3]);
}

tensor *op_upsample(ctx *c, tensor *x)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(x->dim_count == 4, x);
    tensor *y = tensor_new(c, &c->step, 4, (int64_t[]){x->dim[0], 2 * x->dim[1], 2 * x->dim[2], x->dim[3]});
    if (!y) return NULL;
    c->engine.upsample_fwd(y->data, x->data, x->dim[0], x->dim[1], x->dim[2], x->dim[3]);
    if (tape_wants(c, y, &x, 1)) tape_push(c, upsample_bwd, y, &x, 1, NULL, 0);
    return y;
}

static void pad_end_bwd(ctx *c, const tape_record *r)
{
    const tensor *x = r->in[0];
    real *dx = tensor_grad(c, r->in[0]);
    if (dx) c->engine.pad_end_bwd(dx, r->out->grad, x->dim[0], x->dim[1], x->dim[2], x->dim[3]);
}

tensor *op_pad_end(ctx *c, tensor *x)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(x->dim_count == 4, x);
    tensor *y = tensor_new(c, &c->step, 4, (int64_t[]){x->dim[0], x->dim[1] + 1, x->dim[2] + 1, x->dim[3]});
    if (!y) return NULL;
    c->engine.pad_end_fwd(y->data, x->data, x->dim[0], x->dim[1], x->dim[2], x->dim[3]);
    if (tape_wants(c, y, &x, 1)) tape_push(c, pad_end_bwd, y, &x, 1, NULL, 0);
    return y;
}

/* A tensor is rows: all dimensions before `dim` count them, those from `dim` on are one. */
static int64_t row_length(const tensor *t, int dim)
{
    int64_t length = 1;
    for (int d = dim; d < t->dim_count; d++) length *= t->dim[d];
    return length;
}

typedef struct rows_saved {
    int64_t rows, first; /* first: of a slice, in a row */
    int dim;
} rows_saved;

static void concat_bwd(ctx *c, const tape_record *r)
{
    const rows_saved *s = r->saved;
    tensor *a = r->in[0], *b = r->in[1];
    real *da = tensor_grad(c, a), *db = tensor_grad(c, b);
    if (ctx_failed(c)) return;
    c->engine.concat_bwd(da, db, r->out->grad, s->rows, row_length(a, s->dim), row_length(b, s->dim));
}

tensor *op_concat(ctx *c, tensor *a, tensor *b, int dim)
{
    if (ctx_failed(c)) return NULL;
    int64_t size[TENSOR_DIM_MAX];
    TENSOR_CHECK(a->dim_count == b->dim_count && dim < a->dim_count && !a->narrow && !b->narrow, a, b);
    for (int d = 0; d < a->dim_count; d++) {
        TENSOR_CHECK(d == dim || a->dim[d] == b->dim[d], a, b);
        size[d] = a->dim[d] + (d == dim ? b->dim[d] : 0);
    }
    const rows_saved s = {.rows = tensor_count(a) / row_length(a, dim), .dim = dim};
    tensor *in[] = {a, b}, *y = tensor_new(c, &c->step, a->dim_count, size);
    if (!y) return NULL;
    c->engine.concat_fwd(y->data, a->data, b->data, s.rows, row_length(a, dim), row_length(b, dim));
    if (tape_wants(c, y, in, 2)) tape_push(c, concat_bwd, y, in, 2, &s, sizeof s);
    return y;
}

static void slice_bwd(ctx *c, const tape_record *r)
{
    const rows_saved *s = r->saved;
    real *dx = tensor_grad(c, r->in[0]);
    if (dx)
        c->engine.slice_bwd(dx, r->out->grad, s->rows, row_length(r->in[0], s->dim), s->first,
                            row_length(r->out, s->dim));
}

tensor *op_slice(ctx *c, tensor *x, int dim, int64_t first, int64_t count)
{
    if (ctx_failed(c)) return NULL;
    int64_t size[TENSOR_DIM_MAX];
    TENSOR_CHECK(dim < x->dim_count && first >= 0 && count > 0 && first + count <= x->dim[dim] && !x->narrow, x);
    for (int d = 0; d < x->dim_count; d++) size[d] = d == dim ? count : x->dim[d];
    const int64_t length = row_length(x, dim);
    const rows_saved s = {tensor_count(x) / length, first * (length / x->dim[dim]), dim};
    tensor *y = tensor_new(c, &c->step, x->dim_count, size);
    if (!y) return NULL;
    c->engine.slice_fwd(y->data, x->data, s.rows, length, s.first, row_length(y, dim));
    if (tape_wants(c, y, &x, 1)) tape_push(c, slice_bwd, y, &x, 1, &s, sizeof s);
    return y;
}
