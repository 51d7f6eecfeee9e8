#include "measure/bands.h"

#include "train/trainer.h"

/* Latents are the modes. */
static void fill_row(const band_asker *a, batch *b, int64_t row, const band_items *items, int64_t i)
{
    const examples *e = items->set;
    const int64_t index = items->example_at(items->user, i);
    examples_get(b->x0_values + row * sample_values(e->shape), e, index, false, NULL);
    feed_told(b, row, e, index, NULL, false);
    if (items->drawn)
        feed_drawn(a->model, a->null_context, b, row, e);
    else if (!items->told)
        feed_null(a->model, a->null_context, b, row);
    else if (b->label)
        b->label[row] = e->pictures.label[index];
}

int32_t bands_t(rng_key *key, uint64_t seed, int64_t k, int bands)
{
    const int64_t width = SCHEDULE_STEPS / bands;
    *key = (rng_key){seed, RNG_VALIDATION, 0, (uint32_t)k};
    return (int32_t)(k % bands * width + (int64_t)rng_below(*key, 1 << 20, (uint64_t)width));
}

/* The terms of each sample are what is wanted, not their weighted sum. */
static void fill_items(const band_asker *a, batch *b, int64_t first, const band_items *items)
{
    const int64_t size = sample_values(a->model->shape);
    for (int64_t i = 0; i < b->count; i++) {
        const int64_t item = first + i;
        rng_key key;
        fill_row(a, b, i, items, item / items->bands);
        b->t[i] = bands_t(&key, a->seed, item, items->bands);
        b->weight[i] = 0;
        rng_normal(b->noise_values + i * size, size, key);
    }
    batch_diffuse(a->c, b, a->model, a->schedule);
}

dt_status bands_ask(const band_asker *a, const band_items *items, band_taker *take, void *user)
{
    ctx *c = a->c;
    const int64_t count = items->examples * items->bands;
    for (int64_t first = 0; first < count && ctx_go_on(c); first += a->batch) {
        const arena_place mark = arena_mark(&c->step);
        batch b;
        if (!batch_new(c, &b, a->model, count - first < a->batch ? count - first : a->batch)) break;
        fill_items(a, &b, first, items);
        batch_loss(c, a->model, &b);
        for (int64_t i = 0; i < b.count && !ctx_failed(c); i++) take(user, first + i, b.t[i], b.mse[i], b.vb[i]);
        arena_release(&c->step, mark);
    }
    return c->error.status;
}
