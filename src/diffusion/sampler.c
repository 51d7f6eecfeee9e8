#include "diffusion/sampler.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "diffusion/flow.h"
#include "diffusion/solver.h"

enum { PUBLISHED_CHANNELS = 4, PUBLISHED_GUIDED_CHANNELS = 3 };

/* ---- who answers ---- */

denoiser_choice denoiser_always(const denoiser *d)
{
    return (denoiser_choice){.count = 1, .entry = {{.denoiser = d}}};
}

static const struct denoiser_entry *denoiser_at(const denoiser_choice *choice, int64_t i)
{
    int e = choice->count - 1;
    while (e > 0 && choice->entry[e].from > i) e--;
    return &choice->entry[e];
}

dt_guidance_channels sampler_guidance_channels(const denoiser *d, const dt_settings *settings)
{
    if (settings->guidance_channels != DT_GUIDE_AUTO) return settings->guidance_channels;
    return d->ops->guides_three && d->shape.channels <= PUBLISHED_CHANNELS ? DT_GUIDE_THREE : DT_GUIDE_ALL;
}

static guidance guidance_from_settings(const denoiser *d, const dt_settings *s)
{
    const bool three =
        sampler_guidance_channels(d, s) == DT_GUIDE_THREE && d->shape.channels > PUBLISHED_GUIDED_CHANNELS;
    return (guidance){.scale = s->guidance_scale,
                      .nag_scale = s->nag_scale,
                      .t_first = 0,
                      .t_last = SCHEDULE_STEPS - 1,
                      .channels = three ? PUBLISHED_GUIDED_CHANNELS : d->shape.channels,
                      .other = denoiser_always(d)};
}

dt_status sampler_read_interval(int32_t *first, int32_t *last, const char *text, dt_error *err)
{
    int end = 0;
    if (sscanf(text, " %d , %d %n", first, last, &end) == 2 && !text[end] && *first >= 0 && *first <= *last &&
        *last < SCHEDULE_STEPS)
        return DT_OK;
    return error_set(err, DT_ERR_ARG,
                     "guidance_interval must be LO,HI, two of the numbers 0 to %d in this order, not '%.64s'",
                     SCHEDULE_STEPS - 1, text);
}

static bool same_process(const process *a, const process *b)
{
    return a->noise == b->noise && a->predicts == b->predicts;
}

/* Whether `other`, which the settings' `key` names, can answer in the place of the sampler's model. */
static dt_status check_fits(const sampler *s, const denoiser *other, const char *key, const char *path, dt_error *err)
{
    const sample_shape a = other->shape, b = s->shape;
    if (!sample_shape_same(a, b))
        return error_set(err, DT_ERR_SHAPE, "%s %s: samples of %lldx%lldx%lld, those of the model are %lldx%lldx%lld",
                         key, path, (long long)a.channels, (long long)a.height, (long long)a.width,
                         (long long)b.channels, (long long)b.height, (long long)b.width);
    if (!same_process(&other->process, &s->process))
        return error_set(err, DT_ERR_SHAPE, "%s %s: has another noise schedule, or predicts something else", key, path);
    return DT_OK;
}

static dt_status check_told(const sampler *s, const denoiser *other, const char *key, const char *path, dt_error *err)
{
    const denoiser *model = denoiser_at(&s->model, s->schedule.count)->denoiser;
    if (other->class_count == model->class_count) return DT_OK;
    return error_set(err, DT_ERR_SHAPE, "%s %s: has %lld classes, the model %lld: they cannot be told the same", key,
                     path, (long long)other->class_count, (long long)model->class_count);
}

dt_status sampler_guide_by(sampler *s, const denoiser *other, bool told, const char *path, dt_error *err)
{
    static const char key[] = "guidance_model";
    if (check_fits(s, other, key, path, err) != DT_OK || (told && check_told(s, other, key, path, err) != DT_OK))
        return err->status;
    s->guidance.other = denoiser_always(other);
    s->guidance.other_is_told = told;
    return DT_OK;
}

int64_t sampler_steps_of(const sampler *s, double share)
{
    return (int64_t)llround(share * (double)s->schedule.count);
}

/* Puts an entry for the steps below `steps` before the only one that is there; where those are all steps, in its place. */
static void end_by(denoiser_choice *choice, const denoiser *other, int64_t steps, bool untold, int64_t all)
{
    const struct denoiser_entry first = {.denoiser = other, .untold = untold};
    if (steps < all) {
        choice->entry[choice->count] = choice->entry[0];
        choice->entry[choice->count++].from = steps;
    }
    choice->entry[0] = first;
}

dt_status sampler_end_by(sampler *s, const denoiser *other, int64_t steps, bool told, const char *path, dt_error *err)
{
    static const char key[] = "tail_model";
    const bool guides_itself = s->guidance.other.entry[0].denoiser == s->model.entry[0].denoiser;
    if (check_fits(s, other, key, path, err) != DT_OK || (told && check_told(s, other, key, path, err) != DT_OK))
        return err->status;
    if (steps == 0) return DT_OK;
    end_by(&s->model, other, steps, !told, s->schedule.count);
    if (guides_itself) end_by(&s->guidance.other, other, steps, false, s->schedule.count);
    return DT_OK;
}

dt_status sampler_check(const process *p, const dt_settings *s, dt_error *err)
{
    const bool flow = process_is_flow(p), of_flow = s->sampler == DT_SAMPLER_HEUN || s->sampler == DT_SAMPLER_EULER;
    if (flow && !of_flow) return error_set(err, DT_ERR_ARG, "the model is a SiT: its sampler must be euler or heun");
    if (flow && s->timestep_spacing != DT_SPACING_AUTO)
        return error_set(err, DT_ERR_ARG,
                         "the times of a SiT's samplers are evenly spaced; leave out timestep_spacing");
    return DT_OK;
}

dt_status sampler_open(sampler *s, const denoiser *d, const dt_settings *settings, dt_error *err)
{
    *s = (sampler){.model = denoiser_always(d),
                   .guidance = guidance_from_settings(d, settings),
                   .shape = d->shape,
                   .process = d->process,
                   .kind = settings->sampler,
                   .eta = settings->eta,
                   .clip_sample = settings->clip_sample,
                   .seed = (uint64_t)settings->seed,
                   .start = RNG_SAMPLE_START,
                   .step = RNG_SAMPLE_STEP};
    guidance *g = &s->guidance;
    if (settings->guidance_interval[0] &&
        sampler_read_interval(&g->t_first, &g->t_last, settings->guidance_interval, err) != DT_OK)
        return err->status;
    if (sampler_check(&d->process, settings, err) != DT_OK) return err->status;
    if (g->nag_scale > 0 && !d->null_time)
        return error_set(err, DT_ERR_ARG,
                         "nag_scale: the model was not trained with time_dropout: it has no answer without the time");
    s->schedule.count = settings->num_inference_steps;
    if (process_is_flow(&d->process)) return DT_OK;
    return solver_schedule(&s->schedule, settings->sampler, d->process.noise, settings->timestep_spacing,
                           settings->num_inference_steps, err);
}

static const solver *solver_for(const sampler *s)
{
    return solver_of(s->kind, s->process.noise);
}

/* Whether the way from level i to i - 1 is corrected. At the data itself nothing lies ahead that could be clipped. */
static bool corrects(const sampler *s, int64_t i)
{
    const solver *v = solver_for(s);
    return v->correct && (i > 0 || (v->to_end && !s->clip_sample));
}

int64_t sampler_evaluations(const sampler *s)
{
    int64_t evaluations = s->schedule.count;
    for (int64_t i = 0; i < s->schedule.count; i++) evaluations += corrects(s, i);
    return evaluations;
}

void sampler_start(const sampler *s, real *x, const uint32_t index[], int64_t n)
{
    const int64_t count = sample_values(s->shape);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) rng_normal(x + i * count, count, (rng_key){s->seed, s->start, 0, index[i]});
}

/* ---- one step ---- */

/* Where in the process a call is made. */
typedef struct moment {
    int64_t step; /* what choices go by */
    int32_t t;    /* of the schedule, or a flow's level: what intervals go by */
    real told;    /* what the networks are told */
} moment;

/* One of the answers that are mixed. */
typedef struct branch {
    const denoiser *denoiser;
    condition told;
    real *answer; /* [n][stride], numbers for the host */
    int64_t stride;
} branch;

enum { BRANCHES_MAX = 3 };

/* What one denoiser says to the n samples x of the host, once for each of its branches: one pass over all of them. */
static void ask(ctx *c, const sampler *s, branch b[], int count, const real *x, int64_t n, moment at)
{
    const sample_shape shape = s->shape;
    const int64_t rows = count * n, values = n * sample_values(shape);
    condition told[BRANCHES_MAX];
    for (int i = 0; i < count; i++) told[i] = b[i].told;
    const condition all = count > 1 ? condition_join(c, told, count, n) : told[0];
    tensor *input = tensor_new(c, &c->step, 4, (int64_t[]){rows, shape.channels, shape.height, shape.width});
    real *times = arena_alloc(&c->step, (size_t)rows * sizeof *times, &c->error);
    if (ctx_failed(c)) return;
    for (int64_t i = 0; i < rows; i++) times[i] = at.told;
    numbers_send(c, input->data, x, values);
    for (int i = 1; i < count; i++)
        c->engine.memory.copy(input->data + i * values, input->data, (size_t)values * sizeof *x);
    const tensor *answer = denoiser_forward(c, b->denoiser, input, times, &all);
    real *numbers = answer ? numbers_read(c, &c->step, answer->data, tensor_count(answer)) : NULL;
    for (int i = 0; numbers && i < count; i++) {
        b[i].stride = tensor_count(answer) / rows;
        b[i].answer = numbers + i * n * b[i].stride;
    }
}

/* The same condition without the time. */
static condition timeless(ctx *c, const condition *k, int64_t n)
{
    condition without = *k;
    bool *null_time = arena_alloc(&c->step, (size_t)n * sizeof *null_time, &c->error);
    for (int64_t i = 0; null_time && i < n; i++) null_time[i] = true;
    without.null_time = null_time;
    return without;
}

/* y = other + scale (y - other) over the first `count` values of each sample. */
static void mix_other(const branch *y, const branch *other, double scale, int64_t count, int64_t n)
{
    const real by = (real)scale;
    for (int64_t i = 0; i < n; i++) {
        real *to = y->answer + i * y->stride;
        const real *u = other->answer + i * other->stride;
        for (int64_t j = 0; j < count; j++) to[j] = u[j] + by * (to[j] - u[j]);
    }
}

/* What the time changes, told - without, in the place of `without`; both are of one denoiser. */
static void take_difference(const branch *told, const branch *without, int64_t count, int64_t n)
{
    for (int64_t i = 0; i < n * told->stride; i += told->stride)
        for (int64_t j = i; j < i + count; j++) without->answer[j] = told->answer[j] - without->answer[j];
}

/* y += scale difference */
static void mix_difference(const branch *y, const branch *difference, double scale, int64_t count, int64_t n)
{
    const real by = (real)scale;
    for (int64_t i = 0; i < n * y->stride; i += y->stride)
        for (int64_t j = i; j < i + count; j++) y->answer[j] += by * difference->answer[j];
}

/* The guided answer [n][stride]. Branches of the model come in one pass, and so does the other one where it is the model's too. */
static real *ask_guided(ctx *c, const sampler *s, const real *x, const condition *k, int64_t n, moment at,
                        int64_t *stride)
{
    const guidance *g = &s->guidance;
    const struct denoiser_entry *maker = denoiser_at(&s->model, at.step);
    const denoiser *model = maker->denoiser, *guide = denoiser_at(&g->other, at.step)->denoiser;
    const bool inside = at.t >= g->t_first && at.t <= g->t_last && !maker->untold;
    const bool aware = inside && g->nag_scale > 0 && model->null_time;
    branch b[BRANCHES_MAX] = {{.denoiser = model, .told = *k}}, *last = b;
    if (maker->untold) b->told = denoiser_unconditional(c, model, k, n);
    if (aware) *++last = (branch){.denoiser = model, .told = timeless(c, k, n)};
    if (inside && g->scale != 1) {
        const condition other = g->other_is_told ? *k : denoiser_unconditional(c, guide, k, n);
        *++last = (branch){.denoiser = guide, .told = other};
    }
    const bool apart = last->denoiser != model, guided = last - b > aware;
    const int count = (int)(last - b) + 1 - apart;
    ask(c, s, b, count, x, n, at);
    if (apart) ask(c, s, last, 1, x, n, at);
    if (ctx_failed(c)) return NULL;
    const int64_t values = g->channels * s->shape.height * s->shape.width;
    if (aware) take_difference(b, &b[1], values, n);
    if (guided) mix_other(b, last, g->scale, values, n);
    if (aware) mix_difference(b, &b[1], g->nag_scale, values, n);
    *stride = b->stride;
    return b->answer;
}

/* Where level `at` is in the process, in step i; -1: the data. */
static moment moment_of(const sampler *s, int64_t i, int64_t at)
{
    if (!process_is_flow(&s->process)) return (moment){i, s->schedule.original[at], (real)s->schedule.original[at]};
    const double t = flow_step_time(s->schedule.count, at + 1);
    return (moment){i, flow_level(t), (real)t};
}

/* What the network said at level `at` of a sample becomes what the solver goes by: the velocity along a flow, else the noise that is
 * in the sample. x0 receives what that stands for, unless it is NULL. */
static void settle(const sampler *s, real *said, const real *x, int64_t at, real *x0)
{
    const int64_t count = sample_values(s->shape);
    if (process_is_flow(&s->process)) {
        if (s->clip_sample) flow_clip(said, x, count, flow_step_time(s->schedule.count, at + 1));
        return;
    }
    if (s->process.predicts == PREDICTS_VELOCITY) schedule_noise_of_velocity(said, x, count, &s->schedule, at);
    if (s->clip_sample) schedule_clip_x0(said, x, count, &s->schedule, at);
    if (x0) schedule_x0(x0, said, x, count, &s->schedule, at);
}

/* Lets the solver go on from what the network said at level `at` of the way from level i to i - 1. */
static void move(const sampler *s, const trajectories *b, int64_t i, int64_t at, real *out, int64_t stride, real *noise)
{
    const solver *v = solver_for(s);
    solver_move *const go = at == i ? v->step : v->correct;
    const int64_t count = sample_values(s->shape);
    const bool random = at == i && v->adds_noise && v->adds_noise(&s->schedule, i, s->eta);
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < b->n; k++) {
        real *eps = out + k * stride, *x = b->x + k * count, *z = noise + k * count;
        real *kept = b->kept + k * v->kept * count;
        settle(s, eps, x, at, v->kept ? kept : NULL);
        if (random) rng_normal(z, count, (rng_key){s->seed, s->step, (uint32_t)i, b->index[k]});
        go(&(solver_step){.schedule = &s->schedule,
                          .i = i,
                          .count = count,
                          .eta = s->eta,
                          .x = x,
                          .eps = eps,
                          .v = stride == 2 * count ? eps + count : NULL,
                          .noise = z,
                          .kept = kept});
    }
}

/* One evaluation at level `at` (i, or i - 1 for the solver's correction) of the way from level i to i - 1. */
static void evaluate(ctx *c, const sampler *s, const trajectories *b, const condition *k, int64_t i, int64_t at)
{
    const arena_place mark = arena_mark(&c->step);
    int64_t stride = 0;
    real *noise = arena_alloc(&c->step, (size_t)(b->n * sample_values(s->shape)) * sizeof *noise, &c->error);
    real *out = ask_guided(c, s, b->x, k, b->n, moment_of(s, i, at), &stride);
    if (!ctx_failed(c)) move(s, b, i, at, out, stride, noise);
    arena_release(&c->step, mark);
}

/* ---- all steps ---- */

/* Values that the solver keeps of n samples. */
static size_t kept_values(const sampler *s, int64_t n)
{
    return (size_t)(n * solver_for(s)->kept * sample_values(s->shape));
}

dt_status sampler_begin(ctx *c, const sampler *s, trajectories *b, real *x, const uint32_t index[], int64_t n)
{
    *b = (trajectories){.x = x, .index = index, .n = n, .left = s->schedule.count};
    b->kept = arena_alloc(&c->step, kept_values(s, n) * sizeof *x, &c->error);
    return c->error.status;
}

dt_status sampler_fork(ctx *c, const sampler *s, trajectories *twin, const trajectories *b, real *x)
{
    const size_t kept = kept_values(s, b->n) * sizeof *x;
    *twin = *b;
    twin->x = x;
    twin->kept = arena_alloc(&c->step, kept, &c->error);
    if (ctx_failed(c)) return c->error.status;
    memcpy(x, b->x, (size_t)(b->n * sample_values(s->shape)) * sizeof *x);
    if (b->left < s->schedule.count) memcpy(twin->kept, b->kept, kept); /* before the first step it holds nothing */
    return c->error.status;
}

static void take_step(ctx *c, const sampler *s, const trajectories *b, const condition *k, int64_t i)
{
    evaluate(c, s, b, k, i, i);
    if (corrects(s, i) && ctx_go_on(c)) evaluate(c, s, b, k, i, i - 1);
}

dt_status sampler_go_on(ctx *c, const sampler *s, trajectories *b, const condition *k, int64_t left)
{
    c->recording = false;
    while (b->left > left && ctx_go_on(c)) take_step(c, s, b, k, --b->left);
    return c->error.status;
}

dt_status sampler_continue(ctx *c, const sampler *s, real *x, const condition *k, const uint32_t index[], int64_t n)
{
    trajectories b;
    const arena_place mark = arena_mark(&c->step);
    if (sampler_begin(c, s, &b, x, index, n) == DT_OK) sampler_go_on(c, s, &b, k, 0);
    arena_release(&c->step, mark);
    return c->error.status;
}

dt_status sampler_draw(ctx *c, const sampler *s, real *x, const condition *k, const uint32_t index[], int64_t n)
{
    sampler_start(s, x, index, n);
    return sampler_continue(c, s, x, k, index, n);
}
