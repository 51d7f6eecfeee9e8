/* Power-function averages, whose length can be chosen after training (Karras et al. 2024, arXiv 2312.02696, section 3 and its
 * appendix C).
 *
 * After T updates the weights behind update t count t^g in the average; continuous, its profile is p(t) = (g+1) t^g / T^(g+1). Its
 * length is that profile's standard deviation over T, whatever T is (sigma_rel there): of length 0.1 the last fifth counts 83 %. */
#ifndef AVERAGE_POWER_H
#define AVERAGE_POWER_H

#include <stdint.h>

#include "base/error.h"

/* Lengths that an average can have. The longest is just below 0.3003, where t^g with g = -0.38 has its greatest deviation. */
#define POWER_LENGTH_MIN 0.001
#define POWER_LENGTH_MAX 0.3
enum { POWER_LENGTHS_MAX = 8, POWER_TEXT_MAX = 32 }; /* of one run; bytes of a length as text */

/* The exponent g of an average of this length, which lies in the range: the largest root of g^3 + 7 g^2 + (16 - s) g + 12 - s, s =
 * length^-2. */
double power_exponent(double length);

/* The share of the new weights after update number `update`, which counts from 1: average += share (weights - average). The first
 * is 1, so that nothing of what stood before is left. */
double power_share(double exponent, int64_t update);

/* Reads "0.05,0.1". DT_ERR_ARG, naming the text: a length out of range, one that stands twice or within 1e-6 of another, more than
 * POWER_LENGTHS_MAX. An empty text has none. */
dt_status power_lengths_read(double lengths[POWER_LENGTHS_MAX], int *count, const char *text, dt_error *err);

/* "0.05", the same in every locale. */
void power_length_text(char text[POWER_TEXT_MAX], double length);

/* An average as it stood after so many updates. */
typedef struct power_profile {
    double length;
    int64_t updates; /* >= 1 */
} power_profile;

/* The shares of the stored profiles whose mixture is nearest to the wanted one in the square norm: sums of shares are 1. What
 * others make up for already has share 0. *off is the distance that is left over the wanted profile's norm. DT_ERR_MEMORY. */
dt_status power_solve(double share[], double *off, const power_profile stored[], int count, power_profile wanted,
                      dt_error *err);

#endif
