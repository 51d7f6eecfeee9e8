/* The two ends of an adaLN-Zero residual branch (Peebles and Xie 2023, section 3.2): normalise and modulate at its
 * start, gate and add at its end. Shift, scale and gate are slices of one packed tensor. And layer norm with weights of its
 * own (Ba et al. 2016). */
#include "op/op.h"

typedef struct norm_saved {
    modulation_sizes sizes;
    int shift, scale;
    real epsilon;
    real *mean, *rstd; /* [N*S] */
} norm_saved;

static modulation_sizes sizes_of(const tensor *x, const tensor *m)
{
    TENSOR_CHECK(x->dim_count == 3 && m->dim_count == 2 && m->dim[0] == x->dim[0] && m->dim[1] % x->dim[2] == 0, x, m);
    return (modulation_sizes){x->dim[0], x->dim[1], x->dim[2], m->dim[1]};
}

/* y = xhat (1 + scale) + shift; the derivation stands above the kernel in cpu/norm.c. */
static void norm_modulate_bwd(ctx *c, const tape_record *r)
{
    const norm_saved *s = r->saved;
    tensor *x = r->in[0], *m = r->in[1];
    c->engine.norm_modulate_bwd(tensor_grad(c, x), tensor_grad(c, m), r->out->grad, x->data, s->mean, s->rstd, m->data,
                                s->sizes, s->shift, s->scale, r->out->narrow ? NARROW : 0);
}

static void norm_modulate(ctx *c, tensor *y, const tensor *x, const tensor *m, const norm_saved *s)
{
    c->engine.norm_modulate_fwd(y->data, s->mean, s->rstd, x->data, m->data, s->sizes, s->shift, s->scale, s->epsilon,
                                y->narrow ? NARROW : 0);
}

static void norm_modulate_remake(ctx *c, const tape_record *r)
{
    norm_modulate(c, r->out, r->in[0], r->in[1], r->saved);
}

tensor *op_norm_modulate(ctx *c, tensor *x, tensor *m, int shift, int scale, real epsilon)
{
    if (ctx_failed(c)) return NULL;
    norm_saved s = {.sizes = sizes_of(x, m), .shift = shift, .scale = scale, .epsilon = epsilon};
    size_t bytes = (size_t)(s.sizes.n * s.sizes.s) * sizeof(real);
    tensor *in[] = {x, m};
    tensor *y =
        tensor_new_droppable(c, x->dim_count, x->dim, tensor_branch_is_narrow(c, x->dim[2]), tape_records(c, in, 2));
    s.mean = numbers_alloc(c, &c->step, bytes);
    s.rstd = numbers_alloc(c, &c->step, bytes);
    if (ctx_failed(c)) return NULL;
    norm_modulate(c, y, x, m, &s);
    if (!tape_wants(c, y, in, 2)) return y;
    tape_push(c, norm_modulate_bwd, y, in, 2, &s, sizeof s);
    tape_remake(c, norm_modulate_remake);
    return y;
}

typedef struct layer_norm_saved {
    int64_t m, d;
    real epsilon;
    real *mean, *rstd; /* [M] */
} layer_norm_saved;

/* y = xhat weight + bias */
static void layer_norm_bwd(ctx *c, const tape_record *r)
{
    const layer_norm_saved *s = r->saved;
    const tensor *x = r->in[0], *weight = r->in[1];
    real *dx = tensor_grad(c, r->in[0]), *dweight = tensor_grad(c, r->in[1]), *dbias = tensor_grad(c, r->in[2]);
    if (ctx_failed(c)) return;
    c->engine.layer_norm_bwd(dx, dweight, dbias, r->out->grad, x->data, s->mean, s->rstd, weight->data, s->m, s->d,
                             r->out->narrow ? NARROW : 0);
}

static void layer_norm(ctx *c, tensor *y, tensor *const in[3], const layer_norm_saved *s)
{
    c->engine.layer_norm_fwd(y->data, s->mean, s->rstd, in[0]->data, in[1]->data, in[2]->data, s->m, s->d, s->epsilon,
                             y->narrow ? NARROW : 0);
}

static void layer_norm_remake(ctx *c, const tape_record *r)
{
    layer_norm(c, r->out, r->in, r->saved);
}

tensor *op_layer_norm(ctx *c, tensor *x, tensor *weight, tensor *bias, real epsilon)
{
    if (ctx_failed(c)) return NULL;
    const int64_t d = x->dim[x->dim_count - 1];
    TENSOR_CHECK(tensor_count(weight) == d && tensor_count(bias) == d, x, weight, bias);
    layer_norm_saved s = {.m = tensor_count(x) / d, .d = d, .epsilon = epsilon};
    const size_t bytes = (size_t)s.m * sizeof(real);
    tensor *in[] = {x, weight, bias};
    tensor *y = tensor_new_droppable(c, x->dim_count, x->dim, tensor_branch_is_narrow(c, d), tape_records(c, in, 3));
    s.mean = numbers_alloc(c, &c->step, bytes);
    s.rstd = numbers_alloc(c, &c->step, bytes);
    if (ctx_failed(c)) return NULL;
    layer_norm(c, y, in, &s);
    if (!tape_wants(c, y, in, 3)) return y;
    tape_push(c, layer_norm_bwd, y, in, 3, &s, sizeof s);
    tape_remake(c, layer_norm_remake);
    return y;
}

typedef struct gate_saved {
    modulation_sizes sizes;
    int gate;
} gate_saved;

/* y = x + gate h;  dx = dy,  dh = gate dy,  dgate = sum over tokens of h dy */
static void gated_add_bwd(ctx *c, const tape_record *r)
{
    const gate_saved *s = r->saved;
    tensor *x = r->in[0], *h = r->in[1], *m = r->in[2];
    bool add = false;
    real *dm = tensor_grad(c, m), *dh = tensor_grad_write(c, h, &add);
    if (ctx_failed(c)) return;
    c->engine.gated_add_bwd(dh, dm, r->out->grad, h->data, m->data, s->sizes, s->gate, add, h->narrow ? NARROW : 0);
    tensor_grad_pass(c, x, r->out);
}

tensor *op_gated_add(ctx *c, tensor *x, tensor *h, tensor *m, int gate)
{
    if (ctx_failed(c)) return NULL;
    gate_saved s = {sizes_of(x, m), gate};
    TENSOR_CHECK(tensor_count(x) == tensor_count(h), x, h);
    tensor *y = tensor_new(c, &c->step, x->dim_count, x->dim);
    if (!y) return NULL;
    c->engine.gated_add_fwd(y->data, x->data, h->data, m->data, s.sizes, gate, h->narrow ? NARROW : 0);
    tensor *in[] = {x, h, m};
    if (tape_wants(c, y, in, 3)) tape_push(c, gated_add_bwd, y, in, 3, &s, sizeof s);
    return y;
}
