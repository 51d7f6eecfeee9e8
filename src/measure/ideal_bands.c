#include "measure/ideal_bands.h"

#include <string.h>

#include "diffusion/flow.h"
#include "measure/bands.h"
#include "model/ideal/ideal.h"

/* A batch of noised pictures and what is said of them, all [n,D] in the step arena. */
typedef struct noised {
    int64_t n, each;
    int32_t *t;
    real *time; /* as a denoiser is told it */
    real *x0, *noise, *x;
    real *ideal, *near; /* F(x); the picture with the largest weight */
    int64_t *nearest;
} noised;

static bool noised_alloc(ctx *c, noised *b, const denoiser *d, int64_t n)
{
    const size_t values = (size_t)(n * sample_values(d->shape)) * sizeof(real);
    real **const rows[] = {&b->x0, &b->noise, &b->x, &b->ideal, &b->near};
    b->n = n;
    b->each = sample_values(d->shape);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) *rows[i] = arena_alloc(&c->step, values, &c->error);
    b->t = arena_alloc(&c->step, (size_t)n * sizeof *b->t, &c->error);
    b->time = arena_alloc(&c->step, (size_t)n * sizeof *b->time, &c->error);
    b->nearest = arena_alloc(&c->step, (size_t)n * sizeof *b->nearest, &c->error);
    return !ctx_failed(c);
}

/* x of x0 and noise at the level of each row. */
static void diffuse(const ideal_plan *p, const noised *b)
{
    schedule s;
    const bool flow = process_is_flow(&p->ideal->process);
    if (!flow) schedule_full(&s, p->ideal->process.noise);
    for (int64_t i = 0; i < b->n; i++) {
        real *x = b->x + i * b->each;
        const real *x0 = b->x0 + i * b->each, *noise = b->noise + i * b->each;
        b->time[i] = flow ? (real)flow_time(b->t[i], 0.5) : (real)b->t[i];
        if (flow)
            flow_add_noise(x, x0, noise, b->each, b->time[i]);
        else
            schedule_add_noise(x, x0, noise, b->each, &s, b->t[i]);
    }
}

/* Items as in measure/bands.h; fixed >= 0: all at that t. */
static void fill(const ideal_plan *p, noised *b, int64_t first, int bands, int32_t fixed)
{
    for (int64_t i = 0; i < b->n; i++) {
        const int64_t item = first + i;
        rng_key key;
        const int32_t t = bands_t(&key, p->seed, item, bands);
        p->set->get(p->set->user, b->x0 + i * b->each, measure_spread(item / bands, p->examples, p->set->count));
        b->t[i] = fixed >= 0 ? fixed : t;
        rng_normal(b->noise + i * b->each, b->each, key);
    }
    diffuse(p, b);
}

static dt_status ask_ideal(const ideal_plan *p, noised *b)
{
    if (ideal_posterior(p->c, p->ideal, b->ideal, b->nearest, b->x, b->time, NULL, b->n) != DT_OK)
        return p->c->error.status;
    for (int64_t i = 0; i < b->n; i++) p->known->get(p->known->user, b->near + i * b->each, b->nearest[i]);
    return DT_OK;
}

/* The answers of the model [n, C or 2C, ..] for the host, and the values of one in *stride; NULL after a failure. */
static const real *ask_model(const ideal_plan *p, const noised *b, int64_t *stride)
{
    ctx *c = p->c;
    const denoiser *d = p->model;
    tensor *x = tensor_new(c, &c->step, 4, (int64_t[]){b->n, d->shape.channels, d->shape.height, d->shape.width});
    const condition nothing = denoiser_unconditional(c, d, &(condition){0}, b->n);
    if (ctx_failed(c)) return NULL;
    numbers_send(c, x->data, b->x, b->n * b->each);
    const tensor *out = denoiser_forward(c, d, x, b->time, &nothing);
    if (!out) return NULL;
    *stride = tensor_count(out) / b->n;
    return numbers_read(c, &c->step, out->data, tensor_count(out));
}

/* alpha and sigma of row i. */
static noise_level level_of(const ideal_plan *p, const noised *b, const schedule *s, int64_t i)
{
    if (!process_is_flow(&p->ideal->process)) return schedule_level(s, b->t[i]);
    return (noise_level){.alpha = (double)b->time[i], .sigma = 1 - (double)b->time[i]};
}

/* The noise that an answer stands for in x. */
static double noise_of(const ideal_plan *p, noise_level at, double answer, double x)
{
    if (p->model->process.predicts == PREDICTS_NOISE) return answer;
    if (process_is_flow(&p->model->process)) return x - at.alpha * answer;
    return at.alpha * answer + at.sigma * x;
}

/* Adds row i's means of squares to its band. */
static void add_row(const ideal_plan *p, const noised *b, const schedule *s, int64_t i, const real *said,
                    dt_ideal_band *out)
{
    const noise_level at = level_of(p, b, s, i);
    const real *mean = ideal_mean(p->ideal);
    const double share = 1 / (double)b->each;
    dt_ideal_band sum = {0};
    for (int64_t j = 0; j < b->each; j++) {
        const int64_t k = i * b->each + j;
        const double f = (double)b->ideal[k], x = (double)b->x[k], noise = (double)b->noise[k];
        const double ideal = (x - at.alpha * f) / at.sigma, model = said ? noise_of(p, at, (double)said[j], x) : 0;
        sum.nearest += (f - (double)b->near[k]) * (f - (double)b->near[k]);
        sum.mean += (f - (double)mean[j]) * (f - (double)mean[j]);
        sum.ideal_loss += (ideal - noise) * (ideal - noise);
        sum.model_loss += (model - noise) * (model - noise);
        sum.apart += (model - ideal) * (model - ideal);
    }
    const double to_x0 = at.sigma * at.sigma / (at.alpha * at.alpha);
    out->nearest += share * sum.nearest;
    out->mean += share * sum.mean;
    out->ideal_loss += share * sum.ideal_loss;
    out->model_loss += share * sum.model_loss;
    out->apart += share * sum.apart;
    out->apart_x0 += share * sum.apart * to_x0;
}

static dt_status measure_batch(const ideal_plan *p, int64_t first, int64_t n, int bands, int32_t fixed,
                               dt_ideal_band out[])
{
    ctx *c = p->c;
    noised b;
    schedule s;
    int64_t stride = 0;
    const arena_place mark = arena_mark(&c->step);
    if (!process_is_flow(&p->ideal->process)) schedule_full(&s, p->ideal->process.noise);
    if (noised_alloc(c, &b, p->ideal, n)) fill(p, &b, first, bands, fixed);
    if (!ctx_failed(c)) ask_ideal(p, &b);
    const real *said = p->model && ctx_go_on(c) ? ask_model(p, &b, &stride) : NULL;
    for (int64_t i = 0; i < n && !ctx_failed(c); i++)
        add_row(p, &b, &s, i, said ? said + i * stride : NULL, &out[(first + i) % bands]);
    arena_release(&c->step, mark);
    return c->error.status;
}

static void divide(dt_ideal_band *b, double count)
{
    double *const terms[] = {&b->nearest, &b->mean, &b->ideal_loss, &b->model_loss, &b->apart, &b->apart_x0};
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) *terms[i] /= count;
}

static dt_status measure(const ideal_plan *p, int bands, int32_t fixed, dt_ideal_band out[])
{
    ctx *c = p->c;
    const int64_t items = p->examples * bands;
    memset(out, 0, (size_t)bands * sizeof *out);
    for (int64_t first = 0; first < items && ctx_go_on(c);) {
        const int64_t n = items - first < p->batch ? items - first : p->batch;
        if (measure_batch(p, first, n, bands, fixed, out) != DT_OK) break;
        first += n;
        if (!p->told(p->user, n))
            error_set(&c->error, DT_ERR_INTERRUPTED,
                      "ideal: stopped; nothing was written, the same command begins anew");
    }
    for (int i = 0; i < bands; i++) divide(&out[i], (double)p->examples);
    return c->error.status;
}

dt_status ideal_bands(const ideal_plan *p, dt_ideal_band out[BAND_COUNT])
{
    return measure(p, BAND_COUNT, -1, out);
}

dt_status ideal_at(const ideal_plan *p, int32_t t, dt_ideal_band *out)
{
    return measure(p, 1, t, out);
}

dt_status ideal_show(const ideal_plan *p, int32_t t, int64_t n, real *x, real *x0)
{
    ctx *c = p->c;
    noised b;
    ideal_plan some = *p;
    const arena_place mark = arena_mark(&c->step);
    some.examples = n;
    if (noised_alloc(c, &b, p->ideal, n)) {
        fill(&some, &b, 0, 1, t);
        if (ask_ideal(&some, &b) == DT_OK) {
            memcpy(x, b.x, (size_t)(n * b.each) * sizeof *x);
            memcpy(x0, b.ideal, (size_t)(n * b.each) * sizeof *x0);
        }
    }
    arena_release(&c->step, mark);
    return c->error.status;
}

void ideal_rehearse(const ideal_plan *p)
{
    noised b;
    int64_t stride;
    const arena_place mark = arena_mark(&p->c->step);
    if (noised_alloc(p->c, &b, p->ideal, p->batch) && p->model) {
        memset(b.time, 0, (size_t)b.n * sizeof *b.time);
        ask_model(p, &b, &stride);
    }
    arena_release(&p->c->step, mark);
}
