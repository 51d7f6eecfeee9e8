/* What a training batch is made of. Every random choice is keyed by (seed, purpose, step, sample), so the feed has no
 * state that a checkpoint would have to keep. */
#include "diffusion/flow.h"
#include "train/trainer.h"

#include <string.h>

void shuffled_open(ctx *c, shuffled *o, int64_t count, uint64_t seed, rng_purpose purpose)
{
    *o = (shuffled){.count = count, .epoch = -1, .seed = seed, .purpose = purpose};
    o->order = arena_alloc(&c->model, (size_t)count * sizeof o->order[0], &c->error);
}

int64_t shuffled_at(shuffled *o, int64_t position)
{
    int64_t epoch = position / o->count;
    if (epoch != o->epoch) {
        rng_permutation(o->order, o->count, (rng_key){o->seed, o->purpose, (uint32_t)epoch, 0});
        o->epoch = epoch;
    }
    return o->order[position % o->count];
}

/* ---- what a row is told ---- */

float *feed_null_context(ctx *c, const denoiser *d)
{
    const tensor *null = d->null_context;
    float *values = null ? arena_alloc(&c->model, tensor_bytes(null), &c->error) : NULL;
    if (values) numbers_fetch(c, values, null->data, tensor_count(null));
    return values;
}

void feed_null(const denoiser *d, const float *null_context, batch *b, int64_t i)
{
    const int64_t values = d->context_tokens * d->context_width;
    if (b->label) b->label[i] = denoiser_null_class(d);
    for (int64_t j = 0; j < values; j++) b->context_values[i * values + j] = null_context ? (real)null_context[j] : 0;
}

void feed_drawn(const denoiser *d, const float *null_context, batch *b, int64_t i, const examples *bank)
{
    if (!bank->context.row)
        feed_null(d, null_context, b, i);
    else if (b->label)
        b->label[i] = denoiser_null_class(d);
}

static void feed_table(real *rows, int64_t i, const example_table *table, int64_t index, int64_t choice, bool mirrored)
{
    if (rows && table->row) example_table_get(rows + i * example_table_values(table), table, index, choice, mirrored);
}

void feed_told(batch *b, int64_t i, const examples *from, int64_t index, const rng_key *caption, bool mirrored)
{
    const int64_t choices = b->context_values ? example_table_choices(&from->context, index) : 1;
    const int64_t choice = caption && choices > 1 ? (int64_t)rng_below(*caption, 0, (uint64_t)choices) : 0;
    feed_table(b->context_values, i, &from->context, index, choice, mirrored);
    feed_table(b->control_values, i, &from->control, index, 0, mirrored);
}

/* ---- the two halves ---- */

/* A batch that is filled: micro-batch `micro` of step `step`, number `round` of the run. */
typedef struct feeding {
    const trainer *t;
    batch *b;
    int64_t round, step, micro;
} feeding;

/* One sample's random choices share step and sample and differ in purpose. */
static rng_key key_of(const feeding *f, rng_purpose purpose, int64_t sample)
{
    return (rng_key){f->t->plan.seed, purpose, (uint32_t)f->step, (uint32_t)sample};
}

/* Row i of the batch, which is sample number `sample` of the step, becomes its example of a set. */
static void feed_example(const feeding *f, int64_t i, const examples *from, int64_t sample)
{
    const rng_key noise = key_of(f, RNG_LATENT, sample), caption = key_of(f, RNG_CAPTION, sample);
    const bool mirrored =
        f->t->plan.flips && examples_can_mirror(from) && rng_uniform(key_of(f, RNG_FLIP, sample), 0) < 0.5;
    examples_get(f->b->x0_values + i * sample_values(from->shape), from, f->b->example[i], mirrored, &noise);
    feed_told(f->b, i, from, f->b->example[i], &caption, mirrored);
}

/* Reconsolidation (Equation 4): the user's image with its class, which is replaced by the null class now and then, and its time by
 * the null time, so that all branches of guidance learn. What is there to be retained is always told its time. */
static void feed_target(const feeding *f, int64_t i, int64_t sample)
{
    const trainer *t = f->t;
    batch *b = f->b;
    feed_example(f, i, &t->train, sample);
    if (b->label) b->label[i] = t->train.pictures.label[b->example[i]];
    if (rng_uniform(key_of(f, RNG_LABEL_DROP, sample), 0) < t->plan.class_dropout)
        feed_null(&t->model, t->null_context, b, i);
    if (b->null_time) b->null_time[i] = rng_uniform(key_of(f, RNG_TIME_DROP, sample), 0) < t->plan.time_dropout;
}

/* What retention has examples of: the bank, or the target pictures. */
static const examples *retained_set(const trainer *t)
{
    return difftuning_uses_bank(&t->method) ? &t->bank : &t->train;
}

/* Retention (Equation 3): an image on the unconditional branch, or if a prompt told what to draw, told that (appendix B.2). What the
 * frozen base teaches is what it says on its null branch. Mirrored like the others: the released code gives both halves the same
 * transform. */
static void feed_retained(const feeding *f, int64_t i, int64_t sample)
{
    const trainer *t = f->t;
    const examples *from = retained_set(t);
    feed_example(f, i, from, sample);
    if (from == &t->bank && !difftuning_distils(&t->method))
        feed_drawn(&t->model, t->null_context, f->b, i, from);
    else
        feed_null(&t->model, t->null_context, f->b, i);
}

/* The weight of a term in the step's loss. */
static real weight_of(const trainer *t, double law, bool retained, int64_t count)
{
    return (real)(law * difftuning_share(&t->method, retained, count) / (double)t->plan.accumulation);
}

/* The retained samples are dealt out from the other end, so that no rank has the larger part of both halves. */
step_share feed_share(const step_plan *plan, int rank, int ranks)
{
    const int64_t targets = plan->batch - plan->retained_count, retained = plan->retained_count,
                  back = ranks - 1 - rank;
    const int64_t target_first = targets * rank / ranks, retained_first = retained * back / ranks;
    return (step_share){target_first, targets * (rank + 1) / ranks - target_first, retained_first,
                        retained * (back + 1) / ranks - retained_first};
}

static int64_t samples_of_share(const trainer *t)
{
    return t->share.target_count + t->share.retained_count;
}

int64_t feed_rows(const trainer *t)
{
    return samples_of_share(t) * (t->plan.noise_count ? 2 : 1);
}

/* Which sample of a micro-batch, of all ranks together, row i is. */
static int64_t sample_of_row(const trainer *t, int64_t i)
{
    const step_share *s = &t->share;
    if (i < s->target_count) return s->target_first + i;
    return t->plan.batch - t->plan.retained_count + s->retained_first + i - s->target_count;
}

/* Which examples the rows are: places in the walks through the target pictures and what is to be retained. */
static void choose_examples(trainer *t, const feeding *f, int64_t rows)
{
    const int64_t retained_count = t->plan.retained_count, target_count = t->plan.batch - retained_count;
    for (int64_t i = 0; i < rows; i++) {
        const int64_t place = sample_of_row(t, i);
        f->b->example[i] = place < target_count
                               ? shuffled_at(&t->train_order, f->round * target_count + place)
                               : shuffled_at(&t->retained_order, f->round * retained_count + place - target_count);
    }
}

/* Row i, of the target samples or of those to be retained; its loss counts with the weight of its half. */
static void feed_row(const feeding *f, int64_t i)
{
    const trainer *t = f->t;
    batch *b = f->b;
    const int64_t retained_count = t->plan.retained_count, target_count = t->plan.batch - retained_count;
    const int64_t place = sample_of_row(t, i), sample = f->micro * t->plan.batch + place;
    const int64_t size = sample_values(t->model.shape);
    const bool retained = place >= target_count;
    if (retained)
        feed_retained(f, i, sample);
    else
        feed_target(f, i, sample);
    rng_normal(b->noise_values + i * size, size, key_of(f, RNG_NOISE, sample));
    const difftuning_time drawn = difftuning_draw(&t->method, retained, key_of(f, RNG_TIMESTEP, sample));
    b->t[i] = drawn.t;
    if (process_is_flow(&t->model.process)) b->time[i] = (real)flow_time(drawn.t, drawn.within);
    b->weight[i] = weight_of(t, drawn.weight, retained, retained ? retained_count : target_count);
}

/* ---- what is taught ---- */

static void copy_row(real *values, int64_t size, int64_t to, int64_t from)
{
    if (values) memcpy(values + to * size, values + from * size, (size_t)size * sizeof *values);
}

/* Row i of pure noise is that of the target sample `from`: its noise, its t, and what it is told. */
static void feed_noise(const trainer *t, batch *b, int64_t i, int64_t from)
{
    const denoiser *d = &t->model;
    const int64_t size = sample_values(d->shape);
    copy_row(b->noise_values, size, i, from);
    memset(b->x0_values + i * size, 0, (size_t)size * sizeof *b->x0_values);
    copy_row(b->context_values, d->context_tokens * d->context_width, i, from);
    copy_row(b->control_values, sample_values(d->control), i, from);
    if (b->label) b->label[i] = b->label[from];
    if (b->null_time) b->null_time[i] = b->null_time[from];
    b->t[i] = b->t[from];
    b->time[i] = b->time[from];
}

void feed_shape(const trainer *t, batch *b)
{
    batch_begin(b);
    b->target_count = t->share.target_count;
    b->noise_first = samples_of_share(t);
    if (difftuning_distils(&t->method)) b->taught_first = t->plan.noise_count ? 0 : b->target_count;
}

/* Rows that are there to be retained are taught what they count for. SDFT's terms stand on the target samples and on the
 * noise behind them. */
static void feed_taught(const trainer *t, batch *b)
{
    const bool sdft = t->plan.noise_count > 0;
    for (int64_t i = b->taught_first; i < b->count; i++) {
        const double law = feed_distil_law(t, b, i);
        b->taught_weight[i] = sdft ? weight_of(t, law, true, t->plan.batch - t->plan.retained_count) : b->weight[i];
    }
}

double feed_distil_law(const trainer *t, const batch *b, int64_t i)
{
    return difftuning_distil_law(&t->method, t->schedule.abar[b->t[i]], i >= b->noise_first);
}

/* ---- the whole ---- */

void feed_fill(trainer *t, batch *b, int64_t round)
{
    const int64_t n = samples_of_share(t);
    const feeding f = {t, b, round, round / t->plan.accumulation, round % t->plan.accumulation};
    feed_shape(t, b);
    choose_examples(t, &f, n);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) feed_row(&f, i);
    for (int64_t i = n; i < b->count; i++) feed_noise(t, b, i, i - n);
    feed_taught(t, b);
    batch_prepare(b, &t->model, &t->schedule);
}
