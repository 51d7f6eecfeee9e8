/* Whether counted draws could have come from the distribution they are said to come from. */
#ifndef TESTS_STATISTICS_OF_H
#define TESTS_STATISTICS_OF_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* Pearson's chi-square over the bins that expect anything, within five standard deviations of its mean on either side:
 * counts that agree too well are as wrong as those that disagree. False also when an impossible bin was hit. */
static inline bool chi_square_is_plausible(const int64_t count[], const double expected[], int bins)
{
    double chi = 0, freedom = -1;
    for (int i = 0; i < bins; i++) {
        if (expected[i] <= 0) {
            if (count[i]) return false;
            continue;
        }
        chi += ((double)count[i] - expected[i]) * ((double)count[i] - expected[i]) / expected[i];
        freedom++;
    }
    return fabs(chi - freedom) < 5 * sqrt(2 * freedom);
}

#endif
