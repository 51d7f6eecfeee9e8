/* The measures of two sets of images by name, as files have them. */
#ifndef EVAL_EVAL_VALUES_H
#define EVAL_EVAL_VALUES_H

#include <stddef.h>

#include "difftune.h"

/* The last three are those of copies of training pictures. */
enum { EVAL_VALUES = 11, EVAL_DISTANCES = EVAL_VALUES - 3 };

extern const struct eval_value {
    const char *name;
    size_t offset; /* of the double in dt_eval_result */
} eval_values[EVAL_VALUES];

static inline double eval_value_of(const dt_eval_result *r, int number)
{
    return *(const double *)((const char *)r + eval_values[number].offset);
}

#endif
