#include "train/batch.h"

#include "op/op.h"

bool batch_new(ctx *c, batch *b, const dit *m, int64_t n)
{
    const dit_config *k = &m->config;
    int64_t dim[4] = {n, k->channels, k->input_size, k->input_size};
    *b = (batch){.count = n, .target_count = n};
    b->x0 = tensor_new(c, &c->step, 4, dim);
    b->noise = tensor_new(c, &c->step, 4, dim);
    b->xt = tensor_new(c, &c->step, 4, dim);
    if (ctx_failed(c)) return false;
    b->x0_values = numbers_prepare(c, &c->step, b->x0->data, tensor_count(b->x0));
    b->noise_values = numbers_prepare(c, &c->step, b->noise->data, tensor_count(b->noise));
    b->xt_values = numbers_prepare(c, &c->step, b->xt->data, tensor_count(b->xt));
    size_t count = (size_t)n;
    b->t = arena_alloc(&c->step, count * sizeof b->t[0], &c->error);
    b->y = arena_alloc(&c->step, count * sizeof b->y[0], &c->error);
    b->weight = arena_alloc(&c->step, count * sizeof b->weight[0], &c->error);
    b->coef = arena_alloc(&c->step, count * sizeof b->coef[0], &c->error);
    b->mse = arena_alloc(&c->step, count * sizeof b->mse[0], &c->error);
    b->vb = arena_alloc(&c->step, count * sizeof b->vb[0], &c->error);
    return !ctx_failed(c);
}

void batch_diffuse(ctx *c, batch *b, const schedule *s)
{
    int64_t size = tensor_count(b->x0) / b->count;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < b->count; i++) {
        schedule_add_noise(b->xt_values + i * size, b->x0_values + i * size, b->noise_values + i * size, size, s,
                           b->t[i]);
        b->coef[i] = schedule_loss_coefficients(s, b->t[i]);
    }
    numbers_send(c, b->x0->data, b->x0_values, tensor_count(b->x0));
    numbers_send(c, b->noise->data, b->noise_values, tensor_count(b->noise));
    numbers_send(c, b->xt->data, b->xt_values, tensor_count(b->xt));
}

tensor *batch_loss_of(ctx *c, batch *b, tensor *out)
{
    return op_diffusion_loss(c, b->mse, b->vb, out, b->noise, b->x0, b->xt, b->coef, b->weight);
}

tensor *batch_loss(ctx *c, const dit *m, batch *b)
{
    return batch_loss_of(c, b, dit_forward(c, m, b->xt, b->t, b->y));
}

bool batch_backward(ctx *c, tensor *loss)
{
    real *seed = tensor_grad(c, loss);
    if (!seed) return false;
    numbers_send(c, seed, &(real){1}, 1);
    tape_backward(c, NULL);
    return !ctx_failed(c);
}
