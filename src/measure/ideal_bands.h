/* What an ideal denoiser (model/ideal/ideal.h) says over t, and how far a network is from it. */
#ifndef MEASURE_IDEAL_BANDS_H
#define MEASURE_IDEAL_BANDS_H

#include "measure/measure.h"

/* A set of pictures that noise is put on: number, and how one is had. */
typedef struct ideal_set {
    int64_t count;
    void (*get)(const void *user, real *x, int64_t i);
    const void *user;
} ideal_set;

typedef struct ideal_plan {
    ctx *c;
    const denoiser *ideal, *model; /* model NULL: none to compare with; it is asked on its unconditional branch */
    const ideal_set *known;        /* what the ideal is of */
    const ideal_set *set;          /* what is noised */
    uint64_t seed;
    int64_t batch, examples; /* so many at a time; in each band */
    /* Called after each batch with the number of examples so far; false: stop. */
    bool (*told)(void *user, int64_t done);
    void *user;
} ideal_plan;

/* Means over examples in bands of t, at the t and noise that measure_bands has. */
dt_status ideal_bands(const ideal_plan *p, dt_ideal_band out[BAND_COUNT]);

/* The same at one level of noise, 0..999. */
dt_status ideal_at(const ideal_plan *p, int32_t t, dt_ideal_band *out);

/* x[n,..] noised to level t, and what the ideal says they were, x0[n,..], of the first n pictures spread over the set. */
dt_status ideal_show(const ideal_plan *p, int32_t t, int64_t n, real *x, real *x0);

/* Takes the memory of a batch and gives it back, in a rehearsal (tensor/rehearsal.h), but for that of ideal_pass_bytes. */
void ideal_rehearse(const ideal_plan *p);

#endif
