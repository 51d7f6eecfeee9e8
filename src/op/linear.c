/* y = x W^T + b;  dx = dy W,  dW = dy^T x,  db = column sums of dy. */
#include "op/op.h"
#include "op/record.h"

static int64_t rows_of(const tensor *t)
{
    return tensor_count(t) / t->dim[t->dim_count - 1];
}

static int accumulate(bool add)
{
    return add ? GEMM_ACCUMULATE : 0;
}

/* The numbers of a weight for a product of bfloat16 operands, and the flag that says how they are kept. */
static const real *operand(const ctx *c, const tensor *w, int narrow_flag, int *flags)
{
    if (!w) return NULL;
    if (w->narrow) {
        *flags |= narrow_flag;
        return w->data;
    }
    if (!w->narrow_copy || !(c->gemm_flags & GEMM_BF16)) return w->data;
    *flags |= narrow_flag;
    return w->narrow_copy;
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
    int flags_x = flags | accumulate(add_x) | (x->narrow ? GEMM_NARROW_C : 0);
    const real *weights = operand(c, w, GEMM_NARROW_B, &flags_x);
    if (dx) c->engine.gemm(dx, dy, weights, NULL, m, i, o, o, i, i, flags_x);
    if (dw)
        c->engine.gemm(dw, dy, values, NULL, o, i, m, o, i, i,
                       flags | accumulate(add_w) | GEMM_TRANS_A | (x->narrow ? GEMM_NARROW_B : 0));
    if (db) c->engine.bias_bwd(db, dy, m, o, r->out->narrow ? NARROW : 0);
    if (dropped) tensor_drop(c, x);
}

/* Checked shapes; `dim` receives those of the result. */
static void shape_of(int64_t dim[TENSOR_DIM_MAX], const tensor *x, const tensor *w, const tensor *b)
{
    TENSOR_CHECK(x->data && w->dim_count == 2 && x->dim[x->dim_count - 1] == w->dim[1], x, w);
    TENSOR_CHECK(!b || (b->dim_count == 1 && b->dim[0] == w->dim[0]), w, b);
    for (int d = 0; d < x->dim_count; d++) dim[d] = x->dim[d];
    dim[x->dim_count - 1] = w->dim[0];
}

static void record(ctx *c, tensor *y, tensor *const in[3])
{
    if (tape_wants(c, y, in, 3)) tape_push(c, linear_bwd, y, in, 3, NULL, 0);
}

static tensor *linear(ctx *c, tensor *x, tensor *w, tensor *b, bool in_branch)
{
    if (ctx_failed(c)) return NULL;
    int64_t dim[TENSOR_DIM_MAX], m = rows_of(x), o = w->dim[0], i = w->dim[1];
    shape_of(dim, x, w, b);
    tensor *y = tensor_new_result(c, x->dim_count, dim, in_branch && tensor_branch_is_narrow(c, o));
    if (!y) return NULL;
    int flags = GEMM_TRANS_B | c->gemm_flags | (x->narrow ? GEMM_NARROW_A : 0) | (y->narrow ? GEMM_NARROW_C : 0);
    const real *weights = operand(c, w, GEMM_NARROW_B, &flags);
    const real *bias = y->narrow ? operand(c, b, GEMM_NARROW_BIAS, &flags) : b ? b->data : NULL;
    c->engine.gemm(y->data, x->data, weights, bias, m, o, i, i, i, o, flags);
    record(c, y, (tensor *[]){x, w, b});
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

/* The two products' inputs first: the gradient of the sum may become that of y. */
static void linear_add_bwd(ctx *c, const tape_record *r)
{
    const tape_record product = {.out = r->out, .in = {r->in[1], r->in[2]}};
    linear_bwd(c, &product);
    if (!ctx_failed(c)) tensor_grad_pass(c, r->in[0], r->out);
}

tensor *op_linear_add(ctx *c, tensor *y, tensor *x, tensor *w)
{
    if (ctx_failed(c)) return NULL;
    int64_t dim[TENSOR_DIM_MAX], o = w->dim[0], i = w->dim[1];
    shape_of(dim, x, w, NULL);
    TENSOR_CHECK(tensor_count(y) == rows_of(x) * o && y->dim[y->dim_count - 1] == o, y, x, w);
    tensor *sum = tensor_header(c, &c->step, y->dim_count, y->dim);
    if (!sum) return NULL;
    sum->data = y->data;
    sum->narrow = y->narrow;
    int flags = GEMM_TRANS_B | GEMM_ACCUMULATE | c->gemm_flags | (x->narrow ? GEMM_NARROW_A : 0) |
                (y->narrow ? GEMM_NARROW_C : 0);
    const real *weights = operand(c, w, GEMM_NARROW_B, &flags);
    c->engine.gemm(sum->data, x->data, weights, NULL, rows_of(x), o, i, i, i, o, flags);
    tensor *in[] = {y, x, w};
    if (tape_wants(c, sum, in, 3)) tape_push(c, linear_add_bwd, sum, in, 3, NULL, 0);
    return sum;
}

/* Both kernels in one: what gelu is taken of is made for a pass back only. */
static tensor *fused_gelu(ctx *c, tensor *x, tensor *w, tensor *b, const int64_t dim[])
{
    tensor *in[] = {x, w, b};
    const bool recorded = tape_records(c, in, 3);
    tensor *u = recorded ? tensor_new_result(c, x->dim_count, dim, true) : NULL;
    tensor *y = tensor_new_droppable(c, x->dim_count, dim, true, recorded);
    if (!y || (recorded && !u)) return NULL;
    int flags = c->gemm_flags;
    const real *weights = operand(c, w, GEMM_NARROW_B, &flags), *bias = operand(c, b, GEMM_NARROW_BIAS, &flags);
    c->engine.gemm_gelu(y->data, u ? u->data : NULL, x->data, weights, bias, rows_of(x), w->dim[0], w->dim[1], flags);
    if (u) {
        record(c, u, in);
        gelu_record(c, y, u);
    } else {
        tape_wants(c, y, in, 3);
    }
    return y;
}

tensor *op_linear_gelu(ctx *c, tensor *x, tensor *w, tensor *b)
{
    if (ctx_failed(c)) return NULL;
    int64_t dim[TENSOR_DIM_MAX];
    shape_of(dim, x, w, b);
    if (x->narrow && b && tensor_branch_is_narrow(c, w->dim[0])) return fused_gelu(c, x, w, b, dim);
    return op_gelu(c, op_linear_branch(c, x, w, b));
}
