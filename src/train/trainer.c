#include "train/trainer.h"

#include <math.h>
#include <stdarg.h>

#include "base/say.h"

void trainer_log(const trainer *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_list(t->observer->log, t->observer->user, format, args);
    va_end(args);
}

/* Mean of mse + vb over a half of the batch, added to a running mean over the step's micro-batches. */
static double mean_loss(const batch *b, int64_t first, int64_t last)
{
    double sum = 0;
    for (int64_t i = first; i < last; i++) sum += (double)b->mse[i] + (double)b->vb[i];
    return last > first ? sum / (double)(last - first) : (double)NAN;
}

/* The distances to the teacher, each by its law, as a mean over the samples that they stand for. */
static double mean_distance(const trainer *t, const batch *b)
{
    double sum = 0;
    if (!b->taught) return (double)NAN;
    const int64_t retained = t->plan.noise_count ? t->plan.noise_count : t->plan.retained_count;
    for (int64_t i = b->taught_first; i < b->count; i++) sum += feed_distil_law(t, b, i) * (double)b->distance[i];
    return sum / (double)retained;
}

/* A gradient whose square no float holds would leave an infinite second moment behind. */
static bool moments_hold(double grad_norm)
{
    return isfinite((real)(grad_norm * grad_norm));
}

/* A loss that has samples and is not finite must not reach the weights. */
static bool is_usable(const trainer *t, const step_result *r)
{
    const double retained = difftuning_distils(&t->method) ? r->loss_retained : r->loss_bank;
    const bool retains = t->method.retention != DT_RETENTION_NONE;
    return isfinite(r->loss_target) && (!retains || isfinite(retained)) && moments_hold(r->grad_norm);
}

/* Forward and backward over one micro-batch; gradients are added up in the weights. */
static void accumulate_micro_batch(trainer *t, int64_t micro, step_result *r)
{
    ctx *c = t->c;
    const double part = 1.0 / (double)t->plan.accumulation;
    const arena_place mark = arena_mark(&c->step);
    batch b;
    if (!batch_new(c, &b, &t->model, t->plan.batch + t->plan.noise_count)) return;
    feed_batch(t, &b, micro);
    if (difftuning_distils(&t->method)) batch_ask(c, &b, &t->teacher);
    c->recording = true;
    tensor *loss = batch_loss(c, &t->model, &b);
    c->recording = false;
    if (!loss) return;
    r->loss_target += part * mean_loss(&b, 0, b.target_count);
    r->loss_bank += part * mean_loss(&b, b.target_count, b.taught ? b.target_count : b.count);
    r->loss_retained += part * mean_distance(t, &b);
    real value;
    if (numbers_fetch(c, &value, loss->data, 1) && isfinite(value)) batch_backward(c, loss);
    tape_clear(c);
    arena_release(&c->step, mark);
}

void trainer_rehearse(trainer *t)
{
    ctx *c = t->c;
    const arena_place mark = arena_mark(&c->step);
    batch b;
    optimizer_begin(c, &t->optimizer, 0);
    if (batch_new(c, &b, &t->model, t->plan.batch + t->plan.noise_count)) {
        batch_empty(&b);
        feed_shape(t, &b);
        if (difftuning_distils(&t->method)) batch_ask(c, &b, &t->teacher);
        c->recording = true;
        tensor *loss = batch_loss(c, &t->model, &b);
        c->recording = false;
        if (loss) batch_backward(c, loss);
        tape_clear(c);
    }
    arena_release(&c->step, mark);
    optimizer_pull(c, &t->optimizer);
    optimizer_grad_norm(c, &t->optimizer);
    optimizer_end(c, &t->optimizer, 0, 0, false);
}

bool trainer_step(trainer *t, step_result *r)
{
    *r = (step_result){.learning_rate = rate_at(&t->optimizer.rate, t->step)};
    optimizer_begin(t->c, &t->optimizer, r->learning_rate);
    for (int64_t micro = 0; micro < t->plan.accumulation; micro++) accumulate_micro_batch(t, micro, r);
    optimizer_pull(t->c, &t->optimizer);
    r->grad_norm = optimizer_grad_norm(t->c, &t->optimizer);
    r->finite = is_usable(t, r);
    optimizer_end(t->c, &t->optimizer, r->learning_rate, r->grad_norm, r->finite && !ctx_failed(t->c));
    if (ctx_failed(t->c)) return false;
    t->skipped += !r->finite;
    t->skipped_in_row = r->finite ? 0 : t->skipped_in_row + 1;
    t->step++;
    return true;
}
