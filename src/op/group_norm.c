/* Group norm; the formulas stand in cpu/group_norm.c. */
#include "op/conv.h"
#include "op/op.h"

typedef struct group_norm_saved {
    group_sizes sizes;
    real epsilon;
    real *mean, *rstd; /* [N,C] */
} group_norm_saved;

/* From the gradient of the norm's result. */
static void add_gradients(ctx *c, tensor *const in[3], const real *dy, const group_norm_saved *s)
{
    real *dx = tensor_grad(c, in[0]), *dweight = tensor_grad(c, in[1]), *dbias = tensor_grad(c, in[2]);
    const arena_place mark = arena_mark(&c->scratch);
    real *room = numbers_alloc(c, &c->scratch, (size_t)(2 * s->sizes.n * s->sizes.c) * sizeof *room);
    if (ctx_failed(c)) return;
    c->engine.group_norm_bwd(dx, dweight, dbias, room, dy, in[0]->data, s->mean, s->rstd, in[1]->data, s->sizes);
    arena_release(&c->scratch, mark);
}

static void group_norm_bwd(ctx *c, const tape_record *r)
{
    add_gradients(c, r->in, r->out->grad, r->saved);
}

/* Where the statistics of a pass that is recorded stay; scratch otherwise. */
static group_norm_saved new_statistics(ctx *c, tensor *const in[3], int64_t groups, real epsilon)
{
    const tensor *x = in[0];
    const int64_t n = x->dim[0], channels = x->dim[x->dim_count - 1], count = n * channels;
    TENSOR_CHECK(x->dim_count >= 3 && channels % groups == 0, x);
    TENSOR_CHECK(tensor_count(in[1]) == channels && tensor_count(in[2]) == channels, x, in[1], in[2]);
    group_norm_saved s = {.sizes = {n, tensor_count(x) / count, channels, groups}, .epsilon = epsilon};
    s.mean = numbers_alloc(c, tape_records(c, in, 3) ? &c->step : &c->scratch, 2 * (size_t)count * sizeof *s.mean);
    if (s.mean) s.rstd = s.mean + count;
    return s;
}

static void normalise(ctx *c, real *y, tensor *const in[3], const group_norm_saved *s)
{
    const arena_place mark = arena_mark(&c->scratch);
    real *factor = numbers_alloc(c, &c->scratch, (size_t)(s->sizes.n * s->sizes.c) * sizeof *factor);
    if (ctx_failed(c)) return;
    c->engine.group_norm_fwd(y, s->mean, s->rstd, factor, in[0]->data, in[1]->data, in[2]->data, s->sizes, s->epsilon);
    arena_release(&c->scratch, mark);
}

tensor *op_group_norm(ctx *c, tensor *x, tensor *weight, tensor *bias, int64_t groups, real epsilon)
{
    if (ctx_failed(c)) return NULL;
    tensor *in[] = {x, weight, bias}, *y = tensor_new(c, &c->step, x->dim_count, x->dim);
    const arena_place mark = arena_mark(&c->scratch);
    const group_norm_saved s = new_statistics(c, in, groups, epsilon);
    if (ctx_failed(c)) return NULL;
    normalise(c, y->data, in, &s);
    arena_release(&c->scratch, mark);
    if (tape_wants(c, y, in, 3)) tape_push(c, group_norm_bwd, y, in, 3, &s, sizeof s);
    return y;
}

static real *scratch_like(ctx *c, const tensor *x)
{
    return numbers_alloc(c, &c->scratch, (size_t)tensor_count(x) * sizeof(real));
}

/* The gradient of the norm's result takes its place. */
static void group_norm_silu_bwd(ctx *c, const tape_record *r)
{
    const group_norm_saved *s = r->saved;
    const arena_place mark = arena_mark(&c->scratch);
    real *normed = scratch_like(c, r->out);
    if (ctx_failed(c)) return;
    normalise(c, normed, r->in, s);
    if (ctx_failed(c)) return;
    c->engine.silu_bwd(normed, r->out->grad, normed, tensor_count(r->out), false, NARROW);
    add_gradients(c, r->in, normed, s);
    arena_release(&c->scratch, mark);
}

tensor *op_group_norm_silu(ctx *c, tensor *x, tensor *weight, tensor *bias, int64_t groups, real epsilon)
{
    if (ctx_failed(c)) return NULL;
    if (!tensor_branch_is_narrow(c, x->dim[x->dim_count - 1]))
        return op_silu(c, op_group_norm(c, x, weight, bias, groups, epsilon));
    tensor *in[] = {x, weight, bias}, *y = tensor_new_result(c, x->dim_count, x->dim, true);
    const arena_place mark = arena_mark(&c->scratch);
    const group_norm_saved s = new_statistics(c, in, groups, epsilon);
    real *normed = scratch_like(c, x);
    if (ctx_failed(c)) return NULL;
    normalise(c, normed, in, &s);
    c->engine.silu_fwd(y->data, normed, tensor_count(y), NARROW);
    arena_release(&c->scratch, mark);
    if (tape_wants(c, y, in, 3)) tape_push(c, group_norm_silu_bwd, y, in, 3, &s, sizeof s);
    return y;
}
