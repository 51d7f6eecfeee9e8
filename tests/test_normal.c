/* What standard normals are made with, from the inside: the functions against the C library's in long double, and vectors against
 * single numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define rng_normal rng_normal_of_the_test
#include "../src/base/normal.c"
#undef rng_normal

static const long double turn = 6.283185307179586476925286766559L;

static uint32_t word_of(uint32_t place)
{
    uint32_t w[4];
    rng_words(w, (rng_key){.seed = 11, .purpose = RNG_NOISE}, place);
    return w[0];
}

static const uint32_t ends[] = {0,          1,          2,          0x1fffffff, 0x20000000, 0x20000001,
                                0x3fffffff, 0x40000000, 0x5fffffff, 0x60000000, 0x7fffffff, 0x80000000,
                                0x9fffffff, 0xa0000000, 0xbfffffff, 0xc0000000, 0xdfffffff, 0xe0000000,
                                0xfffffffe, 0xffffffff, 0xb504f333, 0xb504f334, 0x5a827999, 0x5a82799a};
enum { ENDS = sizeof ends / sizeof *ends, WORDS = 1 << 18 };

static uint32_t nth_word(uint32_t i)
{
    return i < ENDS ? ends[i] : word_of(i);
}

/* Relative, also next to 1, where the logarithm vanishes. */
static void logarithms_are_within_two_last_places(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < WORDS; i++) {
        const double u = (double)nth_word(i) + 1;
        const long double exact = logl((long double)u * 0x1p-32L), mine = (long double)log_of_share(u);
        if (fabsl(mine - exact) > 4.5e-16L * fabsl(exact))
            fail_msg("log of %.0f 2^-32: %.17Lg, not %.17Lg", u, mine, exact);
    }
    assert_true(log_of_share(0x1p32) == 0);
}

static void points_are_on_the_circle_where_they_belong(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < WORDS; i++) {
        const uint32_t b = nth_word(i);
        const long double angle = turn * (long double)b * 0x1p-32L;
        const point p = point_on_circle(b);
        if (fabsl((long double)p.x - cosl(angle)) > 3e-16L || fabsl((long double)p.y - sinl(angle)) > 3e-16L)
            fail_msg("%u of 2^32 parts: %.17g, %.17g", b, p.x, p.y);
    }
}

static void vectors_have_the_bits_of_single_numbers(void **state)
{
    (void)state;
    enum { LAPS = 2000 };
    real one[POSITIONS][4], other[POSITIONS][4];
    if (best_maker() == make_group_portable) {
        print_message("skipped: this machine has no AVX2\n");
        skip();
    }
    for (uint32_t i = 0; i < LAPS; i++) {
        const rng_key key = {.seed = i, .purpose = RNG_NOISE, .step = i, .sample = 3 * i};
        make_group_portable(one, key, 64 * i);
        best_maker()(other, key, 64 * i);
        assert_memory_equal(one, other, sizeof one);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logarithms_are_within_two_last_places),
        cmocka_unit_test(points_are_on_the_circle_where_they_belong),
        cmocka_unit_test(vectors_have_the_bits_of_single_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
