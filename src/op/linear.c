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
    if (dx) c->engine.gemm(dx, dy, w->data, NULL, m, i, o, o, i, i, accumulate(add_x) | c->gemm_flags);
    if (dw) c->engine.gemm(dw, dy, values, NULL, o, i, m, o, i, i, accumulate(add_w) | GEMM_TRANS_A | c->gemm_flags);
    if (db) c->engine.bias_bwd(db, dy, m, o);
    if (dropped) tensor_drop(c, x);
}

tensor *op_linear(ctx *c, tensor *x, tensor *w, tensor *b)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(x->data && w->dim_count == 2 && x->dim[x->dim_count - 1] == w->dim[1], x, w);
    TENSOR_CHECK(!b || (b->dim_count == 1 && b->dim[0] == w->dim[0]), w, b);
    int64_t dim[TENSOR_DIM_MAX], m = rows_of(x), o = w->dim[0], i = w->dim[1];
    for (int d = 0; d < x->dim_count; d++) dim[d] = x->dim[d];
    dim[x->dim_count - 1] = o;
    tensor *y = tensor_new(c, &c->step, x->dim_count, dim);
    if (!y) return NULL;
    c->engine.gemm(y->data, x->data, w->data, b ? b->data : NULL, m, o, i, i, i, o, GEMM_TRANS_B | c->gemm_flags);
    tensor *in[] = {x, w, b};
    if (tape_wants(c, y, in, 3)) tape_push(c, linear_bwd, y, in, 3, NULL, 0);
    return y;
}
