#include "train/optimizer.h"

#include <math.h>

#include "base/rng.h"

rate_law rate_from_settings(const dt_settings *s)
{
    const double factor = s->adapter == DT_ADAPTER_NONE ? 1 : s->adapter_lr_factor;
    return (rate_law){.peak = factor * s->learning_rate,
                      .form = s->lr_scheduler,
                      .warmup_steps = s->lr_warmup_steps,
                      .step_count = s->max_train_steps};
}

double rate_at(const rate_law *r, int64_t step)
{
    if (step < r->warmup_steps) return r->peak * (double)(step + 1) / (double)r->warmup_steps;
    int64_t span = r->step_count - r->warmup_steps;
    double done = span > 0 ? (double)(step - r->warmup_steps) / (double)span : 0;
    switch (r->form) {
    case DT_LR_LINEAR: return r->peak * (1 - done);
    case DT_LR_COSINE: return r->peak * 0.5 * (1 + cos(3.14159265358979323846 * done));
    default: return r->peak;
    }
}

dt_status optimizer_open(ctx *c, optimizer *o, trainset *set, const dt_settings *s)
{
    *o = (optimizer){.set = set,
                     .rate = rate_from_settings(s),
                     .beta1 = s->adam_beta1,
                     .beta2 = s->adam_beta2,
                     .epsilon = s->adam_epsilon,
                     .weight_decay = s->adam_weight_decay,
                     .ema_decay = s->ema_decay,
                     .ema_warmup = s->ema_warmup,
                     .max_grad_norm = s->max_grad_norm,
                     .l2_sp = s->l2_sp,
                     .seed = (uint64_t)s->seed,
                     .fused = s->fused_backward_pass};
    if (power_lengths_read(o->power_length, &set->power_count, s->ema_power, &c->error) != DT_OK)
        return c->error.status;
    for (int i = 0; i < set->power_count; i++) o->power_exponent[i] = power_exponent(o->power_length[i]);
    set->unaveraged = o->ema_decay == 0;
    set->narrow_moments = s->adam_moments == DT_PRECISION_BF16;
    o->list = arena_alloc(&c->model, (size_t)set->count * sizeof *o->list, &c->error);
    trainset_want_gradients(c, set, !o->fused);
    return trainset_keep(c, set);
}

/* The ramp is that of diffusers' EMAModel (training_utils.py). */
static double average_decay(const optimizer *o)
{
    double n = (double)o->update_count, ramp = n > 0 ? (1 + n) / (10 + n) : 0;
    return o->ema_warmup ? fmin(o->ema_decay, ramp) : o->ema_decay;
}

double optimizer_start_share(const optimizer *o)
{
    return o->ema_warmup ? 0 : pow(o->ema_decay, (double)o->rate.step_count);
}

/* Of update number o->update_count + 1. */
static optimizer_update update_of(const optimizer *o, double learning_rate, double grad_scale)
{
    double count = (double)(o->update_count + 1);
    optimizer_update k = {.adamw = {.learning_rate = (real)learning_rate,
                                    .beta1 = (real)o->beta1,
                                    .beta2 = (real)o->beta2,
                                    .epsilon = (real)o->epsilon,
                                    .weight_decay = (real)o->weight_decay,
                                    .bias1 = (real)(1 - pow(o->beta1, count)),
                                    .bias2 = (real)(1 - pow(o->beta2, count)),
                                    .ema_decay = (real)average_decay(o),
                                    .grad_scale = (real)grad_scale}};
    for (int i = 0; i < o->set->power_count; i++)
        k.power_share[i] = (real)power_share(o->power_exponent[i], o->update_count + 1);
    return k;
}

/* For the moments of this row in this update. */
static uint32_t noise_of(const optimizer *o, const train_row *r)
{
    uint32_t words[4];
    if (!r->narrow_moments) return 0;
    const uint32_t row = (uint32_t)(r - o->set->row);
    rng_words(words, (rng_key){o->seed, RNG_MOMENTS, (uint32_t)o->update_count, row}, 0);
    return words[0];
}

/* All of a row, or of several ranks this one's part. */
static adamw_row row_of(const optimizer *o, const train_row *r)
{
    const tensor *t = r->tensor;
    return (adamw_row){.w = t->data + r->first,
                       .g = t->grad + r->first,
                       .m = r->m,
                       .v = r->v,
                       .ema = o->set->unaveraged ? NULL : r->average,
                       .narrow = t->narrow_copy ? (uint16_t *)t->narrow_copy + r->first : NULL,
                       .count = r->kept,
                       .first = r->first,
                       .noise = noise_of(o, r)};
}

/* Of the set's rows number [first, first + count) all that this rank keeps something of. */
static void update_rows(const ctx *c, const optimizer *o, int first, int count, const optimizer_update *k)
{
    const train_row *row = o->set->row + first;
    int listed = 0;
    for (int i = 0; i < count; i++)
        if (row[i].kept) o->list[listed++] = row_of(o, &row[i]);
    c->engine.adamw(o->list, listed, k->adamw, o->set->narrow_moments ? NARROW : 0);
    for (int i = 0; i < count; i++)
        for (int p = 0; p < o->set->power_count && row[i].kept; p++)
            c->engine.average(row[i].power[p], row[i].tensor->data + row[i].first, row[i].kept, k->power_share[p]);
}

static void pull_row(ctx *c, const optimizer *o, const train_row *r)
{
    real *gradient = r->anchor ? tensor_grad(c, r->tensor) : NULL;
    if (gradient && r->kept)
        c->engine.add_difference(gradient + r->first, r->tensor->data + r->first, r->anchor + r->first, (real)o->l2_sp,
                                 r->kept);
}

void optimizer_pull(ctx *c, const optimizer *o)
{
    for (int i = 0; i < o->set->count && !o->fused; i++) pull_row(c, o, &o->set->row[i]);
}

static void update_weight(ctx *c, void *user, tensor *weight)
{
    optimizer *o = user;
    pull_row(c, o, &o->set->row[weight->row - 1]);
    const real *gradient = tensor_grad(c, weight);
    if (!gradient) return;
    const int64_t count = tensor_count(weight);
    double squares = c->engine.sum_squares(&gradient, &count, 1);
    o->fused_squares += squares;
    if (isfinite((real)squares)) update_rows(c, o, weight->row - 1, 1, &o->fused_update);
}

void optimizer_begin(ctx *c, optimizer *o, double learning_rate)
{
    if (!o->fused) return;
    o->fused_squares = 0;
    o->fused_update = update_of(o, learning_rate, 1);
    c->weight_done = update_weight;
    c->weight_done_user = o;
}

double optimizer_grad_norm(ctx *c, const optimizer *o)
{
    if (o->fused) return sqrt(o->fused_squares);
    const arena_place mark = arena_mark(&c->scratch);
    const real **gradient = arena_alloc(&c->scratch, (size_t)o->set->count * sizeof *gradient, &c->error);
    int64_t *count = arena_alloc(&c->scratch, (size_t)o->set->count * sizeof *count, &c->error);
    if (ctx_failed(c)) return (double)NAN;
    for (int i = 0; i < o->set->count; i++) {
        const train_row *r = &o->set->row[i];
        gradient[i] = tensor_grad(c, r->tensor) + r->first;
        count[i] = r->kept;
    }
    double sum = c->engine.sum_squares(gradient, count, o->set->count);
    arena_release(&c->scratch, mark);
    return sqrt(sum);
}

static void update_all(const ctx *c, const optimizer *o, double learning_rate, double grad_norm)
{
    const bool clip = o->max_grad_norm > 0 && grad_norm > o->max_grad_norm;
    const optimizer_update k = update_of(o, learning_rate, clip ? o->max_grad_norm / grad_norm : 1);
    update_rows(c, o, 0, o->set->count, &k);
}

static void empty_gradients(const optimizer *o)
{
    for (int i = 0; i < o->set->count; i++) o->set->row[i].tensor->grad_is_empty = true;
}

void optimizer_end(ctx *c, optimizer *o, double learning_rate, double grad_norm, bool usable)
{
    c->weight_done = NULL;
    if (!o->fused && usable) update_all(c, o, learning_rate, grad_norm);
    if (!o->fused) empty_gradients(o);
    o->update_count += usable;
}
