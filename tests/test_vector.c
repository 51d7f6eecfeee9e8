/* The vectorisable elementary functions against libm in double, in the forms that the kernels of each instruction set
 * compile: plain, and with fused multiply-adds where the machine has them. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/vector.h"

/* Every 997th float, which meets all exponents and both signs; the step is prime to the blocks they are taken in. */
enum { STEP = 997, BLOCK = 4096 };

typedef void (*function)(float *y, const float *x);

#define LOOP(name, expression)                                                                                         \
    static void name(float *y, const float *x)                                                                         \
    {                                                                                                                  \
        for (int i = 0; i < BLOCK; i++) y[i] = expression(x[i]);                                                       \
    }

LOOP(plain_exp, vector_exp)
LOOP(plain_bounded, vector_exp_bounded)
LOOP(plain_sigmoid, vector_sigmoid)
LOOP(plain_tanh, vector_tanh)

static inline float normal(float x)
{
    float density;
    return vector_normal(&density, x);
}

static inline float density(float x)
{
    float y;
    vector_normal(&y, x);
    return y;
}

LOOP(plain_normal, normal)
LOOP(plain_density, density)

#ifdef __x86_64__
#define FUSED __attribute__((target("avx2,fma")))
// clang-format off
FUSED LOOP(fused_exp, vector_exp)
FUSED LOOP(fused_bounded, vector_exp_bounded)
FUSED LOOP(fused_sigmoid, vector_sigmoid)
FUSED LOOP(fused_tanh, vector_tanh)
FUSED LOOP(fused_normal, normal)
FUSED LOOP(fused_density, density)
    // clang-format on

    static int has_fused(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* Distance from the true value in units of the last place of the float nearest to it. */
static double ulps(double expected, float got)
{
    int exponent;
    frexp(fmax(fabs(expected), FLT_MIN), &exponent);
    return fabs(got - expected) / ldexp(1, exponent - FLT_MANT_DIG);
}

static void assert_within(function f, double (*truth)(double), float low, float high, double bound)
{
    float x[BLOCK], y[BLOCK];
    for (uint64_t first = 0; first <= UINT32_MAX; first += (uint64_t)BLOCK * STEP) {
        for (uint64_t i = 0; i < BLOCK; i++) {
            uint32_t bits = (uint32_t)(first + i * STEP);
            memcpy(&x[i], &bits, sizeof bits);
        }
        f(y, x);
        for (int i = 0; i < BLOCK; i++)
            if (x[i] >= low && x[i] <= high && !(ulps(truth(x[i]), y[i]) <= bound))
                fail_msg("f(%.9g) is %.9g, expected %.9g", x[i], y[i], truth(x[i]));
    }
}

static void assert_ends(function exp_form, function bounded_form, function sigmoid_form, function tanh_form)
{
    float x[BLOCK] = {NAN, INFINITY, -INFINITY, 1e30F, -1e30F, 88.73F, -104.5F, 0}, y[BLOCK];
    exp_form(y, x);
    assert_true(isnan(y[0]) && isinf(y[1]) && y[2] == 0 && isinf(y[3]) && y[4] == 0 && isinf(y[5]) && y[6] == 0 &&
                y[7] == 1);
    bounded_form(y, x);
    assert_true(isnan(y[0]) && y[1] > 6e37F && y[1] == y[3] && y[1] == y[5] && isfinite(y[1]));
    assert_true(y[2] > 0 && y[2] < 1.7e-38F && y[2] == y[4] && y[2] == y[6] && y[7] == 1);
    sigmoid_form(y, x);
    assert_true(isnan(y[0]) && y[1] == 1 && y[2] >= 0 && y[2] < 0x1p-125F && y[3] == 1 && y[4] == y[2] && y[7] == 0.5F);
    tanh_form(y, x);
    assert_true(isnan(y[0]) && y[1] == 1 && y[2] == -1 && y[3] == 1 && y[4] == -1 && y[7] == 0);
}

/* Within (8 + x^2) 2^-24 of the true value itself. */
static void assert_normal(function share, function density_form)
{
    const double root = sqrt(0.5), factor = 1 / sqrt(8 * atan(1));
    float x[BLOCK], y[BLOCK], d[BLOCK];
    for (int block = 0; block < 64; block++) {
        for (int i = 0; i < BLOCK; i++) x[i] = -12 + 24 * (float)(block * BLOCK + i) / (64 * BLOCK);
        share(y, x);
        density_form(d, x);
        for (int i = 0; i < BLOCK; i++) {
            double z = x[i], bound = (8 + z * z) * 0x1p-24, expected = erfc(-z * root) / 2;
            if (!(fabs(y[i] - expected) <= bound * expected)) fail_msg("F(%.9g) is %.9g", z, y[i]);
            expected = factor * exp(-z * z / 2);
            if (!(fabs(d[i] - expected) <= bound * expected)) fail_msg("F'(%.9g) is %.9g", z, d[i]);
        }
    }
    float ends[BLOCK] = {NAN, INFINITY, -INFINITY, 1e30F, -1e30F, 0, -12.5F};
    share(y, ends);
    density_form(d, ends);
    assert_true(isnan(y[0]) && y[1] == 1 && y[2] >= 0 && y[2] < 0x1p-106F && y[3] == 1 && y[4] == y[2] &&
                y[6] < 0x1p-106F);
    assert_true(isnan(d[0]) && d[1] < 0x1p-106F && d[2] == d[1] && d[3] == d[1] && fabsf(y[5] - 0.5F) < 1e-7F);
}

static void the_normal_distribution_is_as_exact_as_the_header_says(void **state)
{
    (void)state;
    assert_normal(plain_normal, plain_density);
#ifdef __x86_64__
    if (has_fused()) assert_normal(fused_normal, fused_density);
#endif
}

static void exp_sigmoid_and_tanh_are_as_exact_as_the_header_says(void **state)
{
    (void)state;
    assert_within(plain_exp, exp, -INFINITY, 88.72F, 1.1);
    assert_within(plain_bounded, exp, -87, 87, 1.1);
    assert_within(plain_sigmoid, sigmoid, -87, INFINITY, 2.5);
    assert_within(plain_tanh, tanh, -INFINITY, INFINITY, 1.4);
    assert_ends(plain_exp, plain_bounded, plain_sigmoid, plain_tanh);
}

static void so_are_their_fused_forms(void **state)
{
    (void)state;
#ifdef __x86_64__
    if (has_fused()) {
        assert_within(fused_exp, exp, -INFINITY, 88.72F, 1.1);
        assert_within(fused_bounded, exp, -87, 87, 1.1);
        assert_within(fused_sigmoid, sigmoid, -87, INFINITY, 2.5);
        assert_within(fused_tanh, tanh, -INFINITY, INFINITY, 1.4);
        assert_ends(fused_exp, fused_bounded, fused_sigmoid, fused_tanh);
        return;
    }
#endif
    skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_sigmoid_and_tanh_are_as_exact_as_the_header_says),
        cmocka_unit_test(so_are_their_fused_forms),
        cmocka_unit_test(the_normal_distribution_is_as_exact_as_the_header_says),
    };
    return cmocka_run_group_tests_name("vector", tests, NULL, NULL);
}
