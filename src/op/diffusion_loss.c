/* The training loss of DiT: per sample, mean squared error of the noise plus the variational bound of the learned
 * variance (formulas above the kernel in cpu/loss.c), summed with one weight per sample. */
#include "op/op.h"

#include <string.h>

typedef struct loss_saved {
    const tensor *noise, *x0, *xt;
    loss_coefficients *coef;
    real *weight;
    int64_t n, c, r;
    bool learned_variance;
} loss_saved;

static void diffusion_loss_bwd(ctx *c, const tape_record *r)
{
    const loss_saved *s = r->saved;
    size_t mark = arena_mark(&c->scratch);
    real *dout = tensor_grad(c, r->in[0]), *scaled = arena_alloc(&c->scratch, (size_t)s->n * sizeof *scaled, &c->error);
    if (ctx_failed(c)) return;
    for (int64_t i = 0; i < s->n; i++) scaled[i] = r->out->grad[0] * s->weight[i];
    c->engine.diffusion_loss_bwd(dout, scaled, r->in[0]->data, s->noise->data, s->x0->data, s->xt->data, s->coef, s->n,
                                 s->c, s->r, s->learned_variance);
    arena_release(&c->scratch, mark);
}

static void *keep(ctx *c, const void *data, size_t bytes)
{
    void *copy = arena_alloc(&c->step, bytes, &c->error);
    if (copy) memcpy(copy, data, bytes);
    return copy;
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
    s.coef = keep(c, coef, (size_t)n * sizeof coef[0]);
    s.weight = keep(c, weight, (size_t)n * sizeof weight[0]);
    tensor *total = tensor_zeros(c, &c->step, 1, (int64_t[]){1});
    if (ctx_failed(c)) return NULL;
    c->engine.diffusion_loss_fwd(mse, vb, out->data, noise->data, x0->data, xt->data, s.coef, n, channels, r, learned);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)weight[i] * ((double)mse[i] + (double)vb[i]);
    total->data[0] = (real)sum;
    if (tape_wants(c, total, &out, 1)) tape_push(c, diffusion_loss_bwd, total, &out, 1, &s, sizeof s);
    return total;
}
