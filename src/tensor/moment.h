/* How a moment of AdamW becomes a bfloat16 number: up or down at random, the nearer the likelier (stochastic rounding; Gupta and others
 * 2015). Rounded to the nearest, a second moment would stand still: what a step adds to it is less than half of its last place.
 * The same on every engine; included by C and by CUDA, which sets MOMENT_FN to what its functions begin with. */
#ifndef TENSOR_MOMENT_H
#define TENSOR_MOMENT_H

#include <stdint.h>
#include <string.h>

#ifndef MOMENT_FN
#define MOMENT_FN static inline
#endif

/* Sixteen random bits for either moment of value number `at` (the finaliser of MurmurHash3, which leaves no pattern from one number to the
 * next). */
MOMENT_FN uint32_t moment_noise(uint32_t key, uint32_t at)
{
    uint32_t x = at * 0x9e3779b1u + key;
    x = (x ^ x >> 16) * 0x85ebca6bu;
    x = (x ^ x >> 13) * 0xc2b2ae35u;
    return x ^ x >> 16;
}

/* The bfloat16 bits of a finite value, by noise from 0 to 0xffff. No value becomes infinite. */
MOMENT_FN uint16_t moment_bits(float value, uint32_t noise)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t rounded = (bits + noise) >> 16, sign = rounded & 0x8000u;
    return (uint16_t)((rounded & 0x7fffu) >= 0x7f80u ? sign | 0x7f7fu : rounded);
}

#endif
