#include "train/trainer.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "run/checkpoint.h"
#include "measure/measure.h"

enum { SKIPPED_IN_ROW_MAX = 5 };

void trainer_log(const trainer *t, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (t->observer->log) t->observer->log(t->observer->user, line);
}

/* ---- one step ---- */

/* Mean of mse + vb over a half of the batch, added to a running mean over the step's micro-batches. */
static double mean_loss(const batch *b, int64_t first, int64_t last)
{
    double sum = 0;
    for (int64_t i = first; i < last; i++) sum += (double)b->mse[i] + (double)b->vb[i];
    return last > first ? sum / (double)(last - first) : (double)NAN;
}

/* A loss that has samples and is not finite, and a gradient whose square no float holds (it would leave an infinite second
 * moment behind), must not reach the weights. */
static bool is_usable(const trainer *t, const step_result *r)
{
    bool retains = difftuning_bank_count(&t->method, t->s->train_batch_size) > 0;
    return isfinite(r->loss_target) && (!retains || isfinite(r->loss_bank)) &&
           isfinite((real)(r->grad_norm * r->grad_norm));
}

/* Forward and backward over one micro-batch; gradients are added up in the weights. */
static void accumulate_micro_batch(trainer *t, int64_t micro, step_result *r)
{
    ctx *c = t->c;
    double part = 1.0 / (double)t->s->gradient_accumulation_steps;
    const arena_place mark = arena_mark(&c->step);
    batch b;
    if (!batch_new(c, &b, &t->model, t->s->train_batch_size)) return;
    feed_batch(t, &b, micro);
    c->recording = true;
    tensor *loss = batch_loss(c, &t->model, &b);
    c->recording = false;
    if (!loss) return;
    r->loss_target += part * mean_loss(&b, 0, b.target_count);
    r->loss_bank += part * mean_loss(&b, b.target_count, b.count);
    real value;
    if (numbers_fetch(c, &value, loss->data, 1) && isfinite(value)) batch_backward(c, loss);
    tape_clear(c);
    arena_release(&c->step, mark);
}

bool trainer_step(trainer *t, step_result *r)
{
    *r = (step_result){.learning_rate = optimizer_learning_rate(t->s, t->step)};
    optimizer_begin(t->c, &t->optimizer, r->learning_rate);
    for (int64_t micro = 0; micro < t->s->gradient_accumulation_steps; micro++) accumulate_micro_batch(t, micro, r);
    r->grad_norm = optimizer_grad_norm(t->c, &t->optimizer);
    r->finite = is_usable(t, r);
    optimizer_end(t->c, &t->optimizer, r->learning_rate, r->grad_norm, r->finite && !ctx_failed(t->c));
    if (ctx_failed(t->c)) return false;
    t->skipped += !r->finite;
    t->skipped_in_row = r->finite ? 0 : t->skipped_in_row + 1;
    t->step++;
    return true;
}

/* ---- between steps ---- */

static bool due(int64_t every, int64_t step)
{
    return every > 0 && step % every == 0;
}

static void log_step(trainer *t, const step_result *r, double samples_per_second)
{
    dt_error *err = &t->c->error;
    run_log_write(&t->log,
                  json_pack("{s:s, s:I, s:o, s:o, s:o, s:f, s:o, s:f, s:I, s:I}", "kind", "train", "step",
                            (json_int_t)t->step, "loss_target", run_log_number(r->loss_target), "loss_bank",
                            run_log_number(r->loss_bank), "grad_norm", run_log_number(r->grad_norm), "lr",
                            r->learning_rate, "samples_per_second", run_log_number(samples_per_second), "time_s",
                            run_log_seconds(&t->log), "memory_bytes", (json_int_t)run_log_memory(), "skipped",
                            (json_int_t)t->skipped),
                  err);
    run_log_scalar(&t->log, "loss/target", t->step, r->loss_target, err);
    run_log_scalar(&t->log, "loss/bank", t->step, r->loss_bank, err);
    run_log_scalar(&t->log, "grad_norm", t->step, r->grad_norm, err);
    run_log_scalar(&t->log, "learning_rate", t->step, r->learning_rate, err);
    run_log_scalar(&t->log, "samples_per_second", t->step, samples_per_second, err);
}

static void tell_progress(const trainer *t, const step_result *r, double samples_per_second)
{
    if (!t->observer->progress) return;
    double samples = (double)(t->s->train_batch_size * t->s->gradient_accumulation_steps);
    dt_progress p = {.task = "train",
                     .step = t->step,
                     .step_count = t->s->max_train_steps,
                     .loss_target = r->loss_target,
                     .loss_bank = r->loss_bank,
                     .grad_norm = r->grad_norm,
                     .learning_rate = r->learning_rate,
                     .samples_per_second = samples_per_second,
                     .seconds_left = (double)(t->s->max_train_steps - t->step) * samples / samples_per_second,
                     .memory_bytes = run_log_memory()};
    t->observer->progress(t->observer->user, &p);
}

/* A step that was not finite is named at once; five in a row end the run with the last good checkpoint. */
static dt_status judge_step(trainer *t, const step_result *r)
{
    if (r->finite) return DT_OK;
    trainer_log(t, "step %lld was skipped: loss %g, gradient norm %g (%lld skipped so far)", (long long)t->step,
                r->loss_target, r->grad_norm, (long long)t->skipped);
    if (t->skipped_in_row < SKIPPED_IN_ROW_MAX) return DT_OK;
    char good[64] = "no checkpoint was due before";
    if (t->saved_step >= 0)
        snprintf(good, sizeof good, "the checkpoint of step %lld is good", (long long)t->saved_step);
    return error_set(&t->c->error, DT_ERR_NUMERIC, "%s: %d steps in a row were not finite (the last is step %lld); %s",
                     t->s->output_dir, SKIPPED_IN_ROW_MAX, (long long)t->step, good);
}

/* Validation, sample grid and distance at the steps they are asked for, and at the end. */
static void measure_when_due(trainer *t)
{
    bool last = t->step == t->s->max_train_steps;
    if (due(t->s->validation_steps, t->step) || (last && t->s->validation_steps > 0)) measure_validation(t);
    if (due(t->s->sample_steps, t->step) || (last && t->s->sample_steps > 0)) measure_grid(t);
    if (due(t->s->eval_steps, t->step) || (last && t->s->eval_steps > 0)) measure_distance(t);
}

static dt_status stop_on_request(trainer *t)
{
    if (checkpoint_save(t) == DT_OK)
        error_set(&t->c->error, DT_ERR_INTERRUPTED,
                  "stopped at step %lld with a checkpoint; the same command goes on from it", (long long)t->step);
    return t->c->error.status;
}

static bool stop_wanted(const trainer *t)
{
    return t->observer->should_stop && t->observer->should_stop(t->observer->user);
}

dt_status trainer_run(trainer *t)
{
    const dt_settings *s = t->s;
    ctx *c = t->c;
    double samples = (double)(s->train_batch_size * s->gradient_accumulation_steps), rate = 0;
    if (t->step == 0) measure_when_due(t);
    while (t->step < s->max_train_steps && !ctx_failed(c)) {
        if (stop_wanted(t)) return stop_on_request(t);
        step_result r;
        double before = run_log_seconds(&t->log);
        if (!trainer_step(t, &r) || judge_step(t, &r) != DT_OK) break;
        double now = samples / (run_log_seconds(&t->log) - before);
        rate = rate > 0 ? 0.95 * rate + 0.05 * now : now;
        tell_progress(t, &r, rate);
        if (due(s->logging_steps, t->step) || t->step == s->max_train_steps) log_step(t, &r, rate);
        measure_when_due(t);
        if (due(s->checkpointing_steps, t->step) && !ctx_failed(c)) checkpoint_save(t);
    }
    return c->error.status;
}
