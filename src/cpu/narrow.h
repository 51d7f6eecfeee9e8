/* Arrays that may be narrow: bfloat16 numbers, two bytes each (tensor/engine.h). In registers every number is a real.
 *
 * Where a loop is the same for both kinds, it is an inline function with `narrow` as its last argument, called with a constant
 * for each of them (WITH_KIND): the compiler makes two loops of the one that is written. */
#ifndef CPU_NARROW_H
#define CPU_NARROW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/half.h"
#include "base/real.h"

typedef uint16_t narrow_number __attribute__((may_alias));

/* function(arguments, true or false) */
#define WITH_KIND(narrow, function, ...) ((narrow) ? function(__VA_ARGS__, true) : function(__VA_ARGS__, false))
#define ONE_KIND                         static inline __attribute__((always_inline))

static inline real round_bf16(real x)
{
    return half_float_of_bits(half_bf16_word((float)x) & 0xffff0000U);
}

/* Where number `index` of x lies; to be written only if x may be. */
static inline void *number_at(const void *x, int64_t index, bool narrow)
{
    return (char *)x + index * (int64_t)(narrow ? sizeof(narrow_number) : sizeof(real));
}

ONE_KIND real read_number(const void *x, int64_t index, bool narrow)
{
    return narrow ? half_f32_from_bf16(((const narrow_number *)x)[index]) : ((const real *)x)[index];
}

ONE_KIND void write_number(void *y, int64_t index, real value, bool narrow)
{
    if (narrow)
        ((narrow_number *)y)[index] = half_bf16_from_f32((float)value);
    else
        ((real *)y)[index] = value;
}

/* A narrow row becomes the numbers x, or its sums with them. */
static inline void write_row(void *row, const real *x, int64_t count, bool add)
{
    if (add)
        for (int64_t i = 0; i < count; i++) write_number(row, i, read_number(row, i, true) + x[i], true);
    else
        for (int64_t i = 0; i < count; i++) write_number(row, i, x[i], true);
}

static inline void widen(real *to, const void *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) to[i] = read_number(from, i, true);
}

#endif
