#include "op/conv.h"

static int accumulate(bool add)
{
    return add ? GEMM_ACCUMULATE : 0;
}

/* How a weight is kept. */
static int kept(const tensor *w)
{
    return w->narrow ? GEMM_NARROW_B : 0;
}

static void conv2d_bwd(ctx *c, const tape_record *r)
{
    const window_sizes z = *(const window_sizes *)r->saved;
    tensor *x = r->in[0], *w = r->in[1], *bias = r->in[2];
    const int64_t o = w->dim[0];
    const real *dy = r->out->grad;
    bool add_x = false, add_w = false;
    real *dx = tensor_grad_write(c, x, &add_x), *dw = tensor_grad_write(c, w, &add_w), *db = tensor_grad(c, bias);
    if (ctx_failed(c)) return;
    const int flags_x = c->gemm_flags | accumulate(add_x) | (x->narrow ? GEMM_NARROW_C : 0) | kept(w);
    if (dx) c->engine.conv_bwd_x(dx, dy, w->data, z, o, flags_x);
    const int flags_w = c->gemm_flags | accumulate(add_w) | (x->narrow ? GEMM_NARROW_B : 0);
    if (dw) c->engine.conv_bwd_w(dw, dy, x->data, z, o, flags_w);
    if (db) c->engine.bias_bwd(db, dy, z.n * z.out_h * z.out_w, o, 0);
}

tensor *op_conv2d(ctx *c, tensor *x, tensor *w, tensor *bias, int64_t stride, int64_t pad)
{
    return op_conv2d_pads(c, x, w, bias, stride, pad, pad);
}

tensor *op_conv2d_pads(ctx *c, tensor *x, tensor *w, tensor *bias, int64_t stride, int64_t pad_h, int64_t pad_w)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(x->dim_count == 4 && w->dim_count == 4 && w->dim[3] == x->dim[3], x, w);
    TENSOR_CHECK(x->dim[1] + 2 * pad_h >= w->dim[1] && x->dim[2] + 2 * pad_w >= w->dim[2], x, w);
    TENSOR_CHECK(!bias || (bias->dim_count == 1 && bias->dim[0] == w->dim[0]), w, bias);
    const int64_t o = w->dim[0];
    window_sizes z = {.n = x->dim[0], .h = x->dim[1], .w = x->dim[2], .c = x->dim[3]};
    z.side_h = w->dim[1];
    z.side_w = w->dim[2];
    z.stride = stride;
    z.pad_h = pad_h;
    z.pad_w = pad_w;
    z.out_h = (z.h + 2 * pad_h - z.side_h) / stride + 1;
    z.out_w = (z.w + 2 * pad_w - z.side_w) / stride + 1;
    tensor *y = tensor_new(c, &c->step, 4, (int64_t[]){z.n, z.out_h, z.out_w, o});
    if (!y) return NULL;
    const int flags = c->gemm_flags | (x->narrow ? GEMM_NARROW_A : 0) | kept(w);
    c->engine.conv_fwd(y->data, x->data, w->data, bias ? bias->data : NULL, z, o, flags);
    tensor *in[] = {x, w, bias};
    if (tape_wants(c, y, in, 3)) tape_push(c, conv2d_bwd, y, in, 3, &z, sizeof z);
    return y;
}

static void max_pool_bwd(ctx *c, const tape_record *r)
{
    const window_sizes *z = r->saved;
    real *dx = tensor_grad(c, r->in[0]);
    if (dx) c->engine.max_pool_bwd(dx, r->out->grad, r->in[0]->data, *z);
}

tensor *op_max_pool(ctx *c, tensor *x, int64_t side, int64_t stride, int64_t pad)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(x->dim_count == 4 && side <= x->dim[1] && side <= x->dim[2], x);
    TENSOR_CHECK(stride + pad <= side, x); /* every window holds a pixel */
    window_sizes z = {.n = x->dim[0], .h = x->dim[1], .w = x->dim[2], .c = x->dim[3]};
    z.side_h = z.side_w = side;
    z.stride = stride;
    z.pad_h = z.pad_w = pad;
    z.out_h = (z.h + 2 * pad - side + stride - 1) / stride + 1;
    z.out_w = (z.w + 2 * pad - side + stride - 1) / stride + 1;
    tensor *y = tensor_new(c, &c->step, 4, (int64_t[]){z.n, z.out_h, z.out_w, z.c});
    if (!y) return NULL;
    c->engine.max_pool_fwd(y->data, x->data, z);
    if (tape_wants(c, y, &x, 1)) tape_push(c, max_pool_bwd, y, &x, 1, &z, sizeof z);
    return y;
}

static void average_pool_bwd(ctx *c, const tape_record *r)
{
    real *dx = tensor_grad(c, r->in[0]);
    if (dx) c->engine.average_pool_bwd(dx, r->out->grad, *(const window_sizes *)r->saved);
}

tensor *op_average_pool(ctx *c, tensor *x, int64_t side)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(x->dim_count == 4 && side % 2 == 1, x);
    window_sizes z = {.n = x->dim[0], .h = x->dim[1], .w = x->dim[2], .c = x->dim[3]};
    z.side_h = z.side_w = side;
    z.stride = 1;
    z.pad_h = z.pad_w = side / 2;
    z.out_h = z.h;
    z.out_w = z.w;
    tensor *y = tensor_new(c, &c->step, 4, x->dim);
    if (!y) return NULL;
    c->engine.average_pool_fwd(y->data, x->data, z);
    if (tape_wants(c, y, &x, 1)) tape_push(c, average_pool_bwd, y, &x, 1, &z, sizeof z);
    return y;
}

static void depthwise_bwd(ctx *c, const tape_record *r)
{
    const window_sizes *z = r->saved;
    const tensor *x = r->in[0], *w = r->in[1];
    real *dx = tensor_grad(c, r->in[0]), *dw = tensor_grad(c, r->in[1]), *db = tensor_grad(c, r->in[2]);
    if (ctx_failed(c)) return;
    c->engine.depthwise_bwd(dx, dw, r->out->grad, x->data, w->data, *z);
    if (db) c->engine.bias_bwd(db, r->out->grad, z->n * z->out_h * z->out_w, z->c, 0);
}

tensor *op_depthwise(ctx *c, tensor *x, tensor *w, tensor *bias, int64_t stride, int64_t pad)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(x->dim_count == 4 && w->dim_count == 3 && w->dim[2] == x->dim[3], x, w);
    TENSOR_CHECK(x->dim[1] + 2 * pad >= w->dim[0] && x->dim[2] + 2 * pad >= w->dim[1], x, w);
    TENSOR_CHECK(!bias || (bias->dim_count == 1 && bias->dim[0] == w->dim[2]), w, bias);
    window_sizes z = {.n = x->dim[0], .h = x->dim[1], .w = x->dim[2], .c = x->dim[3]};
    z.side_h = w->dim[0];
    z.side_w = w->dim[1];
    z.stride = stride;
    z.pad_h = z.pad_w = pad;
    z.out_h = (z.h + 2 * pad - z.side_h) / stride + 1;
    z.out_w = (z.w + 2 * pad - z.side_w) / stride + 1;
    tensor *in[] = {x, w, bias}, *y = tensor_new(c, &c->step, 4, (int64_t[]){z.n, z.out_h, z.out_w, z.c});
    if (!y) return NULL;
    c->engine.depthwise_fwd(y->data, x->data, w->data, bias ? bias->data : NULL, z);
    if (tape_wants(c, y, in, 3)) tape_push(c, depthwise_bwd, y, in, 3, &z, sizeof z);
    return y;
}

static void relu_bwd(ctx *c, const tape_record *r)
{
    real *dx = tensor_grad(c, r->in[0]);
    if (dx) c->engine.relu_bwd(dx, r->out->grad, r->in[0]->data, tensor_count(r->out));
}

tensor *op_relu(ctx *c, tensor *x)
{
    if (ctx_failed(c)) return NULL;
    tensor *y = tensor_new(c, &c->step, x->dim_count, x->dim);
    if (!y) return NULL;
    c->engine.relu_fwd(y->data, x->data, tensor_count(y));
    if (tape_wants(c, y, &x, 1)) tape_push(c, relu_bwd, y, &x, 1, NULL, 0);
    return y;
}
