/* The Gaussian error linear unit: x F(x), F the normal distribution function, in the forms that networks use, and their
 * slopes. */
#ifndef CPU_GELU_H
#define CPU_GELU_H

#include "cpu/vector.h"

/* DiT's. With u = sqrt(2/pi) (x + 0.044715 x^3) the tanh form is x (1 + tanh u) / 2 = x sigmoid(2u), which keeps the small
 * negative tail that 1 + tanh u rounds away. GELU_ROOT is 2 sqrt(2/pi). */
#define GELU_ROOT ((real)1.59576912160573071176)
#define GELU_CUBE ((real)0.044715)

static inline real gelu(real x)
{
    return x * vector_sigmoid(GELU_ROOT * x * (1 + GELU_CUBE * x * x));
}

static inline real gelu_slope(real x)
{
    real square = x * x, s = vector_sigmoid(GELU_ROOT * x * (1 + GELU_CUBE * square));
    return s * (1 + x * (1 - s) * GELU_ROOT * (1 + 3 * GELU_CUBE * square));
}

/* CLIP's: x sigmoid(1.702 x). */
#define QUICK_GELU ((real)1.702)

static inline real quick_gelu(real x)
{
    return x * vector_sigmoid(QUICK_GELU * x);
}

static inline real quick_gelu_slope(real x)
{
    real s = vector_sigmoid(QUICK_GELU * x);
    return s * (1 + QUICK_GELU * x * (1 - s));
}

/* As it is defined, with the slope F(x) + x F'(x). */
static inline real exact_gelu_and_slope(real *slope, real x)
{
    real density, below = vector_normal(&density, x);
    *slope = below + x * density;
    return x * below;
}

static inline real exact_gelu(real x)
{
    real slope;
    return exact_gelu_and_slope(&slope, x);
}

static inline real exact_gelu_slope(real x)
{
    real slope;
    exact_gelu_and_slope(&slope, x);
    return slope;
}

#endif
