/* y = x W^T + b;  dx = dy W,  dW = dy^T x,  db = column sums of dy. */
#include "op/op.h"

static int64_t rows_of(const tensor *t)
{
    return tensor_count(t) / t->dim[t->dim_count - 1];
}

static int accumulate(bool add)
{
    return add ? GEMM_ACCUMULATE : 0;
}

static void linear_bwd(ctx *c, const tape_record *r)
{
    tensor *x = r->in[0], *w = r->in[1], *b = r->in[2];
    int64_t m = rows_of(x), o = w->dim[0], i = w->dim[1];
    const real *dy = r->out->grad;
    bool add_x = false, add_w = false, dropped = !x->data;
    real *dx = tensor_grad_write(c, x, &add_x), *dw = tensor_grad_write(c, w, &add_w), *db = tensor_grad(c, b);
    const real *values = dw ? tensor_values(c, x) : NULL;
    if (ctx_failed(c)) return;
    const int flags = c->gemm_flags | (r->out->narrow ? GEMM_NARROW_A : 0);
    if (dx)
        c->engine.gemm(dx, dy, w->data, NULL, m, i, o, o, i, i,
                       flags | accumulate(add_x) | (x->narrow ? GEMM_NARROW_C : 0));
    if (dw)
        c->engine.gemm(dw, dy, values, NULL, o, i, m, o, i, i,
                       flags | accumulate(add_w) | GEMM_TRANS_A | (x->narrow ? GEMM_NARROW_B : 0));
    if (db) c->engine.bias_bwd(db, dy, m, o, r->out->narrow ? NARROW : 0);
    if (dropped) tensor_drop(c, x);
}

static tensor *linear(ctx *c, tensor *x, tensor *w, tensor *b, bool in_branch)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(x->data && w->dim_count == 2 && x->dim[x->dim_count - 1] == w->dim[1], x, w);
    TENSOR_CHECK(!b || (b->dim_count == 1 && b->dim[0] == w->dim[0]), w, b);
    int64_t dim[TENSOR_DIM_MAX], m = rows_of(x), o = w->dim[0], i = w->dim[1];
    for (int d = 0; d < x->dim_count; d++) dim[d] = x->dim[d];
    dim[x->dim_count - 1] = o;
    tensor *y = tensor_new_result(c, x->dim_count, dim, in_branch && tensor_branch_is_narrow(c));
    if (!y) return NULL;
    c->engine.gemm(y->data, x->data, w->data, b ? b->data : NULL, m, o, i, i, i, o,
                   GEMM_TRANS_B | c->gemm_flags | (x->narrow ? GEMM_NARROW_A : 0) | (y->narrow ? GEMM_NARROW_C : 0));
    tensor *in[] = {x, w, b};
    if (tape_wants(c, y, in, 3)) tape_push(c, linear_bwd, y, in, 3, NULL, 0);
    return y;
}

tensor *op_linear(ctx *c, tensor *x, tensor *w, tensor *b)
{
    return linear(c, x, w, b, false);
}

tensor *op_linear_branch(ctx *c, tensor *x, tensor *w, tensor *b)
{
    return linear(c, x, w, b, true);
}
