/* The transfer gap: by how much a denoiser's loss on one set of pictures is above its loss on another, over t, with 95 % intervals.
 *
 * Both sets are asked about at the same t and noise (measure/bands.h), picture i of one with picture i of the other, so that what
 * the loss owes to them cancels. The rest is the spread over pictures: of
 *     log ratio = log(mean a / mean b)
 * a pair's share is a_i / mean a - b_i / mean b, and the standard error that of the mean of these (the delta method). Intervals
 * are of Student's t, so that of three pictures they are wide and of one they are everything. */
#ifndef MEASURE_GAP_H
#define MEASURE_GAP_H

#include <stdint.h>

#include "base/real.h"

/* The clean steps are t below 200, the noisy ones t from 500 on. */
enum { GAP_BANDS = 10, GAP_CLEAN_BANDS = 2, GAP_NOISY_FIRST = 5 };

typedef struct gap_interval {
    double value, low, high; /* infinite where nothing is known */
} gap_interval;

typedef struct gap {
    int64_t pictures;
    double a[GAP_BANDS], b[GAP_BANDS]; /* mean losses */
    gap_interval absolute[GAP_BANDS];  /* a - b */
    gap_interval relative[GAP_BANDS];  /* a / b - 1 */
    /* a / b - 1 by the mean log ratio of bands: all, the clean ones, the noisy ones */
    gap_interval whole, clean, noisy;
    gap_interval rise; /* (1 + noisy) / (1 + clean) - 1 */
} gap;

/* Of the losses a[pictures][GAP_BANDS] and b, all above 0. */
void gap_measure(gap *g, const real *a, const real *b, int64_t pictures);

#endif
