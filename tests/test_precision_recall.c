/* Precision and recall against their definition, written out in double. */
#include "context_fixture.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "eval/precision_recall.h"

enum { MOST = 1100, DIM = 6 }; /* more rows than a tile has */

static float x[MOST * DIM], y[MOST * DIM];

static void fill(float *out, uint64_t seed, float centre, float spread)
{
    rng_normal(out, MOST * DIM, (rng_key){.seed = seed, .purpose = RNG_FEATURE});
    for (int i = 0; i < MOST * DIM; i++) out[i] = centre + spread * out[i];
}

static double distance(const float *a, const float *b)
{
    double sum = 0;
    for (int k = 0; k < DIM; k++) sum += ((double)a[k] - (double)b[k]) * ((double)a[k] - (double)b[k]);
    return sum;
}

static int compare(const void *a, const void *b)
{
    double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

/* Share of the rows of a inside the balls of b: radius = distance to the fourth nearest row, the row itself included. */
static double share(const float *a, int64_t a_count, const float *b, int64_t b_count)
{
    static double radius[MOST], all[MOST];
    int64_t total = 0;
    for (int64_t i = 0; i < b_count; i++) {
        for (int64_t j = 0; j < b_count; j++) all[j] = distance(b + i * DIM, b + j * DIM);
        qsort(all, (size_t)b_count, sizeof *all, compare);
        radius[i] = all[3];
    }
    for (int64_t i = 0; i < a_count; i++) {
        bool inside = false;
        for (int64_t j = 0; j < b_count && !inside; j++) inside = distance(a + i * DIM, b + j * DIM) <= radius[j];
        total += inside;
    }
    return (double)total / (double)a_count;
}

static void check(int64_t x_count, int64_t y_count)
{
    precision_recall_result r;
    const size_t used = arena_mark(&context.scratch).own;
    assert_int_equal(precision_recall(&r, &context, x, x_count, y, y_count, DIM), DT_OK);
    assert_true(fabs(r.precision - share(y, y_count, x, x_count)) < 1e-9);
    assert_true(fabs(r.recall - share(x, x_count, y, y_count)) < 1e-9);
    assert_int_equal(arena_mark(&context.scratch).own, used);
}

static void shares_are_those_of_the_definition(void **state)
{
    (void)state;
    fill(x, 1, 100, 1); /* far from zero, where products alone would lose the distances */
    fill(y, 2, 101.5F, 0.7F);
    check(MOST, MOST - 40);
    check(50, MOST);
    check(4, 4);
    precision_recall_result r;
    assert_int_equal(precision_recall(&r, &context, x, MOST, y, MOST, DIM), DT_OK);
    assert_true(r.precision > r.recall && r.recall > 0.02 && r.precision < 0.99); /* a case that could go wrong */
}

static void a_set_lies_in_itself_and_not_in_a_far_one(void **state)
{
    (void)state;
    precision_recall_result r;
    fill(x, 3, 0, 1);
    fill(y, 4, 1000, 1);
    assert_int_equal(precision_recall(&r, &context, x, 200, x, 200, DIM), DT_OK);
    assert_true(r.precision == 1 && r.recall == 1);
    assert_int_equal(precision_recall(&r, &context, x, 200, y, 200, DIM), DT_OK);
    assert_true(r.precision == 0 && r.recall == 0);
}

static void too_few_rows_have_none(void **state)
{
    (void)state;
    precision_recall_result r;
    assert_int_equal(precision_recall(&r, &context, x, 3, y, 100, DIM), DT_OK);
    assert_true(isnan(r.precision) && isnan(r.recall));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_those_of_the_definition),
        cmocka_unit_test(a_set_lies_in_itself_and_not_in_a_far_one),
        cmocka_unit_test(too_few_rows_have_none),
    };
    return cmocka_run_group_tests(tests, context_make, context_remove);
}
