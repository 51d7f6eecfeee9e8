/* Elementary functions without branches, so that gcc vectorises a plain loop over them (-O3, any instruction set).
 *
 *     for (int64_t i = 0; i < count; i++) y[i] = x[i] * vector_sigmoid(x[i]);
 *
 * With real = double they are libm's: that build measures the others and need not be fast. The stated errors of the
 * float forms hold for every 7th float of the range (tests/test_vector.c repeats it with every 997th); special values
 * (infinities, NaN) behave as in libm. The polynomials are minimax fits (Remez exchange, 40 digits) rounded to float. */
#ifndef CPU_VECTOR_H
#define CPU_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/real.h"

#ifdef DT_REAL_DOUBLE

static inline real vector_exp(real x)
{
    return exp(x);
}

static inline real vector_exp_bounded(real x)
{
    return exp(x);
}

static inline real vector_sigmoid(real x)
{
    return 1 / (1 + exp(-x));
}

static inline real vector_tanh(real x)
{
    return tanh(x);
}

static inline real vector_normal(real *density, real x)
{
    *density = exp(-x * x / 2) * 0.39894228040143267794;
    return erfc(-x * 0.70710678118654752440) / 2;
}

#else

/* 2^n for -126 <= n <= 127. */
static inline float vector_exp2_integer(int32_t n)
{
    uint32_t bits = (uint32_t)(n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* e^r = p(r) 2^n within 1.1 ulp for -105 <= x <= 90, x = n log 2 + r with |r| <= log(2)/2. Returns p and leaves n: adding
 * 1.5 * 2^23 leaves n, rounded, in the low bits of the sum. */
static inline float vector_exp_parts(int32_t *n, float x)
{
    const float shift = 12582912.0F;
    float shifted = x * 1.44269502F + shift;
    float whole = shifted - shift;
    float r = x - whole * 0.693359375F + whole * 2.12194442e-4F;
    float q = 0.00138145371F;
    q = q * r + 0.00836874545F;
    q = q * r + 0.041668389F;
    q = q * r + 0.166665211F;
    q = q * r + 0.49999994F;
    int32_t sum_bits;
    memcpy(&sum_bits, &shifted, sizeof sum_bits);
    *n = sum_bits - 0x4b400000;
    return q * (r * r) + r + 1.0F;
}

/* e^x within 1.1 ulp, also where the result is denormal; 0 below -104, infinity above 88.73. The power is applied in two
 * halves, each a normal number, so that neither end of the range is lost before its time. */
static inline float vector_exp(float x)
{
    float clamped = x < -105.0F ? -105.0F : x;
    clamped = clamped > 90.0F ? 90.0F : clamped;
    int32_t n;
    float p = vector_exp_parts(&n, clamped);
    int32_t half = n >> 1;
    return p * vector_exp2_integer(half) * vector_exp2_integer(n - half);
}

/* e^x within 1.1 ulp for -87 <= x <= 87, and beyond them what it is at the end that is nearer: for sums in which e^-87 is
 * nothing, a third faster. NaN stays NaN. The magnitude is bounded, not x from both sides: gcc makes of two bounds a path for
 * each end with the result of what follows worked out, and then computes x e^-87 for every x, mostly denormal and very slow. */
static inline float vector_exp_bounded(float x)
{
    float magnitude = fabsf(x);
    float bounded = copysignf(magnitude > 87.0F ? 87.0F : magnitude, x);
    int32_t n;
    float p = vector_exp_parts(&n, bounded);
    return p * vector_exp2_integer(n);
}

/* 1 / (1 + e^-x) within 2.5 ulp for x > -87; below, where the true value is under 2^-125, between 0 and 2^-125. */
static inline float vector_sigmoid(float x)
{
    return 1.0F / (1.0F + vector_exp_bounded(-x));
}

/* tanh x within 1.4 ulp: an odd polynomial up to 0.6, beyond it 1 - 2 / (e^2|x| + 1) with the sign of x. */
static inline float vector_tanh(float x)
{
    float z = x * x;
    float q = -0.00572082587F;
    q = q * z + 0.0206538122F;
    q = q * z - 0.0537444316F;
    q = q * z + 0.133315012F;
    q = q * z - 0.333332837F;
    float near = x + x * (z * q);
    float magnitude = fabsf(x);
    float far = copysignf(1.0F - 2.0F / (vector_exp_bounded(2.0F * magnitude) + 1.0F), x);
    return magnitude > 0.6F ? far : near;
}

/* The normal distribution: the share below x, within (8 + x^2) 2^-24 of itself for x >= -12 (further out between 0 and 2^-106),
 * and the density at x, as exact. The tail beyond |x| is e^(-x^2/2) times a polynomial in 1 / (1 + 0.38 |x| / sqrt(2)). */
static inline float vector_normal(float *density, float x)
{
    float bell = vector_exp_bounded(-0.5F * x * x);
    float t = 1.0F / (1.0F + 0.268700577F * fabsf(x));
    float q = 0.0593447464F;
    q = q * t - 0.264207323F;
    q = q * t + 0.36802718F;
    q = q * t - 0.166434519F;
    q = q * t + 0.233601276F;
    q = q * t + 0.137071903F;
    q = q * t + 0.204322583F;
    q = q * t + 0.213859648F;
    q = q * t + 0.214414525F;
    float tail = 0.5F * bell * (t * q);
    *density = 0.398942280F * bell;
    return x < 0 ? tail : 1.0F - tail;
}

#endif

#endif
