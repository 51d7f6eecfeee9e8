/* Arrays that may be narrow: bfloat16 numbers, two bytes each (tensor/engine.h). In registers every number is a real.
 *
 * Where a loop is the same for both kinds, it is an inline function with `narrow` as its last argument, called with a constant
 * for each of them (WITH_KIND): the compiler makes two loops of the one that is written. */
#ifndef CPU_NARROW_H
#define CPU_NARROW_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/real.h"

typedef uint16_t narrow_number __attribute__((may_alias));

/* function(arguments, true or false) */
#define WITH_KIND(narrow, function, ...) ((narrow) ? function(__VA_ARGS__, true) : function(__VA_ARGS__, false))
#define ONE_KIND                         static inline __attribute__((always_inline))

/* The nearest bfloat16, ties to even, in the upper half. A NaN stays one: its quiet bit is set, so that dropping the low half
 * cannot turn it into an infinity. */
static inline uint32_t bf16_word(real x)
{
    float value = (float)x;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = bits + 0x7fffU + ((bits >> 16) & 1U);
    return (bits & 0x7fffffffU) > 0x7f800000U ? bits | 0x00400000U : rounded;
}

static inline real real_of_word(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline real round_bf16(real x)
{
    return real_of_word(bf16_word(x) & 0xffff0000U);
}

/* Where number `index` of x lies; to be written only if x may be. */
static inline void *number_at(const void *x, int64_t index, bool narrow)
{
    return (char *)x + index * (int64_t)(narrow ? sizeof(narrow_number) : sizeof(real));
}

ONE_KIND real read_number(const void *x, int64_t index, bool narrow)
{
    return narrow ? real_of_word((uint32_t)((const narrow_number *)x)[index] << 16) : ((const real *)x)[index];
}

ONE_KIND void write_number(void *y, int64_t index, real value, bool narrow)
{
    if (narrow)
        ((narrow_number *)y)[index] = (narrow_number)(bf16_word(value) >> 16);
    else
        ((real *)y)[index] = value;
}

static inline void widen(real *to, const void *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) to[i] = read_number(from, i, true);
}

#endif
