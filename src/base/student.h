/* Student's t. */
#ifndef BASE_STUDENT_H
#define BASE_STUDENT_H

#include <stdint.h>

/* So many standard errors to either side of a mean hold 95 %, with `freedom` degrees of freedom: the quantile 0.975, right to 0.0002.
 * Infinite for none. */
double student_95(int64_t freedom);

#endif
