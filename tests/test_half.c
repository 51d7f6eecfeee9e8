/* The 16-bit floats: every value up, and roundings down against a computation in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/half.h"

/* The value of a format with so many exponent and fraction bits, from its definition. */
static double decode(uint32_t code, int exponent_bits, int fraction_bits)
{
    int bias = (1 << (exponent_bits - 1)) - 1, exponent = (int)(code >> fraction_bits) & ((1 << exponent_bits) - 1);
    double fraction = (double)(code & ((1u << fraction_bits) - 1)), value;
    if (exponent == (1 << exponent_bits) - 1)
        value = fraction == 0 ? INFINITY : NAN;
    else if (exponent == 0)
        value = ldexp(fraction, 1 - bias - fraction_bits);
    else
        value = ldexp(fraction + (double)(1u << fraction_bits), exponent - bias - fraction_bits);
    return code >> (exponent_bits + fraction_bits) ? -value : value;
}

/* The nearest value of such a format, ties to even, by rounding in units of the last place. */
static double nearest(double value, int exponent_bits, int fraction_bits)
{
    int bias = (1 << (exponent_bits - 1)) - 1;
    if (value == 0 || !isfinite(value)) return value;
    int exponent = ilogb(value) < 1 - bias ? 1 - bias : ilogb(value);
    double unit = ldexp(1, exponent - fraction_bits), rounded = nearbyint(value / unit) * unit;
    return fabs(rounded) >= ldexp(1, bias + 1) ? copysign(INFINITY, value) : rounded;
}

static void assert_same(double expected, double found)
{
    if (isnan(expected) && isnan(found)) return;
    if (expected == found && signbit(expected) == signbit(found)) return;
    fail_msg("expected %a, found %a", expected, found);
}

static void every_code_is_read_exactly_and_survives_the_way_back(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 65536; code++) {
        float from_f16 = half_f32_from_f16((uint16_t)code), from_bf16 = half_f32_from_bf16((uint16_t)code);
        assert_same(decode(code, 5, 10), from_f16);
        assert_same(decode(code, 8, 7), from_bf16);
        if (!isnan(from_f16)) assert_int_equal(half_f16_from_f32(from_f16), code);
        if (!isnan(from_bf16)) assert_int_equal(half_bf16_from_f32(from_bf16), code);
    }
}

static void a_million_floats_are_rounded_to_nearest_even(void **state)
{
    (void)state;
    for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += 4093) {
        float value = half_float_of_bits((uint32_t)bits);
        assert_same(nearest(value, 5, 10), half_f32_from_f16(half_f16_from_f32(value)));
        assert_same(nearest(value, 8, 7), half_f32_from_bf16(half_bf16_from_f32(value)));
    }
}

/* For each pair of neighbours: the middle, and the floats on both sides of the middle. */
static void ties_go_to_even(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x7bff; code++) {
        float middle = (half_f32_from_f16((uint16_t)code) + half_f32_from_f16((uint16_t)(code + 1))) / 2;
        assert_int_equal(half_f16_from_f32(middle), code + (code & 1));
        assert_int_equal(half_f16_from_f32(nextafterf(middle, 0)), code);
        assert_int_equal(half_f16_from_f32(nextafterf(middle, INFINITY)), code + 1);
        assert_int_equal(half_f16_from_f32(-middle), 0x8000 | (code + (code & 1)));
    }
    for (uint32_t code = 0; code < 0x7f7f; code++) {
        float middle = half_float_of_bits(code << 16 | 0x8000);
        assert_int_equal(half_bf16_from_f32(middle), code + (code & 1));
        assert_int_equal(half_bf16_from_f32(nextafterf(middle, 0)), code);
        assert_int_equal(half_bf16_from_f32(nextafterf(middle, INFINITY)), code + 1);
    }
}

static void large_values_become_infinite_and_nan_stays_nan(void **state)
{
    (void)state;
    assert_int_equal(half_f16_from_f32(65519.996f), 0x7bff);
    assert_int_equal(half_f16_from_f32(65520), 0x7c00);
    assert_int_equal(half_f16_from_f32(-1e30f), 0xfc00);
    assert_int_equal(half_bf16_from_f32(3.4e38f), 0x7f80);
    for (uint32_t payload = 1; payload < 0x800000; payload += 4097)
        for (uint32_t sign = 0; sign < 2; sign++) {
            float value = half_float_of_bits(sign << 31 | 0x7f800000 | payload);
            assert_true(isnan(half_f32_from_f16(half_f16_from_f32(value))));
            assert_true(isnan(half_f32_from_bf16(half_bf16_from_f32(value))));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_is_read_exactly_and_survives_the_way_back),
        cmocka_unit_test(a_million_floats_are_rounded_to_nearest_even),
        cmocka_unit_test(ties_go_to_even),
        cmocka_unit_test(large_values_become_infinite_and_nan_stays_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
