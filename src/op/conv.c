/* With the windows of x as rows of a matrix, a convolution is a linear map: y = cols W^T + b, dcols = dy W,
 * dW = dy^T cols, and dx collects dcols back into the image. The rows of a few images at a time are made in scratch, in
 * the forward pass and again in the backward pass: kept, they would be side_h * side_w times the image. */
#include "op/conv.h"

enum { COLS_MAX = 1 << 20 }; /* values of scratch for rows, unless one image alone needs more */

static bool is_plain(window_sizes z)
{
    return z.side_h == 1 && z.side_w == 1 && z.stride == 1 && z.pad_h == 0 &&
           z.pad_w == 0; /* rows are the pixels themselves */
}

/* The sizes of the next chunk of images. Chunks do not depend on the number of threads, because the weight gradient is
 * summed over them in order. */
static window_sizes chunk_of(window_sizes z, int64_t first)
{
    int64_t image = z.out_h * z.out_w * z.side_h * z.side_w * z.c;
    int64_t count = is_plain(z) ? z.n : image < COLS_MAX ? COLS_MAX / image : 1;
    z.n = count < z.n - first ? count : z.n - first;
    return z;
}

typedef struct chunk {
    window_sizes z;
    int64_t in, out; /* where its images start in x and y */
    int64_t rows, k; /* shape of its matrix of windows */
} chunk;

/* Splits images from `first` on; false at the end. `channels` is that of y. */
static bool next_chunk(chunk *part, int64_t *first, window_sizes z, int64_t channels)
{
    if (*first == z.n) return false;
    *part = (chunk){.z = chunk_of(z, *first), .k = z.side_h * z.side_w * z.c};
    part->in = *first * z.h * z.w * z.c;
    part->out = *first * z.out_h * z.out_w * channels;
    part->rows = part->z.n * z.out_h * z.out_w;
    *first += part->z.n;
    return true;
}

static real *cols_alloc(ctx *c, window_sizes z)
{
    window_sizes most = chunk_of(z, 0);
    size_t count = is_plain(z) ? 0 : (size_t)(most.n * z.out_h * z.out_w * z.side_h * z.side_w * z.c);
    return numbers_alloc(c, &c->scratch, count * sizeof(real));
}

static const real *fill_cols(const ctx *c, real *cols, const tensor *x, chunk part)
{
    if (is_plain(part.z)) return x->data + part.in;
    c->engine.im2col_fwd(cols, x->data + part.in, part.z);
    return cols;
}

static void conv_data_bwd(ctx *c, real *dx, real *cols, const real *dy, const real *w, chunk part, int64_t o)
{
    bool plain = is_plain(part.z);
    int flags = c->gemm_flags | (plain ? GEMM_ACCUMULATE : 0);
    c->engine.gemm(plain ? dx : cols, dy, w, NULL, part.rows, part.k, o, o, part.k, part.k, flags);
    if (!plain) c->engine.im2col_bwd(dx, cols, part.z);
}

static void conv2d_bwd(ctx *c, const tape_record *r)
{
    const window_sizes *z = r->saved;
    tensor *x = r->in[0], *w = r->in[1], *bias = r->in[2];
    real *dx = tensor_grad(c, x), *dw = tensor_grad(c, w), *db = tensor_grad(c, bias);
    const arena_place mark = arena_mark(&c->scratch);
    real *cols = cols_alloc(c, *z);
    if (ctx_failed(c)) return;
    chunk part;
    const int64_t o = w->dim[0];
    for (int64_t first = 0; next_chunk(&part, &first, *z, o);) {
        const real *dy = r->out->grad + part.out;
        if (db) c->engine.bias_bwd(db, dy, part.rows, o, 0);
        if (dw) {
            const real *rows = fill_cols(c, cols, x, part);
            c->engine.gemm(dw, dy, rows, NULL, o, part.k, part.rows, o, part.k, part.k,
                           GEMM_TRANS_A | GEMM_ACCUMULATE | c->gemm_flags);
        }
        if (dx) conv_data_bwd(c, dx + part.in, cols, dy, w->data, part, o);
    }
    arena_release(&c->scratch, mark);
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
    const arena_place mark = arena_mark(&c->scratch);
    real *cols = cols_alloc(c, z);
    if (ctx_failed(c)) return NULL;
    chunk part;
    for (int64_t first = 0; next_chunk(&part, &first, z, o);)
        c->engine.gemm(y->data + part.out, fill_cols(c, cols, x, part), w->data, bias ? bias->data : NULL, part.rows, o,
                       part.k, part.k, part.k, o, GEMM_TRANS_B | c->gemm_flags);
    arena_release(&c->scratch, mark);
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
