/* Numbers that are none: infinity and NaN. */
#ifndef BASE_FINITE_H
#define BASE_FINITE_H

#include <stdint.h>

/* The index of the first value of x[count] that is not finite; -1: none. */
int64_t finite_first_bad(const float *x, int64_t count);

#endif
