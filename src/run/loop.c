#include "run/loop.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/process.h"
#include "run/averages.h"
#include "run/checkpoint.h"
#include "run/forecast.h"
#include "run/psi_file.h"
#include "run/record.h"
#include "run/run_folder.h"
#include "train/shared.h"

enum { SKIPPED_IN_ROW_MAX = 5 };

static ctx *context_of(const training *r)
{
    return r->trainer.c;
}

/* ---- between steps ---- */

static bool due(const training *r, int64_t every)
{
    const int64_t step = r->trainer.step;
    return every > 0 && (step % every == 0 || step == r->step_count);
}

static bool due_or_last(const training *r, int64_t every)
{
    return due(r, every) || r->trainer.step == r->step_count;
}

static int64_t samples_of_step(const training *r)
{
    return r->trainer.plan.batch * r->trainer.plan.accumulation;
}

static void tell_progress(const training *r, const step_result *step, double samples_per_second)
{
    const trainer *t = &r->trainer;
    const double samples_left = (double)((r->step_count - t->step) * samples_of_step(r));
    const dt_progress p = {.task = "train",
                           .step = t->step,
                           .step_count = r->step_count,
                           .loss_target = step->loss_target,
                           .loss_bank = step->loss_bank,
                           .loss_retained = step->loss_retained,
                           .grad_norm = step->grad_norm,
                           .learning_rate = step->learning_rate,
                           .samples_per_second = samples_per_second,
                           .seconds_left = samples_left / samples_per_second,
                           .memory_bytes = process_memory()};
    if (t->observer->progress) t->observer->progress(t->observer->user, &p);
}

/* A step that was not finite is named at once; five in a row end the run with the last good checkpoint. */
static dt_status judge_step(training *r, const step_result *step)
{
    const trainer *t = &r->trainer;
    if (step->finite) return DT_OK;
    trainer_log(t, "step %lld was skipped: loss %g, gradient norm %g (%lld skipped so far)", (long long)t->step,
                step->loss_target, step->grad_norm, (long long)t->skipped);
    if (t->skipped_in_row < SKIPPED_IN_ROW_MAX) return DT_OK;
    char good[64] = "no checkpoint was due before";
    if (r->saved_step >= 0)
        snprintf(good, sizeof good, "the checkpoint of step %lld is good", (long long)r->saved_step);
    return error_set(&t->c->error, DT_ERR_NUMERIC, "%s: %d steps in a row were not finite (the last is step %lld); %s",
                     r->folder, SKIPPED_IN_ROW_MAX, (long long)t->step, good);
}

/* ---- what the observer wants ---- */

/* Whether it wants nothing. What it wanted once it wants until it is served. */
static bool nothing_wanted(void *user)
{
    training *r = user;
    const dt_observer *o = r->trainer.observer;
    r->stop_wanted = r->stop_wanted || (o->should_stop && o->should_stop(o->user));
    r->save_wanted = r->save_wanted || (o->should_save && o->should_save(o->user));
    return !r->stop_wanted && !r->save_wanted && !rank_is_lost(context_of(r)->ranks);
}

/* Makes the checkpoint; a stop is DT_ERR_INTERRUPTED. */
static dt_status serve(training *r)
{
    dt_error *err = &context_of(r)->error;
    r->save_wanted = false;
    if (checkpoint_save(r) == DT_OK && r->stop_wanted)
        error_set(err, DT_ERR_INTERRUPTED, "stopped at step %lld with a checkpoint; the same command goes on from it",
                  (long long)r->trainer.step);
    return err->status;
}

/* ---- measurements ---- */

/* One measurement. While it goes on the weights may be exchanged with their averages, so that a wish breaks it off; it is
 * written down when it is whole only, and begins again behind the checkpoint, in this call or the next one. */
static void measure(training *r, measurement kind, dt_status (*record)(training *r))
{
    ctx *c = context_of(r);
    double before = clock_s();
    while (!ctx_failed(c) && record(r) == DT_ERR_INTERRUPTED) {
        error_clear(&c->error);
        trainset_changed(c, &r->trainer.set); /* which did nothing after the failure */
        serve(r);
        before = clock_s();
    }
    const bool resumed = r->recorded.step > 0 && r->recorded.step == r->trainer.step; /* some of it was there already */
    if (!ctx_failed(c) && !resumed) r->seconds[kind] = clock_s() - before;
}

static dt_status (*const recorders[MEASUREMENTS])(training *r) = {record_validation, record_grid, record_distance,
                                                                  record_convergence};

/* True when a kind was made for the first time in this call. */
static bool measure_when_due(training *r)
{
    bool first = false;
    for (int kind = 0; kind < MEASUREMENTS; kind++) {
        if (!due(r, r->measuring_steps[kind])) continue;
        first = first || r->seconds[kind] == 0;
        measure(r, (measurement)kind, recorders[kind]);
    }
    return first;
}

/* What a last step makes besides, of one that was not known to be the last. */
static void complete_last(training *r)
{
    averages_write(r);
    for (int kind = 0; kind < MEASUREMENTS; kind++) {
        const int64_t every = r->measuring_steps[kind];
        if (every > 0 && r->trainer.step % every) measure(r, (measurement)kind, recorders[kind]);
    }
}

/* The run becomes as long as it is now, where that is wanted and reached. */
static bool end_when_converged(training *r)
{
    bool converged;
    if (!r->s->stop_at_convergence || ctx_failed(context_of(r)) ||
        !due(r, r->measuring_steps[MEASUREMENT_CONVERGENCE]) || record_has_converged(&converged, r) != DT_OK ||
        !converged || r->trainer.step == r->step_count)
        return false;
    trainer_log(&r->trainer, "step %lld: samples obey their controls; the run ends here", (long long)r->trainer.step);
    r->step_count = r->trainer.step;
    complete_last(r);
    return true;
}

/* Steps from where the trainer stands to the last one, with all that happens between steps. */
static dt_status make_steps(training *r)
{
    trainer *t = &r->trainer;
    ctx *c = t->c;
    double rate = 0;
    step_times times = {0};
    measure_when_due(r); /* but for what was measured here before the last stop */
    end_when_converged(r);
    while (t->step < r->step_count && !ctx_failed(c)) {
        if (!nothing_wanted(r) && serve(r) != DT_OK) break;
        step_result step;
        const double before = run_log_seconds(&r->log);
        if (rank_tell(c->ranks, (rank_order){RANK_STEP, 0, r->saved_step}, &c->error) != DT_OK) break;
        if (!trainer_step(t, &step)) break;
        rank_done(c->ranks);
        if (judge_step(r, &step) != DT_OK) break;
        r->stop_wanted |= step.stop_wanted;
        r->save_wanted |= step.save_wanted;
        const double seconds = run_log_seconds(&r->log) - before, now = (double)samples_of_step(r) / seconds;
        if (step_times_add(&times, seconds)) forecast_tell(r, &times, t->step);
        rate = rate > 0 ? 0.95 * rate + 0.05 * now : now;
        tell_progress(r, &step, rate);
        const bool logged = due_or_last(r, r->logging_steps);
        if (logged) record_step(r, &step, rate);
        if (due_or_last(r, r->average_steps)) averages_write(r);
        if (due_or_last(r, r->checkpointing_steps) && !ctx_failed(c)) checkpoint_save(r);
        if (measure_when_due(r) && times.known && t->step < r->step_count) forecast_tell(r, &times, t->step);
        if (end_when_converged(r) && !logged) record_step(r, &step, rate);
    }
    return c->error.status;
}

/* ---- several ranks ---- */

/* One thing that rank 0 tells. */
static dt_status obey(training *r, const rank_order *order)
{
    trainer *t = &r->trainer;
    const dt_observer *o = t->observer;
    step_result step;
    switch ((rank_what)order->what) {
    case RANK_LOAD:
        if (psi_file_take(r) == DT_OK && order->value >= 0) checkpoint_follow(r, order->value);
        return t->c->error.status;
    case RANK_COLLECT: return shared_give(t->c, &t->set, order);
    case RANK_STEP:
        r->saved_step = order->value;
        t->stop_wanted = o->should_stop && o->should_stop(o->user);
        t->save_wanted = o->should_save && o->should_save(o->user);
        trainer_step(t, &step);
        return t->c->error.status;
    default: return rank_heard_end(t->c->ranks, order, &t->c->error);
    }
}

/* What the ranks but rank 0 do: nothing but what they are told. */
static dt_status follow(training *r)
{
    ctx *c = context_of(r);
    rank_order order = {0};
    c->ranks->obeys = true;
    while (rank_hear(c->ranks, &order, &c->error) == DT_OK && order.what != RANK_END)
        if (obey(r, &order) != DT_OK) break;
    return ctx_failed(c) ? c->error.status : rank_heard_end(c->ranks, &order, &c->error);
}

/* A rank that has ended is told by the first one that is there, with where the same command goes on. */
static dt_status tell_lost(training *r)
{
    ctx *c = context_of(r);
    char good[96] = "no checkpoint was made before, and the same command begins again";
    if (c->error.status != DT_ERR_IO || !c->ranks || c->ranks->lost < 0) return c->error.status;
    const int lost = c->ranks->lost, teller = lost == 0 ? 1 : 0;
    if (r->saved_step >= 0)
        snprintf(good, sizeof good, "the checkpoint of step %lld is good, and the same command goes on from it",
                 (long long)r->saved_step);
    error_clear(&c->error);
    if (c->ranks->index != teller) return error_set(&c->error, DT_ERR_IO, "%s", "");
    return error_set(&c->error, DT_ERR_IO, "%s: rank %d of %d has ended before the run was done; %s", r->folder, lost,
                     c->ranks->count, good);
}

/* ---- the whole ---- */

static dt_status lead(training *r)
{
    trainer *t = &r->trainer;
    dt_error *err = &t->c->error;
    if (run_folder_open(r, err) != DT_OK || forecast_disk(r) != DT_OK || forecast_memory(r) != DT_OK ||
        psi_file_take(r) != DT_OK || checkpoint_resume(r) != DT_OK || run_folder_check_length(r, err) != DT_OK ||
        run_folder_fill(r, err) != DT_OK)
        return err->status;
    const int64_t known = t->step > 0 ? t->step : -1; /* before the first step everything is measured and logged anew */
    if (known < 0 && run_log_exists(r->folder))
        trainer_log(t, "%s: no checkpoint to go on from; the run begins again, and its log with it", r->folder);
    if (run_log_open(&r->log, r->folder, known, r->s->tensorboard, err) != DT_OK) return err->status;
    if (t->step > 0 && record_find(r) != DT_OK) return err->status;
    if (rank_tell(t->c->ranks, (rank_order){RANK_LOAD, 0, r->saved_step}, err) != DT_OK) return err->status;
    t->c->go_on = nothing_wanted;
    t->c->go_on_user = r;
    if (make_steps(r) != DT_OK || checkpoint_save(r) != DT_OK) return err->status;
    return run_folder_finish(r);
}

dt_status training_through(training *r)
{
    ctx *c = context_of(r);
    if (rank_follows(c->ranks))
        follow(r);
    else
        lead(r);
    return tell_lost(r);
}
