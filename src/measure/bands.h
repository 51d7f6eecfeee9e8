/* Losses of a denoiser over t at fixed t and noise, item by item: what a run's validation, a measured psi and a diagnosis are
 * means of. */
#ifndef MEASURE_BANDS_H
#define MEASURE_BANDS_H

#include "base/rng.h"
#include "data/examples.h"
#include "diffusion/denoiser.h"

/* Who is asked, and how. Borrowed. */
typedef struct band_asker {
    ctx *c;
    const denoiser *model;
    const schedule *schedule;
    const float *null_context; /* as feed_null has it */
    uint64_t seed;
    int64_t batch; /* so many items at a time */
} band_asker;

/* Which examples, in how many bands of equal width. Item k is example k / bands, at a t inside band k % bands; t and noise depend
 * on the seed and on k alone, so that two sets are asked about at the same ones. */
typedef struct band_items {
    const examples *set;
    int64_t examples;
    int bands;
    bool told;                                          /* what they say; else nothing */
    bool drawn;                                         /* the set is a bank, told as it was drawn (feed_drawn) */
    int64_t (*example_at)(const void *user, int64_t i); /* of the set, for 0 <= i < examples */
    const void *user;
} band_items;

/* The t of item k, and in *key what its noise is drawn by. */
int32_t bands_t(rng_key *key, uint64_t seed, int64_t k, int bands);

/* Takes the terms of item k, in order. */
typedef void band_taker(void *user, int64_t k, int32_t t, real mse, real vb);

dt_status bands_ask(const band_asker *a, const band_items *items, band_taker *take, void *user);

#endif
