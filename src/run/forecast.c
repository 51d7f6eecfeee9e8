#include "run/forecast.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/text.h"
#include "data/need.h"
#include "file/folder.h"
#include "run/averages.h"
#include "run/checkpoint.h"
#include "run/psi_file.h"
#include "run/run_folder.h"

/* So many steps and so many seconds are enough; very quick steps end at the higher count. */
enum { STEPS_MIN = 3, STEPS_MAX = 50 };
static const double SECONDS_MIN = 2;

bool step_times_add(step_times *times, double seconds)
{
    if (times->known) return false;
    if (times->warm) {
        times->steps++;
        times->seconds += seconds;
    }
    times->warm = true;
    times->known = times->steps >= STEPS_MAX || (times->steps >= STEPS_MIN && times->seconds >= SECONDS_MIN);
    return times->known;
}

/* ---- time ---- */

/* How often something happens behind step `from` that happens every so many steps, before the first one and after the last
 * one. */
static double times_due(const training *r, int64_t every, int64_t from)
{
    if (every == 0) return 0;
    const int64_t inside = r->step_count / every - from / every;
    return (double)(inside + (r->step_count % every != 0) + (from == 0));
}

/* Forward passes of single samples that a measurement takes. */
static double passes_of(const training *r, measurement kind)
{
    const measures *m = &r->measures;
    const double sets = r->trainer.bank.count ? 2 : 1, guided = r->s->guidance_scale != 1 ? 2 : 1;
    const double per_sample = guided * (double)sampler_evaluations(&m->drawing.sampler);
    switch (kind) {
    case MEASUREMENT_VALIDATION: return sets * (double)(m->validation_count * BAND_COUNT);
    case MEASUREMENT_GRID: return per_sample * (double)m->sample_count;
    case MEASUREMENT_DISTANCE: return per_sample * (double)m->distance_count;
    default: return per_sample * (double)r->convergence.count;
    }
}

/* A backward pass takes two forward ones; a checkpointed one makes the forward one again. A teacher makes one of each row that
 * it teaches. */
static double seconds_of_pass(const training *r, double step_seconds)
{
    const step_plan *plan = &r->trainer.plan;
    const double passes = r->s->gradient_checkpointing ? 4 : 3, rows = (double)(plan->batch + plan->noise_count);
    const bool distils = difftuning_distils(&r->trainer.method);
    const double taught = !distils ? 0 : plan->noise_count ? rows : (double)plan->retained_count;
    return step_seconds / ((double)plan->accumulation * (rows * passes + taught));
}

/* What measurements from step `from` on will take: as long as those of their kind took, else what their forward passes take.
 * *guessed: there are some of the latter. */
static double measuring_seconds(const training *r, double step_seconds, int64_t from, bool *guessed)
{
    double sum = 0;
    *guessed = false;
    for (int kind = 0; kind < MEASUREMENTS; kind++) {
        const double times = times_due(r, r->measuring_steps[kind], from), took = r->seconds[kind];
        const double each = took > 0 ? took : seconds_of_pass(r, step_seconds) * passes_of(r, (measurement)kind);
        sum += times * each;
        *guessed = *guessed || (times > 0 && took == 0);
    }
    return sum;
}

void forecast_tell(const training *r, const step_times *times, int64_t from)
{
    char stepping[TEXT_DURATION_MAX], measuring[TEXT_DURATION_MAX];
    bool guessed;
    const double step_seconds = times->seconds / (double)times->steps;
    text_duration(stepping, step_seconds * (double)(r->step_count - from));
    text_duration(measuring, measuring_seconds(r, step_seconds, from, &guessed));
    trainer_log(&r->trainer,
                "forecast: %.3g s a step; %lld steps take about %s, validation and samples on the way %s%s",
                step_seconds, (long long)(r->step_count - from), stepping, measuring,
                guessed ? " (an estimate: not all of them have been made yet)" : "");
}

/* ---- disk ---- */

dt_status forecast_disk(const training *r)
{
    const trainer *t = &r->trainer;
    const int64_t averages = averages_disk_bytes(r);
    int64_t needed;
    char near[DT_PATH_MAX];
    int64_t free_bytes;
    dt_error *err = &t->c->error;
    if (__builtin_add_overflow(checkpoint_disk_bytes(r), averages, &needed)) needed = INT64_MAX;
    file_nearest_folder(near, r->folder);
    if (file_free_bytes(&free_bytes, near, err) != DT_OK) return err->status;
    trainer_log(t, "disk: up to %lld MiB needed, %lld MiB free", (long long)(needed >> 20),
                (long long)(free_bytes >> 20));
    if (averages) trainer_log(t, "disk: %lld MiB of them for averages", (long long)(averages >> 20));
    if (needed > free_bytes)
        error_set(err, DT_ERR_IO, "%s: checkpoints, averages and result need up to %lld MiB, %lld MiB are free",
                  r->folder, (long long)(needed >> 20), (long long)(free_bytes >> 20));
    return err->status;
}

/* ---- memory ---- */

dt_status forecast_memory(training *r)
{
    ctx *c = r->trainer.c;
    const int64_t beside =
        measures_rehearse(&r->measures, &r->trainer) + convergence_bytes(&r->convergence, &r->trainer);
    if (c->error.status == DT_OK) need_tell(c, r->trainer.observer, beside);
    return c->error.status;
}

/* ---- the dry run ---- */

static bool stop_wanted(const training *r)
{
    const dt_observer *o = r->trainer.observer;
    return o->should_stop && o->should_stop(o->user);
}

static dt_status try_steps(training *r)
{
    trainer *t = &r->trainer;
    step_times times = {0};
    const int64_t from = t->step;
    while (t->step < r->step_count && !times.known) {
        if (stop_wanted(r)) return error_set(&t->c->error, DT_ERR_INTERRUPTED, "stopped; nothing was written");
        step_result step;
        const double before = clock_s();
        if (!trainer_step(t, &step)) return t->c->error.status;
        step_times_add(&times, clock_s() - before);
        if (!step.finite) trainer_log(t, "step %lld was not finite: loss %g", (long long)t->step, step.loss_target);
    }
    if (times.steps) forecast_tell(r, &times, from);
    return DT_OK;
}

dt_status training_try(training *r)
{
    trainer *t = &r->trainer;
    dt_error *err = &t->c->error;
    if (run_folder_look(r, err) != DT_OK || forecast_disk(r) != DT_OK || forecast_memory(r) != DT_OK ||
        psi_file_look(r) != DT_OK || checkpoint_resume(r) != DT_OK || run_folder_check_length(r, err) != DT_OK)
        return err->status;
    if (t->step >= r->step_count) {
        trainer_log(t, "dry run: the run has made its %lld steps", (long long)r->step_count);
        return DT_OK;
    }
    if (try_steps(r) != DT_OK) return err->status;
    trainer_log(t, "dry run: nothing was written; without --dry-run the run %s",
                t->step && r->saved_step >= 0 ? "goes on from its checkpoint" : "begins");
    return DT_OK;
}
