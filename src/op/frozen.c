#include "op/frozen.h"

/* A gradient that would be lost is our own bug. */
static void refuse_record(const ctx *c, const tensor *x)
{
    TENSOR_CHECK(!(c->recording && x->need_grad), x);
}

tensor *frozen_group_norm(ctx *c, tensor *x, const tensor *weight, const tensor *bias, int64_t groups, real epsilon)
{
    if (ctx_failed(c)) return NULL;
    refuse_record(c, x);
    TENSOR_CHECK(x->dim_count == 4 && x->dim[3] % groups == 0, x);
    TENSOR_CHECK(tensor_count(weight) == x->dim[3] && tensor_count(bias) == x->dim[3], x, weight, bias);
    group_sizes z = {x->dim[0], x->dim[1] * x->dim[2], x->dim[3], groups};
    tensor *y = tensor_new(c, &c->step, 4, x->dim);
    const arena_place mark = arena_mark(&c->scratch);
    real *mean = numbers_alloc(c, &c->scratch, (size_t)(2 * z.n * z.c) * sizeof *mean);
    if (ctx_failed(c)) return NULL;
    c->engine.group_norm_fwd(y->data, mean, mean + z.n * z.c, x->data, weight->data, bias->data, z, epsilon);
    arena_release(&c->scratch, mark);
    return y;
}

tensor *frozen_average_pool(ctx *c, tensor *x, int64_t side)
{
    if (ctx_failed(c)) return NULL;
    refuse_record(c, x);
    TENSOR_CHECK(x->dim_count == 4 && side % 2 == 1, x);
    window_sizes z = {.n = x->dim[0], .h = x->dim[1], .w = x->dim[2], .c = x->dim[3]};
    z.side_h = z.side_w = side;
    z.stride = 1;
    z.pad_h = z.pad_w = side / 2;
    z.out_h = z.h;
    z.out_w = z.w;
    tensor *y = tensor_new(c, &c->step, 4, x->dim);
    if (y) c->engine.average_pool_fwd(y->data, x->data, z);
    return y;
}

tensor *frozen_upsample(ctx *c, tensor *x)
{
    if (ctx_failed(c)) return NULL;
    refuse_record(c, x);
    TENSOR_CHECK(x->dim_count == 4, x);
    tensor *y = tensor_new(c, &c->step, 4, (int64_t[]){x->dim[0], 2 * x->dim[1], 2 * x->dim[2], x->dim[3]});
    if (y) c->engine.upsample_fwd(y->data, x->data, x->dim[0], x->dim[1], x->dim[2], x->dim[3]);
    return y;
}

tensor *frozen_pad_end(ctx *c, tensor *x)
{
    if (ctx_failed(c)) return NULL;
    refuse_record(c, x);
    TENSOR_CHECK(x->dim_count == 4, x);
    tensor *y = tensor_new(c, &c->step, 4, (int64_t[]){x->dim[0], x->dim[1] + 1, x->dim[2] + 1, x->dim[3]});
    if (y) c->engine.pad_end_fwd(y->data, x->data, x->dim[0], x->dim[1], x->dim[2], x->dim[3]);
    return y;
}

tensor *frozen_soft_clamp(ctx *c, tensor *x, real limit)
{
    if (ctx_failed(c)) return NULL;
    refuse_record(c, x);
    tensor *y = tensor_new(c, &c->step, x->dim_count, x->dim);
    if (y) c->engine.soft_clamp_fwd(y->data, x->data, limit, tensor_count(x));
    return y;
}
