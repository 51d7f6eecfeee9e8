#include "diffusion/denoiser.h"

static const int32_t *null_labels(ctx *c, const denoiser *d, int64_t n)
{
    int32_t *label = d->class_count ? arena_alloc(&c->step, (size_t)n * sizeof *label, &c->error) : NULL;
    for (int64_t i = 0; label && i < n; i++) label[i] = denoiser_null_class(d);
    return label;
}

static tensor *null_contexts(ctx *c, const denoiser *d, int64_t n)
{
    const int64_t values = d->context_tokens * d->context_width;
    if (!values) return NULL;
    tensor *context = tensor_zeros(c, &c->step, 3, (int64_t[]){n, d->context_tokens, d->context_width});
    for (int64_t i = 0; context && d->null_context && i < n; i++)
        c->engine.memory.copy(context->data + i * values, d->null_context->data, (size_t)values * sizeof(real));
    return context;
}

static tensor *blank_controls(ctx *c, const denoiser *d, int64_t n)
{
    const sample_shape *k = &d->control;
    return k->channels ? tensor_zeros(c, &c->step, 4, (int64_t[]){n, k->channels, k->height, k->width}) : NULL;
}

condition denoiser_unconditional(ctx *c, const denoiser *d, const condition *k, int64_t n)
{
    return (condition){.label = null_labels(c, d, n),
                       .context = null_contexts(c, d, n),
                       .control = k->control ? k->control : blank_controls(c, d, n)};
}

dt_status denoiser_take_null(ctx *c, denoiser *d, const float *values)
{
    const arena_place mark = arena_mark(&c->scratch);
    tensor *null = tensor_new(c, &c->model, 2, (int64_t[]){d->context_tokens, d->context_width});
    real *prepared = null ? numbers_prepare(c, &c->scratch, null->data, tensor_count(null)) : NULL;
    for (int64_t i = 0; prepared && i < tensor_count(null); i++) prepared[i] = (real)values[i];
    if (prepared) numbers_send(c, null->data, prepared, tensor_count(null));
    arena_release(&c->scratch, mark);
    d->null_context = null;
    return c->error.status;
}
