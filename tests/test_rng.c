/* Random numbers as a function: the published vectors, the distributions, and that keys do not know of each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>

#include "base/rng.h"
#include "statistics_of.h"

static const rng_key plain = {.seed = 5, .purpose = RNG_NOISE, .step = 3, .sample = 2};

/* Random123, tests/kat_vectors, the lines "philox4x32 10": counter, key, result. */
static void words_are_philox_4x32_10(void **state)
{
    (void)state;
    static const uint32_t vector[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6,
         0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
         0x24126ea1},
    };
    for (int i = 0; i < 3; i++) {
        const uint32_t *v = vector[i];
        rng_key key = {(uint64_t)v[5] << 32 | v[4], (rng_purpose)v[3], v[2], v[1]};
        uint32_t words[4];
        rng_words(words, key, v[0]);
        assert_memory_equal(words, v + 6, sizeof words);
    }
}

/* A file made with one version must be continued with the same numbers by the next. */
static void purposes_keep_their_numbers(void **state)
{
    (void)state;
    const int found[] = {RNG_INIT,      RNG_DATA_ORDER, RNG_FLIP,         RNG_LABEL_DROP,  RNG_TIMESTEP,
                         RNG_NOISE,     RNG_BANK_ORDER, RNG_SAMPLE_START, RNG_SAMPLE_STEP, RNG_BANK_START,
                         RNG_BANK_STEP, RNG_VALIDATION, RNG_FEATURE,      RNG_SUBSET,      RNG_LABEL_ROWS};
    for (int i = 0; i < 15; i++) assert_int_equal(found[i], i + 1);
}

static void uniform_numbers_fill_the_unit_interval_evenly(void **state)
{
    (void)state;
    enum { BINS = 64, DRAWS = 1 << 16 };
    int64_t count[BINS] = {0};
    double expected[BINS], sum = 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        double u = rng_uniform(plain, i);
        assert_true(u >= 0 && u < 1);
        count[(int)(u * BINS)]++;
        sum += u;
    }
    for (int i = 0; i < BINS; i++) expected[i] = (double)DRAWS / BINS;
    assert_true(chi_square_is_plausible(count, expected, BINS));
    assert_true(fabs(sum / DRAWS - 0.5) < 5 * sqrt(1.0 / 12 / DRAWS));
}

static void a_uniform_number_has_53_bits_of_the_first_two_words(void **state)
{
    (void)state;
    bool low_bit_seen = false;
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t w[4];
        rng_words(w, plain, i);
        double u = rng_uniform(plain, i), scaled = u * 0x1p53;
        assert_true(scaled == floor(scaled));
        assert_true((uint32_t)(u * 0x1p32) == w[0]);
        low_bit_seen |= fmod(scaled, 2) == 1;
    }
    assert_true(low_bit_seen);
}

static void integers_below_n_are_even_and_in_range(void **state)
{
    (void)state;
    enum { DRAWS = 70000 };
    int64_t count[7] = {0};
    double expected[7];
    for (uint32_t i = 0; i < DRAWS; i++) count[rng_below(plain, i, 7)]++;
    for (int i = 0; i < 7; i++) expected[i] = DRAWS / 7.0;
    assert_true(chi_square_is_plausible(count, expected, 7));
    uint64_t huge = 0;
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(rng_below(plain, i, 1), 0);
        uint64_t v = rng_below(plain, i, UINT64_MAX);
        assert_true(v < UINT64_MAX);
        if (v > huge) huge = v;
    }
    assert_true(huge > UINT64_MAX / 2);
}

static void normal_numbers_have_the_moments_and_tails_of_the_normal_distribution(void **state)
{
    (void)state;
    enum { COUNT = 400000 };
    float *z = malloc(COUNT * sizeof *z);
    assert_non_null(z);
    rng_normal(z, COUNT, plain);
    double power[5] = {0}, neighbours = 0, beyond3 = 0;
    for (int i = 0; i < COUNT; i++) {
        assert_true(isfinite(z[i]));
        for (int p = 1; p < 5; p++) power[p] += pow((double)z[i], p) / COUNT;
        if (i) neighbours += (double)z[i] * (double)z[i - 1] / COUNT;
        beyond3 += fabs((double)z[i]) > 3;
    }
    free(z);
    const double sigma = 1 / sqrt((double)COUNT); /* of a mean of values with variance 1 */
    assert_true(fabs(power[1]) < 5 * sigma);
    assert_true(fabs(power[2] - 1) < 5 * sqrt(2) * sigma);
    assert_true(fabs(power[3]) < 5 * sqrt(15) * sigma);
    assert_true(fabs(power[4] - 3) < 5 * sqrt(96) * sigma);
    assert_true(fabs(neighbours) < 5 * sigma);
    assert_true(fabs(beyond3 - 0.0026998 * COUNT) < 5 * sqrt(0.0026998 * COUNT));
}

/* Box and Muller, radius from a number in (0, 1]: the smallest of many words shows whether 0 is kept out. */
static void normal_numbers_are_those_of_the_formula(void **state)
{
    (void)state;
    enum { POSITIONS = 1 << 19 };
    float *z = malloc(4 * POSITIONS * sizeof *z);
    assert_non_null(z);
    rng_normal(z, 4 * POSITIONS, plain);
    uint32_t smallest = UINT32_MAX;
    for (uint32_t i = 0; i < POSITIONS; i++) {
        uint32_t w[4];
        rng_words(w, plain, i);
        for (int k = 0; k < 4; k += 2) {
            double radius = sqrt(-2 * log(((double)w[k] + 1) / 4294967296.0));
            double angle = 2 * 3.14159265358979323846 * (double)w[k + 1] / 4294967296.0;
            assert_true(fabs((double)z[4 * i + (uint32_t)k] - radius * cos(angle)) < 3e-7);
            assert_true(fabs((double)z[4 * i + (uint32_t)k + 1] - radius * sin(angle)) < 3e-7);
            if (w[k] < smallest) smallest = w[k];
        }
    }
    free(z);
    assert_true(smallest < 60000); /* there the next smaller number is 1e-6 away */
}

/* What was made once is made for ever: FNV-1a of the bits. */
static void normal_numbers_keep_their_bits(void **state)
{
    (void)state;
    static float z[4096];
    uint64_t hash = 14695981039346656037U;
    rng_normal(z, 4096, plain);
    for (size_t i = 0; i < sizeof z; i++) hash = (hash ^ ((const unsigned char *)z)[i]) * 1099511628211U;
    assert_true(hash == 0xeacf845d1c4565c7U);
}

static void a_short_row_of_normals_is_the_start_of_a_long_one(void **state)
{
    (void)state;
    enum { LONG = 600 };
    float full[LONG], part[LONG];
    rng_normal(full, LONG, plain);
    for (int64_t count = 0; count < LONG; count++) {
        for (int i = 0; i < LONG; i++) part[i] = 77;
        rng_normal(part, count, plain);
        assert_memory_equal(part, full, (size_t)count * sizeof *part);
        for (int64_t i = count; i < LONG; i++) assert_true(part[i] == 77);
    }
}

static void a_permutation_holds_every_number_once(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 3, 1000, 4097};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        int64_t n = sizes[k], at_home = 0;
        int32_t *p = malloc((size_t)n * sizeof *p);
        bool *seen = calloc((size_t)n, sizeof *seen);
        assert_true(p && seen);
        rng_permutation(p, n, plain);
        for (int64_t i = 0; i < n; i++) {
            assert_in_range(p[i], 0, n - 1);
            assert_false(seen[p[i]]);
            seen[p[i]] = true;
            at_home += p[i] == i;
        }
        if (n > 3) assert_true(at_home < 10);
        free(p);
        free(seen);
    }
}

static void all_permutations_are_equally_likely(void **state)
{
    (void)state;
    enum { DRAWS = 24000 };
    int64_t count[256] = {0}, kept[24];
    double expected[24];
    for (uint32_t step = 0; step < DRAWS; step++) {
        int32_t p[4];
        rng_permutation(p, 4, (rng_key){5, RNG_DATA_ORDER, step, 0});
        count[p[0] << 6 | p[1] << 4 | p[2] << 2 | p[3]]++;
    }
    int kinds = 0;
    for (int i = 0; i < 256; i++)
        if (count[i]) {
            assert_true(kinds < 24);
            kept[kinds++] = count[i];
        }
    assert_int_equal(kinds, 24);
    for (int i = 0; i < 24; i++) expected[i] = DRAWS / 24.0;
    assert_true(chi_square_is_plausible(kept, expected, 24));
}

/* One flipped bit anywhere in the key or position changes half of the bits of the words. */
static void every_bit_of_a_key_matters(void **state)
{
    (void)state;
    int differing = 0, flips = 0;
    uint32_t before[4], after[4];
    rng_words(before, plain, 9);
    for (int bit = 0; bit < 192; bit++) {
        rng_key key = plain;
        uint32_t position = 9, one = 1u << (bit % 32);
        switch (bit / 32) {
        case 0: key.seed ^= one; break;
        case 1: key.seed ^= (uint64_t)one << 32; break;
        case 2: key.purpose = (rng_purpose)((uint32_t)key.purpose ^ one); break;
        case 3: key.step ^= one; break;
        case 4: key.sample ^= one; break;
        default: position ^= one; break;
        }
        rng_words(after, key, position);
        int here = 0;
        for (int i = 0; i < 4; i++) here += __builtin_popcount(before[i] ^ after[i]);
        assert_in_range(here, 30, 98);
        differing += here;
        flips++;
    }
    double mean = differing / (double)flips;
    assert_true(fabs(mean - 64) < 5 * sqrt(32.0 / flips));
}

static double correlation(rng_key a, rng_key b)
{
    enum { COUNT = 20000 };
    static float x[COUNT], y[COUNT];
    rng_normal(x, COUNT, a);
    rng_normal(y, COUNT, b);
    double sum = 0;
    for (int i = 0; i < COUNT; i++) sum += (double)x[i] * (double)y[i];
    return sum / sqrt(COUNT); /* about standard normal */
}

static void neighbouring_keys_give_unrelated_numbers(void **state)
{
    (void)state;
    rng_key seed = plain, purpose = plain, step = plain, sample = plain;
    seed.seed++;
    purpose.purpose++;
    step.step++;
    sample.sample++;
    assert_true(fabs(correlation(plain, seed)) < 5);
    assert_true(fabs(correlation(plain, purpose)) < 5);
    assert_true(fabs(correlation(plain, step)) < 5);
    assert_true(fabs(correlation(plain, sample)) < 5);
    assert_true(correlation(plain, plain) > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_philox_4x32_10),
        cmocka_unit_test(purposes_keep_their_numbers),
        cmocka_unit_test(uniform_numbers_fill_the_unit_interval_evenly),
        cmocka_unit_test(a_uniform_number_has_53_bits_of_the_first_two_words),
        cmocka_unit_test(integers_below_n_are_even_and_in_range),
        cmocka_unit_test(normal_numbers_have_the_moments_and_tails_of_the_normal_distribution),
        cmocka_unit_test(normal_numbers_are_those_of_the_formula),
        cmocka_unit_test(normal_numbers_keep_their_bits),
        cmocka_unit_test(a_short_row_of_normals_is_the_start_of_a_long_one),
        cmocka_unit_test(a_permutation_holds_every_number_once),
        cmocka_unit_test(all_permutations_are_equally_likely),
        cmocka_unit_test(every_bit_of_a_key_matters),
        cmocka_unit_test(neighbouring_keys_give_unrelated_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
