#include "train/trainer.h"

#include <math.h>
#include <stdarg.h>

#include "base/say.h"
#include "rank/rank.h"
#include "train/shared.h"

void trainer_log(const trainer *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_list(t->observer->log, t->observer->user, format, args);
    va_end(args);
}

/* Sum of mse + vb over a half of the batch's rows, by the `count` samples that all ranks together have of it: what this rank's add
 * to the mean. */
static double mean_loss(const batch *b, int64_t first, int64_t last, int64_t count)
{
    double sum = 0;
    for (int64_t i = first; i < last; i++) sum += (double)b->mse[i] + (double)b->vb[i];
    return count > 0 ? sum / (double)count : (double)NAN;
}

/* The distances to the teacher, each by its law, as a mean over the samples that they stand for. */
static double mean_distance(const trainer *t, const batch *b)
{
    double sum = 0;
    if (!difftuning_distils(&t->method)) return (double)NAN;
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

/* A micro-batch of this step, filled; `room` is for one that is made now. NULL after a failure. */
static batch *filled_batch(trainer *t, batch *room, int64_t micro)
{
    const int64_t round = t->step * t->plan.accumulation + micro;
    if (t->ahead) return ahead_take(t->ahead, round);
    if (!batch_new(t->c, room, &t->model, feed_rows(t))) return NULL;
    feed_fill(t, room, round);
    return room;
}

/* Forward and backward over one micro-batch; gradients are added up in the weights. */
static void accumulate_micro_batch(trainer *t, int64_t micro, step_result *r)
{
    ctx *c = t->c;
    const double part = 1.0 / (double)t->plan.accumulation;
    const arena_place mark = arena_mark(&c->step);
    if (feed_rows(t) == 0) return; /* fewer samples than ranks */
    const bool distils = difftuning_distils(&t->method);
    const int64_t targets = t->plan.batch - t->plan.retained_count, by_loss = distils ? 0 : t->plan.retained_count;
    batch room, *b = filled_batch(t, &room, micro);
    if (!b) return;
    batch_send(c, b);
    if (distils) batch_ask(c, b, &t->teacher);
    c->recording = true;
    tensor *loss = batch_loss(c, &t->model, b);
    c->recording = false;
    if (!loss) return;
    r->loss_target += part * mean_loss(b, 0, b->target_count, targets);
    r->loss_bank += part * mean_loss(b, b->target_count, distils ? b->target_count : b->count, by_loss);
    r->loss_retained += part * mean_distance(t, b);
    if (batch_is_finite(b)) batch_backward(c, loss);
    tape_clear(c);
    arena_release(&c->step, mark);
}

void trainer_rehearse(trainer *t)
{
    ctx *c = t->c;
    const arena_place mark = arena_mark(&c->step);
    batch room, *b = t->ahead ? ahead_any(t->ahead) : &room;
    optimizer_begin(c, &t->optimizer, 0);
    if (feed_rows(t) > 0 && (t->ahead || batch_new(c, b, &t->model, feed_rows(t)))) {
        batch_empty(b);
        feed_shape(t, b);
        if (difftuning_distils(&t->method)) batch_ask(c, b, &t->teacher);
        c->recording = true;
        tensor *loss = batch_loss(c, &t->model, b);
        c->recording = false;
        if (loss) batch_backward(c, loss);
        tape_clear(c);
    }
    arena_release(&c->step, mark);
    optimizer_pull(c, &t->optimizer);
    optimizer_grad_norm(c, &t->optimizer);
    optimizer_end(c, &t->optimizer, 0, 0, false);
    shared_rehearse(c, &t->set);
}

/* What a rank knows of a step. */
typedef struct step_words {
    double loss_target, loss_bank, loss_retained, grad_squares;
    bool stop_wanted, save_wanted;
} step_words;

/* From here on every rank knows the step's losses, gradient and wishes, which are sums in the order of ranks. */
static void add_up(trainer *t, step_result *r)
{
    ctx *c = t->c;
    const int ranks = rank_count(c->ranks);
    r->grad_norm = optimizer_grad_norm(c, &t->optimizer);
    if (ranks == 1) return;
    const step_words mine = {r->loss_target, r->loss_bank,  r->loss_retained, r->grad_norm * r->grad_norm,
                             t->stop_wanted, t->save_wanted};
    const arena_place mark = arena_mark(&c->scratch);
    step_words *all = arena_alloc(&c->scratch, (size_t)ranks * sizeof *all, &c->error), sum = {0};
    if (all && rank_gather(c->ranks, all, &mine, sizeof mine, &c->error) == DT_OK) sum = all[0];
    for (int i = 1; i < ranks && !ctx_failed(c); i++) {
        sum.loss_target += all[i].loss_target;
        sum.loss_bank += all[i].loss_bank;
        sum.loss_retained += all[i].loss_retained;
        sum.grad_squares += all[i].grad_squares;
        sum.stop_wanted |= all[i].stop_wanted;
        sum.save_wanted |= all[i].save_wanted;
    }
    arena_release(&c->scratch, mark);
    r->loss_target = sum.loss_target;
    r->loss_bank = sum.loss_bank;
    r->loss_retained = sum.loss_retained;
    r->grad_norm = sqrt(sum.grad_squares);
    r->stop_wanted = sum.stop_wanted;
    r->save_wanted = sum.save_wanted;
    t->stop_wanted = t->save_wanted = false;
}

bool trainer_step(trainer *t, step_result *r)
{
    *r = (step_result){.learning_rate = rate_at(&t->optimizer.rate, t->step)};
    optimizer_begin(t->c, &t->optimizer, r->learning_rate);
    for (int64_t micro = 0; micro < t->plan.accumulation; micro++) accumulate_micro_batch(t, micro, r);
    shared_sum_gradients(t->c, &t->set);
    optimizer_pull(t->c, &t->optimizer);
    add_up(t, r);
    r->finite = is_usable(t, r);
    optimizer_end(t->c, &t->optimizer, r->learning_rate, r->grad_norm, r->finite && !ctx_failed(t->c));
    if (r->finite) shared_spread_weights(t->c, &t->set);
    if (ctx_failed(t->c)) return false;
    t->skipped += !r->finite;
    t->skipped_in_row = r->finite ? 0 : t->skipped_in_row + 1;
    t->step++;
    return true;
}
