/* The training loss of DiT: per sample, mean squared error of the noise plus the variational bound of the learned
 * variance (formulas above the kernel in cpu/loss.c), summed with one weight per sample; and the first part of it alone. */
#include "op/op.h"

#include <string.h>

typedef struct loss_saved {
    const tensor *noise, *x0, *xt;
    const loss_coefficients *coef; /* the engine's, as the weights */
    const real *weight;
    int64_t n, c, r;
    bool learned_variance;
} loss_saved;

static void diffusion_loss_bwd(ctx *c, const tape_record *r)
{
    const loss_saved *s = r->saved;
    real *dout = tensor_grad(c, r->in[0]);
    if (ctx_failed(c)) return;
    c->engine.diffusion_loss_bwd(dout, r->out->grad, s->weight, r->in[0]->data, s->noise->data, s->x0->data,
                                 s->xt->data, s->coef, s->n, s->c, s->r, s->learned_variance);
}

/* The engine's terms brought to the host, and their weighted sum. */
static real fetch_terms(ctx *c, real mse[], real vb[], real *terms, const real weight[], int64_t n)
{
    const arena_place mark = arena_mark(&c->scratch);
    const real *fetched = numbers_read(c, &c->scratch, terms, 2 * n);
    double sum = 0;
    if (!fetched) return 0;
    memcpy(mse, fetched, (size_t)n * sizeof *mse);
    memcpy(vb, fetched + n, (size_t)n * sizeof *vb);
    for (int64_t i = 0; i < n; i++) sum += (double)weight[i] * ((double)mse[i] + (double)vb[i]);
    arena_release(&c->scratch, mark);
    return (real)sum;
}

tensor *op_diffusion_loss(ctx *c, real mse[], real vb[], tensor *out, const tensor *noise, const tensor *x0,
                          const tensor *xt, const loss_coefficients coef[], const real weight[])
{
    if (ctx_failed(c)) return NULL;
    int64_t n = noise->dim[0], channels = noise->dim[1], r = noise->dim[2] * noise->dim[3];
    TENSOR_CHECK(out->dim[0] == n && (out->dim[1] == channels || out->dim[1] == 2 * channels), out, noise);
    TENSOR_CHECK(tensor_count(x0) == n * channels * r && tensor_count(xt) == n * channels * r, noise, x0, xt);
    bool learned = out->dim[1] == 2 * channels;
    loss_saved s = {.noise = noise, .x0 = x0, .xt = xt, .n = n, .c = channels, .r = r, .learned_variance = learned};
    s.coef = numbers_of(c, &c->step, coef, (size_t)n * sizeof coef[0]);
    s.weight = numbers_of(c, &c->step, weight, (size_t)n * sizeof weight[0]);
    real *terms = numbers_alloc(c, &c->step, 2 * (size_t)n * sizeof *terms);
    tensor *total = tensor_new(c, &c->step, 1, (int64_t[]){1});
    if (ctx_failed(c)) return NULL;
    c->engine.diffusion_loss_fwd(terms, terms + n, out->data, noise->data, x0->data, xt->data, s.coef, n, channels, r,
                                 learned);
    const real sum = fetch_terms(c, mse, vb, terms, weight, n);
    numbers_send(c, total->data, &sum, 1);
    if (tape_wants(c, total, &out, 1)) tape_push(c, diffusion_loss_bwd, total, &out, 1, &s, sizeof s);
    return total;
}

tensor *op_prediction_loss(ctx *c, real mse[], tensor *out, const tensor *target, const real weight[])
{
    if (ctx_failed(c)) return NULL;
    const int64_t n = target->dim[0], channels = target->dim[1];
    if (out->dim[1] == 2 * channels) out = op_slice(c, out, 1, 0, channels);
    /* What the bound needs is not read where no variance is learned. */
    real *vb = arena_alloc(&c->step, (size_t)n * sizeof *vb, &c->error);
    const loss_coefficients *coef = arena_alloc_zeroed(&c->step, (size_t)n * sizeof *coef, &c->error);
    return op_diffusion_loss(c, mse, vb, out, target, target, target, coef, weight);
}
