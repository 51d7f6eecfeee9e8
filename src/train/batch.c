#include "train/batch.h"

#include <math.h>
#include <string.h>

#include "diffusion/flow.h"
#include "op/op.h"

/* A tensor, and where the host prepares its numbers. */
static tensor *prepared(ctx *c, arena *a, real **values, int dim_count, const int64_t dim[])
{
    tensor *t = tensor_new(c, a, dim_count, dim);
    *values = t ? numbers_prepare(c, a, t->data, tensor_count(t)) : NULL;
    return t;
}

static void send(ctx *c, tensor *t, const real *values)
{
    if (t) numbers_send(c, t->data, values, tensor_count(t));
}

static void new_condition(ctx *c, arena *a, batch *b, const denoiser *d, int64_t n)
{
    const sample_shape *k = &d->control;
    if (d->class_count) b->label = arena_alloc(a, (size_t)n * sizeof b->label[0], &c->error);
    if (d->context_tokens)
        b->condition.context =
            prepared(c, a, &b->context_values, 3, (int64_t[]){n, d->context_tokens, d->context_width});
    if (k->channels)
        b->condition.control = prepared(c, a, &b->control_values, 4, (int64_t[]){n, k->channels, k->height, k->width});
    if (d->null_time) b->null_time = arena_alloc(a, (size_t)n * sizeof b->null_time[0], &c->error);
    b->condition.label = b->label;
    b->condition.null_time = b->null_time;
}

bool batch_new_in(ctx *c, arena *a, batch *b, const denoiser *d, int64_t n)
{
    const int64_t dim[4] = {n, d->shape.channels, d->shape.height, d->shape.width};
    const size_t count = (size_t)n;
    *b = (batch){.count = n};
    b->x0 = prepared(c, a, &b->x0_values, 4, dim);
    b->noise = prepared(c, a, &b->noise_values, 4, dim);
    b->xt = prepared(c, a, &b->xt_values, 4, dim);
    b->target = b->noise;
    if (d->process.predicts == PREDICTS_VELOCITY) b->target = prepared(c, a, &b->target_values, 4, dim);
    b->example = arena_alloc(a, count * sizeof b->example[0], &c->error);
    b->t = arena_alloc(a, count * sizeof b->t[0], &c->error);
    b->time = arena_alloc(a, count * sizeof b->time[0], &c->error);
    new_condition(c, a, b, d, n);
    b->weight = arena_alloc(a, count * sizeof b->weight[0], &c->error);
    b->coef = arena_alloc(a, count * sizeof b->coef[0], &c->error);
    b->mse = arena_alloc(a, count * sizeof b->mse[0], &c->error);
    b->vb = arena_alloc(a, count * sizeof b->vb[0], &c->error);
    b->taught_weight = arena_alloc(a, count * sizeof b->taught_weight[0], &c->error);
    b->distance = arena_alloc(a, count * sizeof b->distance[0], &c->error);
    if (!ctx_failed(c)) batch_begin(b);
    return !ctx_failed(c);
}

bool batch_new(ctx *c, batch *b, const denoiser *d, int64_t n)
{
    return batch_new_in(c, &c->step, b, d, n);
}

void batch_begin(batch *b)
{
    b->target_count = b->noise_first = b->taught_first = b->count;
    b->taught = NULL;
    for (int64_t i = 0; i < b->count; i++) b->time[i] = -1;
    if (b->null_time) memset(b->null_time, 0, (size_t)b->count * sizeof b->null_time[0]);
}

void batch_empty(batch *b)
{
    const size_t count = (size_t)b->count;
    memset(b->t, 0, count * sizeof b->t[0]);
    memset(b->time, 0, count * sizeof b->time[0]);
    if (b->label) memset(b->label, 0, count * sizeof b->label[0]);
    memset(b->weight, 0, count * sizeof b->weight[0]);
    memset(b->taught_weight, 0, count * sizeof b->taught_weight[0]);
    memset(b->coef, 0, count * sizeof b->coef[0]);
}

static real time_of(const denoiser *d, int32_t t)
{
    return process_is_flow(&d->process) ? (real)flow_time(t, 0.5) : (real)t;
}

static void fill_times(batch *b, const denoiser *d)
{
    for (int64_t i = 0; i < b->count; i++)
        if (b->time[i] < 0) b->time[i] = time_of(d, b->t[i]);
}

static void send_inputs(ctx *c, batch *b)
{
    send(c, b->xt, b->xt_values);
    send(c, b->condition.context, b->context_values);
    send(c, b->condition.control, b->control_values);
}

void batch_send_inputs(ctx *c, batch *b, const denoiser *d)
{
    fill_times(b, d);
    send_inputs(c, b);
}

/* Sample i of the batch. */
static void diffuse(batch *b, int64_t i, const denoiser *d, const schedule *s)
{
    const int64_t size = sample_values(d->shape);
    const real *x0 = b->x0_values + i * size, *noise = b->noise_values + i * size;
    real *xt = b->xt_values + i * size, *target = b->target_values ? b->target_values + i * size : NULL;
    const bool flow = process_is_flow(&d->process);
    if (i >= b->noise_first)
        memcpy(xt, noise, (size_t)size * sizeof *noise);
    else if (flow)
        flow_add_noise(xt, x0, noise, size, b->time[i]);
    else
        schedule_add_noise(xt, x0, noise, size, s, b->t[i]);
    if (flow)
        flow_velocity(target, x0, noise, size);
    else if (target)
        schedule_velocity(target, x0, noise, size, s, b->t[i]);
    /* of the variance, which a flow has not */
    b->coef[i] = flow ? (loss_coefficients){0} : schedule_loss_coefficients(s, b->t[i]);
}

void batch_prepare(batch *b, const denoiser *d, const schedule *s)
{
    fill_times(b, d);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < b->count; i++) diffuse(b, i, d, s);
}

void batch_send(ctx *c, batch *b)
{
    send(c, b->x0, b->x0_values);
    send(c, b->noise, b->noise_values);
    if (b->target_values) send(c, b->target, b->target_values);
    send_inputs(c, b);
}

void batch_diffuse(ctx *c, batch *b, const denoiser *d, const schedule *s)
{
    batch_prepare(b, d, s);
    batch_send(c, b);
}

/* Rows first to first + n - 1 of a tensor that takes no gradient, where they lie; NULL for NULL. */
static tensor *rows_of(ctx *c, const tensor *t, int64_t first, int64_t n)
{
    int64_t dim[TENSOR_DIM_MAX];
    if (!t) return NULL;
    memcpy(dim, t->dim, sizeof dim);
    dim[0] = n;
    tensor *rows = tensor_header(c, &c->step, t->dim_count, dim);
    if (rows) rows->data = t->data + first * (tensor_count(t) / t->dim[0]);
    return rows;
}

void batch_ask(ctx *c, batch *b, const teacher *k)
{
    const int64_t first = b->taught_first, n = b->count - first;
    if (n == 0) return;
    const condition told = {.label = b->label ? b->label + first : NULL,
                            .context = rows_of(c, b->condition.context, first, n),
                            .control = rows_of(c, b->condition.control, first, n)};
    b->taught = teacher_predict(c, k, rows_of(c, b->xt, first, n), b->time + first, &told);
}

/* ---- the loss ---- */

/* Of the target samples alone, where others are taught. */
static tensor *target_loss(ctx *c, batch *b, tensor *out)
{
    const int64_t n = b->target_count;
    if (n < b->count) out = op_slice(c, out, 0, 0, n);
    return op_diffusion_loss(c, b->mse, b->vb, out, rows_of(c, b->target, 0, n), rows_of(c, b->x0, 0, n),
                             rows_of(c, b->xt, 0, n), b->coef, b->weight);
}

static tensor *taught_loss(ctx *c, batch *b, tensor *out)
{
    const int64_t first = b->taught_first;
    if (first > 0) out = op_slice(c, out, 0, first, b->count - first);
    return op_prediction_loss(c, b->distance + first, out, b->taught, b->taught_weight + first);
}

tensor *batch_loss_of(ctx *c, batch *b, tensor *out)
{
    if (!b->taught) return op_diffusion_loss(c, b->mse, b->vb, out, b->target, b->x0, b->xt, b->coef, b->weight);
    if (b->target_count == 0) return taught_loss(c, b, out);
    tensor *target = target_loss(c, b, out);
    return op_add(c, target, taught_loss(c, b, out));
}

tensor *batch_loss(ctx *c, const denoiser *d, batch *b)
{
    return batch_loss_of(c, b, denoiser_forward(c, d, b->xt, b->time, &b->condition));
}

bool batch_is_finite(const batch *b)
{
    const int64_t compared = b->taught ? b->target_count : b->count;
    for (int64_t i = 0; i < compared; i++)
        if (!isfinite(b->mse[i]) || !isfinite(b->vb[i])) return false;
    for (int64_t i = b->taught_first; b->taught && i < b->count; i++)
        if (!isfinite(b->distance[i])) return false;
    return true;
}

bool batch_backward(ctx *c, tensor *loss)
{
    real *seed = tensor_grad(c, loss);
    if (!seed) return false;
    numbers_send(c, seed, &(real){1}, 1);
    tape_backward(c, NULL);
    return !ctx_failed(c);
}
