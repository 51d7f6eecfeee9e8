/* The two 16-bit floats, of model files and (bf16) of narrow arrays, to and from float: exact upwards, nearest-even downwards.
 * Subnormals, infinities and the payload's upper bits of NaNs are kept; a NaN never becomes an infinity. */
#ifndef BASE_HALF_H
#define BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float half_float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t half_bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float half_f32_from_bf16(uint16_t b)
{
    return half_float_of_bits((uint32_t)b << 16);
}

/* The nearest bf16 in the upper half of a word; what the lower half holds means nothing. Without branches, for loops that
 * become vectors. */
static inline uint32_t half_bf16_word(float value)
{
    uint32_t bits = half_bits_of_float(value), rounded = bits + 0x7fff + (bits >> 16 & 1);
    return (bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x00400000u : rounded; /* NaN: made quiet */
}

static inline uint16_t half_bf16_from_f32(float value)
{
    return (uint16_t)(half_bf16_word(value) >> 16);
}

/* f16: sign, 5 bits of exponent with bias 15, 10 bits of fraction. */
static inline float half_f32_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;
    if (rest < 0x0400) { /* subnormal: rest * 2^-24, which a float holds exactly */
        float value = (float)rest * 0x1p-24f;
        return sign ? -value : value;
    }
    uint32_t bias = rest >= 0x7c00 ? 255 - 31 : 127 - 15; /* infinity and NaN keep an exponent of all ones */
    return half_float_of_bits(sign | ((rest << 13) + (bias << 23)));
}

static inline uint16_t half_f16_from_f32(float value)
{
    uint32_t bits = half_bits_of_float(value), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    if (rest > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (rest >> 13 & 0x3ff)); /* NaN: made quiet */
    if (rest >= 0x47800000) return (uint16_t)(sign | 0x7c00);                       /* 65536 and above */
    if (rest < 0x38800000) { /* below 2^-14: adding 0.5 lets the FPU round at 2^-24, the subnormals' unit */
        uint32_t sum = half_bits_of_float(half_float_of_bits(rest) + 0.5f);
        return (uint16_t)(sign | (sum - 0x3f000000));
    }
    uint32_t rounded = rest + 0xfff + (rest >> 13 & 1); /* 65520 .. 65535 carry into infinity, as they must */
    return (uint16_t)(sign | ((rounded - ((127 - 15) << 23)) >> 13));
}

#endif
