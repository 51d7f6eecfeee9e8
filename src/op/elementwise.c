/* Sums and activations, element by element. */
#include "op/conv.h"
#include "op/op.h"
#include "op/record.h"

static void add_bwd(ctx *c, const tape_record *r)
{
    real *db = tensor_grad(c, r->in[1]);
    if (db) c->engine.accumulate(db, r->out->grad, tensor_count(r->out));
    tensor_grad_pass(c, r->in[0], r->out);
}

tensor *op_add(ctx *c, tensor *a, tensor *b)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(tensor_count(a) == tensor_count(b), a, b);
    tensor *y = tensor_new(c, &c->step, a->dim_count, a->dim);
    if (!y) return NULL;
    c->engine.add_fwd(y->data, a->data, b->data, tensor_count(y));
    tensor *in[] = {a, b};
    if (tape_wants(c, y, in, 2)) tape_push(c, add_bwd, y, in, 2, NULL, 0);
    return y;
}

static void add_row_bwd(ctx *c, const tape_record *r)
{
    tensor_grad_pass(c, r->in[0], r->out);
}

tensor *op_add_row(ctx *c, tensor *x, const tensor *r)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(tensor_count(x) == tensor_count(r) * x->dim[0], x, r);
    tensor *y = tensor_new(c, &c->step, x->dim_count, x->dim);
    if (!y) return NULL;
    c->engine.add_row_fwd(y->data, x->data, r->data, x->dim[0], tensor_count(r));
    if (tape_wants(c, y, &x, 1)) tape_push(c, add_row_bwd, y, &x, 1, NULL, 0);
    return y;
}

/* y = x + e at every position;  de = the sum of dy over a sample's positions */
static void add_channels_bwd(ctx *c, const tape_record *r)
{
    const tensor *e = r->in[1];
    const int64_t n = e->dim[0], channels = e->dim[1], sample = tensor_count(r->out) / n;
    real *de = tensor_grad(c, r->in[1]);
    for (int64_t i = 0; de && i < n; i++)
        c->engine.bias_bwd(de + i * channels, r->out->grad + i * sample, sample / channels, channels, 0);
    tensor_grad_pass(c, r->in[0], r->out);
}

tensor *op_add_channels(ctx *c, tensor *x, tensor *e)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(e->dim_count == 2 && e->dim[0] == x->dim[0] && e->dim[1] == x->dim[x->dim_count - 1], x, e);
    const int64_t n = e->dim[0], channels = e->dim[1], sample = tensor_count(x) / n;
    tensor *in[] = {x, e}, *y = tensor_new(c, &c->step, x->dim_count, x->dim);
    if (!y) return NULL;
    for (int64_t i = 0; i < n; i++)
        c->engine.add_row_fwd(y->data + i * sample, x->data + i * sample, e->data + i * channels, sample / channels,
                              channels);
    if (tape_wants(c, y, in, 2)) tape_push(c, add_channels_bwd, y, in, 2, NULL, 0);
    return y;
}

/* y = x sigmoid(x);  dx = dy sigmoid(x) (1 + x (1 - sigmoid(x))), in dy's own memory where x has no gradient yet */
static void silu_bwd(ctx *c, const tape_record *r)
{
    tensor *x = r->in[0];
    const real *dy = r->out->grad;
    const bool add = !tensor_grad_take(x, r->out);
    c->engine.silu_bwd(x->grad, dy, x->data, tensor_count(x), add, 0);
}

tensor *op_silu(ctx *c, tensor *x)
{
    if (ctx_failed(c)) return NULL;
    tensor *y = tensor_new(c, &c->step, x->dim_count, x->dim);
    if (!y) return NULL;
    c->engine.silu_fwd(y->data, x->data, tensor_count(y), 0);
    if (tape_wants(c, y, &x, 1)) tape_push(c, silu_bwd, y, &x, 1, NULL, 0);
    return y;
}

/* y = x/2 (1 + tanh u), u = sqrt(2/pi) (x + 0.044715 x^3);  dx = dy ((1 + tanh u)/2 + x/2 (1 - tanh^2 u) u'),
 * in the same way */
static void gelu_bwd(ctx *c, const tape_record *r)
{
    tensor *x = r->in[0];
    const real *dy = r->out->grad;
    const bool add = !tensor_grad_take(x, r->out);
    c->engine.gelu_bwd(x->grad, dy, x->data, tensor_count(x), add, x->narrow ? NARROW : 0);
}

static void gelu(ctx *c, tensor *y, const tensor *x)
{
    c->engine.gelu_fwd(y->data, x->data, tensor_count(y), x->narrow ? NARROW : 0);
}

static void gelu_remake(ctx *c, const tape_record *r)
{
    gelu(c, r->out, r->in[0]);
}

void gelu_record(ctx *c, tensor *y, tensor *x)
{
    if (!tape_wants(c, y, &x, 1)) return;
    tape_push(c, gelu_bwd, y, &x, 1, NULL, 0);
    tape_remake(c, gelu_remake);
}

tensor *op_gelu(ctx *c, tensor *x)
{
    if (ctx_failed(c)) return NULL;
    tensor *y = tensor_new_droppable(c, x->dim_count, x->dim, x->narrow, tape_records(c, &x, 1));
    if (!y) return NULL;
    gelu(c, y, x);
    gelu_record(c, y, x);
    return y;
}

/* y = x sigmoid(k x), k = 1.702;  dx = dy s (1 + k x (1 - s)) with s = sigmoid(k x), in the same way */
static void quick_gelu_bwd(ctx *c, const tape_record *r)
{
    tensor *x = r->in[0];
    const real *dy = r->out->grad;
    const bool add = !tensor_grad_take(x, r->out);
    c->engine.quick_gelu_bwd(x->grad, dy, x->data, tensor_count(x), add, x->narrow ? NARROW : 0);
}

static void quick_gelu_remake(ctx *c, const tape_record *r)
{
    const tensor *x = r->in[0];
    c->engine.quick_gelu_fwd(r->out->data, x->data, tensor_count(x), x->narrow ? NARROW : 0);
}

tensor *op_quick_gelu(ctx *c, tensor *x)
{
    if (ctx_failed(c)) return NULL;
    tensor *y = tensor_new_droppable(c, x->dim_count, x->dim, x->narrow, tape_records(c, &x, 1));
    if (!y) return NULL;
    c->engine.quick_gelu_fwd(y->data, x->data, tensor_count(x), x->narrow ? NARROW : 0);
    if (!tape_wants(c, y, &x, 1)) return y;
    tape_push(c, quick_gelu_bwd, y, &x, 1, NULL, 0);
    tape_remake(c, quick_gelu_remake);
    return y;
}

/* y = x F(x), F the normal distribution function;  dx = dy (F(x) + x F'(x)), in the same way */
static void exact_gelu_bwd(ctx *c, const tape_record *r)
{
    tensor *x = r->in[0];
    const real *dy = r->out->grad;
    const bool add = !tensor_grad_take(x, r->out);
    c->engine.exact_gelu_bwd(x->grad, dy, x->data, tensor_count(x), add, x->narrow ? NARROW : 0);
}

static void exact_gelu_remake(ctx *c, const tape_record *r)
{
    const tensor *x = r->in[0];
    c->engine.exact_gelu_fwd(r->out->data, x->data, tensor_count(x), x->narrow ? NARROW : 0);
}

tensor *op_exact_gelu(ctx *c, tensor *x)
{
    if (ctx_failed(c)) return NULL;
    tensor *y = tensor_new_droppable(c, x->dim_count, x->dim, x->narrow, tape_records(c, &x, 1));
    if (!y) return NULL;
    c->engine.exact_gelu_fwd(y->data, x->data, tensor_count(x), x->narrow ? NARROW : 0);
    if (!tape_wants(c, y, &x, 1)) return y;
    tape_push(c, exact_gelu_bwd, y, &x, 1, NULL, 0);
    tape_remake(c, exact_gelu_remake);
    return y;
}

/* y = a b F(b);  da = dy b F(b),  db = dy a (F(b) + b F'(b)) */
static void geglu_bwd(ctx *c, const tape_record *r)
{
    const int64_t d = r->out->dim[r->out->dim_count - 1];
    tensor *x = r->in[0];
    bool add = false;
    real *dx = tensor_grad_write(c, x, &add);
    if (dx) c->engine.geglu_bwd(dx, r->out->grad, x->data, tensor_count(r->out) / d, d, add, x->narrow ? NARROW : 0);
}

static void geglu(ctx *c, tensor *y, const tensor *x)
{
    const int64_t d = y->dim[y->dim_count - 1];
    c->engine.geglu_fwd(y->data, x->data, tensor_count(y) / d, d, x->narrow ? NARROW : 0);
}

static void geglu_remake(ctx *c, const tape_record *r)
{
    geglu(c, r->out, r->in[0]);
}

tensor *op_geglu(ctx *c, tensor *x)
{
    if (ctx_failed(c)) return NULL;
    const int last = x->dim_count - 1;
    int64_t dim[TENSOR_DIM_MAX];
    TENSOR_CHECK(x->dim[last] % (x->narrow ? 16 : 2) == 0, x);
    for (int d = 0; d <= last; d++) dim[d] = d < last ? x->dim[d] : x->dim[d] / 2;
    tensor *y = tensor_new_droppable(c, x->dim_count, dim, x->narrow, tape_records(c, &x, 1));
    if (!y) return NULL;
    geglu(c, y, x);
    if (!tape_wants(c, y, &x, 1)) return y;
    tape_push(c, geglu_bwd, y, &x, 1, NULL, 0);
    tape_remake(c, geglu_remake);
    return y;
}

/* y = limit tanh(x / limit);  dx = dy (1 - tanh(x / limit)^2) */
static void soft_clamp_bwd(ctx *c, const tape_record *r)
{
    const real *limit = r->saved;
    real *dx = tensor_grad(c, r->in[0]);
    if (dx) c->engine.soft_clamp_bwd(dx, r->out->grad, r->in[0]->data, *limit, tensor_count(r->out));
}

tensor *op_soft_clamp(ctx *c, tensor *x, real limit)
{
    if (ctx_failed(c)) return NULL;
    tensor *y = tensor_new(c, &c->step, x->dim_count, x->dim);
    if (!y) return NULL;
    c->engine.soft_clamp_fwd(y->data, x->data, limit, tensor_count(x));
    if (tape_wants(c, y, &x, 1)) tape_push(c, soft_clamp_bwd, y, &x, 1, &limit, sizeof limit);
    return y;
}
