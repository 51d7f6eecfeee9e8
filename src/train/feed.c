/* What a training batch is made of. Every random choice is keyed by (seed, purpose, step, sample), so the feed has no
 * state that a checkpoint would have to keep. */
#include "diffusion/flow.h"
#include "train/trainer.h"

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

void feed_null(const trainer *t, batch *b, int64_t i)
{
    const denoiser *d = &t->model;
    const int64_t values = d->context_tokens * d->context_width;
    if (b->label) b->label[i] = denoiser_null_class(d);
    for (int64_t j = 0; j < values; j++)
        b->context_values[i * values + j] = t->null_context ? (real)t->null_context[j] : 0;
}

static void feed_table(real *rows, int64_t i, const example_table *table, int64_t index, bool mirrored)
{
    if (rows) example_table_get(rows + i * example_table_values(table), table, index, mirrored);
}

void feed_told(batch *b, int64_t i, const examples *from, int64_t index, bool mirrored)
{
    feed_table(b->context_values, i, &from->context, index, mirrored);
    feed_table(b->control_values, i, &from->control, index, mirrored);
}

/* ---- the two halves ---- */

/* One sample's random choices share step and sample and differ in purpose. */
static rng_key key_of(const trainer *t, rng_purpose purpose, int64_t sample)
{
    return (rng_key){t->plan.seed, purpose, (uint32_t)t->step, (uint32_t)sample};
}

/* Example `index` of a set becomes row i of the batch, which is sample number `sample` of the step. */
static void feed_example(const trainer *t, batch *b, int64_t i, const examples *from, int64_t index, int64_t sample)
{
    const rng_key noise = key_of(t, RNG_LATENT, sample);
    const bool mirrored = t->plan.flips && rng_uniform(key_of(t, RNG_FLIP, sample), 0) < 0.5;
    examples_get(b->x0_values + i * sample_values(from->shape), from, index, mirrored, &noise);
    feed_told(b, i, from, index, mirrored);
}

/* Reconsolidation (Equation 4): the user's image with its class, which is replaced by the null class now and then, so that
 * both branches of guidance learn. */
static void feed_target(trainer *t, batch *b, int64_t i, int64_t position, int64_t sample)
{
    const int64_t index = shuffled_at(&t->train_order, position);
    feed_example(t, b, i, &t->train, index, sample);
    if (b->label) b->label[i] = t->train.pictures.label[index];
    if (rng_uniform(key_of(t, RNG_LABEL_DROP, sample), 0) < t->plan.class_dropout) feed_null(t, b, i);
}

/* Retention (Equation 3): an image of the bank on the unconditional branch. Mirrored like the others: the released code
 * gives both halves the same transform. */
static void feed_bank(trainer *t, batch *b, int64_t i, int64_t position, int64_t sample)
{
    feed_example(t, b, i, &t->bank, shuffled_at(&t->bank_order, position), sample);
    feed_null(t, b, i);
}

void feed_batch(trainer *t, batch *b, int64_t micro)
{
    const int64_t n = b->count, parts = t->plan.accumulation, bank_count = t->plan.bank_count;
    const int64_t target_count = n - bank_count, size = sample_values(t->model.shape), round = t->step * parts + micro;
    b->target_count = target_count;
    for (int64_t i = 0; i < n; i++) {
        const bool from_bank = i >= target_count;
        const int64_t sample = micro * n + i;
        if (from_bank)
            feed_bank(t, b, i, round * bank_count + i - target_count, sample);
        else
            feed_target(t, b, i, round * target_count + i, sample);
        const difftuning_time drawn = difftuning_draw(&t->method, from_bank, key_of(t, RNG_TIMESTEP, sample));
        b->t[i] = drawn.t;
        if (process_is_flow(&t->model.process)) b->time[i] = (real)flow_time(drawn.t, drawn.within);
        b->weight[i] =
            (real)(drawn.weight * difftuning_share(&t->method, from_bank, target_count, bank_count) / (double)parts);
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) rng_normal(b->noise_values + i * size, size, key_of(t, RNG_NOISE, micro * n + i));
    batch_diffuse(t->c, b, &t->model, &t->schedule);
}
