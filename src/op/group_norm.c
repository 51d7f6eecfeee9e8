/* Group norm; the formulas stand in cpu/group_norm.c. */
#include "op/conv.h"

typedef struct group_norm_saved {
    group_sizes sizes;
    real *mean, *rstd; /* [N,C] */
} group_norm_saved;

static void group_norm_bwd(ctx *c, const tape_record *r)
{
    const group_norm_saved *s = r->saved;
    const tensor *x = r->in[0], *weight = r->in[1];
    real *dx = tensor_grad(c, r->in[0]), *dweight = tensor_grad(c, r->in[1]), *dbias = tensor_grad(c, r->in[2]);
    const arena_place mark = arena_mark(&c->scratch);
    real *room = numbers_alloc(c, &c->scratch, (size_t)(2 * s->sizes.n * s->sizes.c) * sizeof *room);
    if (ctx_failed(c)) return;
    c->engine.group_norm_bwd(dx, dweight, dbias, room, r->out->grad, x->data, s->mean, s->rstd, weight->data, s->sizes);
    arena_release(&c->scratch, mark);
}

tensor *op_group_norm(ctx *c, tensor *x, tensor *weight, tensor *bias, int64_t groups, real epsilon)
{
    if (ctx_failed(c)) return NULL;
    const int64_t n = x->dim[0], channels = x->dim[x->dim_count - 1], count = n * channels;
    TENSOR_CHECK(x->dim_count >= 3 && channels % groups == 0, x);
    TENSOR_CHECK(tensor_count(weight) == channels && tensor_count(bias) == channels, x, weight, bias);
    tensor *in[] = {x, weight, bias}, *y = tensor_new(c, &c->step, x->dim_count, x->dim);
    group_norm_saved s = {.sizes = {n, tensor_count(x) / count, channels, groups}};
    const arena_place mark = arena_mark(&c->scratch);
    real *factor = numbers_alloc(c, &c->scratch, (size_t)count * sizeof *factor);
    s.mean = numbers_alloc(c, tape_records(c, in, 3) ? &c->step : &c->scratch, 2 * (size_t)count * sizeof *s.mean);
    if (ctx_failed(c)) return NULL;
    s.rstd = s.mean + count;
    c->engine.group_norm_fwd(y->data, s.mean, s.rstd, factor, x->data, weight->data, bias->data, s.sizes, epsilon);
    arena_release(&c->scratch, mark);
    if (tape_wants(c, y, in, 3)) tape_push(c, group_norm_bwd, y, in, 3, &s, sizeof s);
    return y;
}
