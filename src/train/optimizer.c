#include "train/optimizer.h"

#include <math.h>

static bool trains(const param *row)
{
    return row->tensor->need_grad;
}

dt_status optimizer_open(ctx *c, optimizer *o, params *table, const dt_settings *s)
{
    *o = (optimizer){.table = table,
                     .beta1 = s->adam_beta1,
                     .beta2 = s->adam_beta2,
                     .epsilon = s->adam_epsilon,
                     .weight_decay = s->adam_weight_decay,
                     .ema_decay = s->ema_decay,
                     .ema_warmup = s->ema_warmup,
                     .max_grad_norm = s->max_grad_norm,
                     .fused = s->fused_backward_pass};
    params_train(c, table, !o->fused);
    size_t pointers = (size_t)table->count * sizeof(real *);
    o->m = arena_alloc_zeroed(&c->model, pointers, &c->error);
    o->v = arena_alloc_zeroed(&c->model, pointers, &c->error);
    o->ema = arena_alloc_zeroed(&c->model, pointers, &c->error);
    for (int i = 0; i < table->count && !ctx_failed(c); i++) {
        const tensor *t = table->row[i].tensor;
        if (!trains(&table->row[i])) continue;
        size_t bytes = (size_t)tensor_count(t) * sizeof(real);
        o->m[i] = numbers_zeros(c, &c->model, tensor_count(t));
        o->v[i] = numbers_zeros(c, &c->model, tensor_count(t));
        o->ema[i] = numbers_alloc(c, &c->model, bytes);
        if (!ctx_failed(c)) c->engine.memory.copy(o->ema[i], t->data, bytes);
    }
    return c->error.status;
}

/* The ramp is that of diffusers' EMAModel (training_utils.py). */
static double average_decay(const optimizer *o)
{
    double n = (double)o->update_count, ramp = n > 0 ? (1 + n) / (10 + n) : 0;
    return o->ema_warmup ? fmin(o->ema_decay, ramp) : o->ema_decay;
}

double optimizer_start_share(const dt_settings *s)
{
    return s->ema_warmup ? 0 : pow(s->ema_decay, (double)s->max_train_steps);
}

/* Of update number o->update_count + 1. */
static adamw_coefficients coefficients_of(const optimizer *o, double learning_rate, double grad_scale)
{
    double count = (double)(o->update_count + 1);
    return (adamw_coefficients){.learning_rate = (real)learning_rate,
                                .beta1 = (real)o->beta1,
                                .beta2 = (real)o->beta2,
                                .epsilon = (real)o->epsilon,
                                .weight_decay = (real)o->weight_decay,
                                .bias1 = (real)(1 - pow(o->beta1, count)),
                                .bias2 = (real)(1 - pow(o->beta2, count)),
                                .ema_decay = (real)average_decay(o),
                                .grad_scale = (real)grad_scale};
}

static void update_row(const ctx *c, const optimizer *o, int row, adamw_coefficients k)
{
    tensor *t = o->table->row[row].tensor;
    c->engine.adamw(t->data, o->m[row], o->v[row], o->ema[row], t->narrow_copy, t->grad, tensor_count(t), k);
}

static void update_weight(ctx *c, void *user, tensor *weight)
{
    optimizer *o = user;
    const real *gradient = tensor_grad(c, weight);
    if (!gradient) return;
    const int64_t count = tensor_count(weight);
    double squares = c->engine.sum_squares(&gradient, &count, 1);
    o->fused_squares += squares;
    if (isfinite((real)squares)) update_row(c, o, weight->row - 1, o->fused_step);
}

void optimizer_begin(ctx *c, optimizer *o, double learning_rate)
{
    if (!o->fused) return;
    o->fused_squares = 0;
    o->fused_step = coefficients_of(o, learning_rate, 1);
    c->weight_done = update_weight;
    c->weight_done_user = o;
}

double optimizer_grad_norm(ctx *c, const optimizer *o)
{
    if (o->fused) return sqrt(o->fused_squares);
    const arena_place mark = arena_mark(&c->scratch);
    const real **gradient = arena_alloc(&c->scratch, (size_t)o->table->count * sizeof *gradient, &c->error);
    int64_t *count = arena_alloc(&c->scratch, (size_t)o->table->count * sizeof *count, &c->error), arrays = 0;
    if (ctx_failed(c)) return (double)NAN;
    for (int i = 0; i < o->table->count; i++) {
        tensor *t = o->table->row[i].tensor;
        if (!trains(&o->table->row[i])) continue;
        gradient[arrays] = tensor_grad(c, t);
        count[arrays++] = tensor_count(t);
    }
    double sum = c->engine.sum_squares(gradient, count, arrays);
    arena_release(&c->scratch, mark);
    return sqrt(sum);
}

static void update_all(const ctx *c, const optimizer *o, double learning_rate, double grad_norm)
{
    bool clip = o->max_grad_norm > 0 && grad_norm > o->max_grad_norm;
    adamw_coefficients k = coefficients_of(o, learning_rate, clip ? o->max_grad_norm / grad_norm : 1);
    for (int i = 0; i < o->table->count; i++)
        if (trains(&o->table->row[i])) update_row(c, o, i, k);
}

static void empty_gradients(const optimizer *o)
{
    for (int i = 0; i < o->table->count; i++) o->table->row[i].tensor->grad_is_empty = true;
}

void optimizer_end(ctx *c, optimizer *o, double learning_rate, double grad_norm, bool usable)
{
    c->weight_done = NULL;
    if (!o->fused && usable) update_all(c, o, learning_rate, grad_norm);
    if (!o->fused) empty_gradients(o);
    o->update_count += usable;
}

void optimizer_swap_average(ctx *c, optimizer *o)
{
    for (int i = 0; i < o->table->count; i++) {
        tensor *t = o->table->row[i].tensor;
        if (!trains(&o->table->row[i])) continue;
        real *weights = t->data;
        t->data = o->ema[i];
        o->ema[i] = weights;
    }
    params_round(c, o->table);
}

double optimizer_learning_rate(const dt_settings *s, int64_t step)
{
    if (step < s->lr_warmup_steps) return s->learning_rate * (double)(step + 1) / (double)s->lr_warmup_steps;
    int64_t span = s->max_train_steps - s->lr_warmup_steps;
    double done = span > 0 ? (double)(step - s->lr_warmup_steps) / (double)span : 0;
    switch (s->lr_scheduler) {
    case DT_LR_LINEAR: return s->learning_rate * (1 - done);
    case DT_LR_COSINE: return s->learning_rate * 0.5 * (1 + cos(3.14159265358979323846 * done));
    default: return s->learning_rate;
    }
}
