/* The kernel distance against a direct computation in double. */
#include "context_fixture.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "eval/kernel_distance.h"

enum { DIM = 12, COUNT_MAX = 1300 };

static float x[COUNT_MAX * DIM], y[COUNT_MAX * DIM];

static int setup(void **state)
{
    for (int i = 0; i < COUNT_MAX * DIM; i++) {
        x[i] = (float)rng_uniform((rng_key){.seed = 31, .purpose = RNG_FEATURE}, (uint32_t)i);
        y[i] = (float)rng_uniform((rng_key){.seed = 32, .purpose = RNG_FEATURE}, (uint32_t)i) * 1.5F - 0.2F;
    }
    return context_make(state);
}

static double kernel(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < DIM; i++) sum += (double)a[i] * (double)b[i];
    return pow(sum / DIM + 1, 3);
}

/* The unbiased estimate over all rows of both sets, pair by pair. */
static double direct(const float *a, int64_t n, const float *b, int64_t m)
{
    double aa = 0, bb = 0, ab = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            if (i != j) aa += kernel(a + i * DIM, a + j * DIM);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < m; j++)
            if (i != j) bb += kernel(b + i * DIM, b + j * DIM);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++) ab += kernel(a + i * DIM, b + j * DIM);
    return aa / (double)(n * (n - 1)) + bb / (double)(m * (m - 1)) - 2 * ab / (double)(n * m);
}

static kernel_distance_result measure(int64_t x_count, const float *other, int64_t other_count, uint64_t seed)
{
    kernel_distance_result r;
    assert_int_equal(kernel_distance(&r, &context, x, x_count, other, other_count, DIM, seed), DT_OK);
    return r;
}

/* Equal small sets: every subset is the whole set, whatever the seed. */
static void sets_of_a_subsets_size_give_the_direct_estimate(void **state)
{
    (void)state;
    kernel_distance_result r = measure(50, y, 50, 1);
    assert_int_equal(r.subset_size, 50);
    assert_true(fabs(r.mean - direct(x, 50, y, 50)) < 1e-6);
    assert_true(fabs(r.mean) > 0.01);
    assert_true(r.std < 1e-6);
}

static void subsets_scatter_around_the_estimate_of_all(void **state)
{
    (void)state;
    kernel_distance_result r = measure(COUNT_MAX, y, 200, 2);
    double all = direct(x, COUNT_MAX, y, 200);
    assert_int_equal(r.subset_size, 200);
    assert_true(r.std > 1e-4);
    assert_true(fabs(r.mean - all) < 5 * r.std / sqrt(KERNEL_DISTANCE_SUBSETS));
    assert_true(measure(200, y, COUNT_MAX, 2).std > 1e-4); /* the other side is drawn anew as well */
}

static void no_subset_is_larger_than_a_thousand(void **state)
{
    (void)state;
    assert_int_equal(measure(COUNT_MAX, y, 1100, 3).subset_size, 1000);
}

/* Halves of one distribution: unbiased, so zero lies within the error of the mean of independent draws. */
static void halves_of_one_set_are_close_to_zero(void **state)
{
    (void)state;
    kernel_distance_result r = measure(600, x + 600 * DIM, 600, 4), far = measure(600, y, 600, 4);
    assert_true(fabs(r.mean) < 0.02 * far.mean);
}

static void the_seed_alone_chooses_the_subsets(void **state)
{
    (void)state;
    kernel_distance_result a = measure(300, y, 150, 5), b = measure(300, y, 150, 6);
    context.threads = 1;
    ctx_enter(&context);
    kernel_distance_result again = measure(300, y, 150, 5);
    assert_memory_equal(&a, &again, sizeof a);
    assert_true(a.mean != b.mean);
}

static void too_few_or_bad_features_are_refused(void **state)
{
    (void)state;
    kernel_distance_result r;
    assert_int_equal(kernel_distance(&r, &context, x, 1, y, 50, DIM, 1), DT_ERR_ARG);
    assert_non_null(strstr(context.error.message, "found 1 and 50"));
    error_clear(&context.error);
    x[3] = NAN;
    assert_int_equal(kernel_distance(&r, &context, x, 50, y, 50, DIM, 1), DT_ERR_NUMERIC);
    error_clear(&context.error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sets_of_a_subsets_size_give_the_direct_estimate, setup, context_remove),
        cmocka_unit_test_setup_teardown(subsets_scatter_around_the_estimate_of_all, setup, context_remove),
        cmocka_unit_test_setup_teardown(no_subset_is_larger_than_a_thousand, setup, context_remove),
        cmocka_unit_test_setup_teardown(halves_of_one_set_are_close_to_zero, setup, context_remove),
        cmocka_unit_test_setup_teardown(the_seed_alone_chooses_the_subsets, setup, context_remove),
        cmocka_unit_test_setup_teardown(too_few_or_bad_features_are_refused, setup, context_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
