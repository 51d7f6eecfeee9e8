/* What a training batch is made of. Every random choice is keyed by (seed, purpose, step, sample), so the feed has no
 * state that a checkpoint would have to keep. */
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

/* One sample's random choices share step and sample and differ in purpose. */
static rng_key key_of(const trainer *t, rng_purpose purpose, int64_t sample)
{
    return (rng_key){(uint64_t)t->s->seed, purpose, (uint32_t)t->step, (uint32_t)sample};
}

static bool flipped(const trainer *t, int64_t sample)
{
    return t->s->random_flip && rng_uniform(key_of(t, RNG_FLIP, sample), 0) < 0.5;
}

static void feed_example(const trainer *t, real *x0, const examples *from, int64_t i, int64_t sample)
{
    rng_key noise = key_of(t, RNG_LATENT, sample);
    examples_get(x0, from, i, flipped(t, sample), &noise);
}

/* Reconsolidation (Equation 4): the user's image with its class, which is replaced by the null class now and then, so that
 * both branches of guidance learn. */
static void feed_target(trainer *t, real *x0, int32_t *y, int64_t position, int64_t sample)
{
    int64_t i = shuffled_at(&t->train_order, position);
    feed_example(t, x0, &t->train, i, sample);
    bool drop = rng_uniform(key_of(t, RNG_LABEL_DROP, sample), 0) < t->s->class_dropout_prob;
    *y = drop ? (int32_t)dit_null_class(&t->model) : t->train.pictures.label[i];
}

/* Retention (Equation 3): an image of the bank on the unconditional branch. Mirrored like the others: the released code
 * gives both halves the same transform. */
static void feed_bank(trainer *t, real *x0, int32_t *y, int64_t position, int64_t sample)
{
    feed_example(t, x0, &t->bank, shuffled_at(&t->bank_order, position), sample);
    *y = (int32_t)dit_null_class(&t->model);
}

void feed_batch(trainer *t, batch *b, int64_t micro)
{
    int64_t n = b->count, parts = t->s->gradient_accumulation_steps;
    int64_t bank_count = difftuning_bank_count(&t->method, n), target_count = n - bank_count;
    int64_t size = tensor_count(b->x0) / n, round = t->step * parts + micro;
    b->target_count = target_count;
    for (int64_t i = 0; i < n; i++) {
        bool from_bank = i >= target_count;
        int64_t sample = micro * n + i;
        real *x0 = b->x0_values + i * size;
        if (from_bank)
            feed_bank(t, x0, &b->y[i], round * bank_count + i - target_count, sample);
        else
            feed_target(t, x0, &b->y[i], round * target_count + i, sample);
        difftuning_time drawn = difftuning_draw(&t->method, from_bank, key_of(t, RNG_TIMESTEP, sample));
        b->t[i] = drawn.t;
        b->weight[i] =
            (real)(drawn.weight * difftuning_share(&t->method, from_bank, target_count, bank_count) / (double)parts);
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) rng_normal(b->noise_values + i * size, size, key_of(t, RNG_NOISE, micro * n + i));
    batch_diffuse(t->c, b, &t->schedule);
}
