/* Randomness as a function: Philox-4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as
 * 1, 2, 3"), whose key is the seed and whose counter is (position, sample, step, purpose). No generator state exists, so a
 * run that was stopped and resumed, on any number of threads, draws the same numbers. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

#include "base/real.h"

/* What a number is for. Values are part of the reproducibility contract: never renumber. */
typedef enum rng_purpose {
    RNG_INIT = 1,       /* step: index of the weight row */
    RNG_DATA_ORDER = 2, /* step: epoch */
    RNG_FLIP = 3,       /* from here on, step: optimiser step; sample: index in the whole batch */
    RNG_LABEL_DROP = 4,
    RNG_TIMESTEP = 5,
    RNG_NOISE = 6,
    RNG_BANK_ORDER = 7,
    RNG_SAMPLE_START = 8, /* sample: index of the image */
    RNG_SAMPLE_STEP = 9,  /* step: index of the sampling step */
    RNG_BANK_START = 10,
    RNG_BANK_STEP = 11,
    RNG_VALIDATION = 12,
    RNG_FEATURE = 13,
    RNG_SUBSET = 14,
    RNG_LABEL_ROWS = 15,
    RNG_LATENT = 16, /* the latent drawn from a picture's moments; step and sample as RNG_FLIP */
    RNG_SAMPLE_CLASS = 17,
    RNG_TIME_DROP = 18, /* step and sample as RNG_FLIP; so is the next */
    RNG_CAPTION = 19,   /* which of a picture's captions */
    RNG_MOMENTS = 20,   /* how moments are rounded; step: updates before; sample: index of the row */
} rng_purpose;

typedef struct rng_key {
    uint64_t seed;
    rng_purpose purpose;
    uint32_t step, sample;
} rng_key;

/* Four 32-bit words for one position. */
void rng_words(uint32_t out[4], rng_key key, uint32_t position);

/* Uniform in [0, 1) with 53 bits. */
double rng_uniform(rng_key key, uint32_t position);

/* Uniform integer in [0, n), n >= 1, by the multiply-shift of 64 random bits (bias below n / 2^64). */
uint64_t rng_below(rng_key key, uint32_t position, uint64_t n);

/* count standard normals by Box and Muller, four from the words of one position. Same values for any split of the calls
 * only when the whole array is filled by one call. */
void rng_normal(real *out, int64_t count, rng_key key);

/* out = a permutation of 0..n-1 (Fisher and Yates). */
void rng_permutation(int32_t *out, int64_t n, rng_key key);

#endif
