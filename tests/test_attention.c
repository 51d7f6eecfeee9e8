/* Attention of every instruction set this machine has, against the definition in double: softmax(q k^T / sqrt(E)) v and
 * its derivative, with the row maximum subtracted and nothing cut into blocks. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "each_engine.h"
#include "base/half.h"

typedef struct sizes {
    int64_t n, s, k, e;
} sizes;

typedef struct arrays {
    float *qkv, *y, *lse, *dy, *dqkv;
    int64_t qkv_count, y_count, lse_count;
} arrays;

typedef struct truth {
    double *y, *lse, *dqkv;
} truth;

static void *allocate(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count, size);
    assert_non_null(memory);
    return memory;
}

static float random_value(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (float)((int64_t)(*state >> 33) % 2001 - 1000) / 1000.0F;
}

/* Queries are `steepness` times as large as the rest, which stretches the scores. dqkv starts at 1: it is added to. */
static arrays new_arrays(sizes z, float steepness)
{
    arrays a = {.qkv_count = z.n * z.s * 3 * z.k * z.e, .y_count = z.n * z.s * z.k * z.e, .lse_count = z.n * z.k * z.s};
    uint64_t state = 11;
    a.qkv = allocate(a.qkv_count, sizeof(float));
    a.dqkv = allocate(a.qkv_count, sizeof(float));
    a.y = allocate(a.y_count, sizeof(float));
    a.dy = allocate(a.y_count, sizeof(float));
    a.lse = allocate(a.lse_count, sizeof(float));
    for (int64_t i = 0; i < a.qkv_count; i++) {
        bool is_query = i / (z.k * z.e) % 3 == 0;
        a.qkv[i] = random_value(&state) * (is_query ? steepness : 1);
        a.dqkv[i] = 1;
    }
    for (int64_t i = 0; i < a.y_count; i++) a.dy[i] = random_value(&state);
    return a;
}

static void free_arrays(arrays a)
{
    free(a.qkv);
    free(a.y);
    free(a.lse);
    free(a.dy);
    free(a.dqkv);
}

static void run(const engine *e, arrays a, sizes z, int flags)
{
    e->attention_fwd(a.y, a.lse, a.qkv, z.n, z.s, z.k, z.e, flags);
    e->attention_bwd(a.dqkv, a.dy, a.y, a.lse, a.qkv, z.n, z.s, z.k, z.e, flags | GEMM_ACCUMULATE);
}

/* Position of q (part 0), k (1) or v (2) of a token's head. */
static int64_t place(sizes z, int64_t n, int64_t s, int64_t part, int64_t head)
{
    return (((n * z.s + s) * 3 + part) * z.k + head) * z.e;
}

static double dot(const float *a, const float *b, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)a[i] * b[i];
    return sum;
}

/* One query: its probabilities p, its output and its part of all gradients. */
static void true_row(truth t, const arrays *a, sizes z, int64_t n, int64_t i, int64_t head, double *p)
{
    double scale = 1 / sqrt((double)z.e), maximum = -INFINITY, sum = 0, mean = 0;
    const float *q = a->qkv + place(z, n, i, 0, head);
    int64_t out = ((n * z.s + i) * z.k + head) * z.e;
    for (int64_t j = 0; j < z.s; j++) {
        p[j] = scale * dot(q, a->qkv + place(z, n, j, 1, head), z.e);
        maximum = fmax(maximum, p[j]);
    }
    for (int64_t j = 0; j < z.s; j++) sum += p[j] = exp(p[j] - maximum);
    t.lse[(n * z.k + head) * z.s + i] = maximum + log(sum);
    for (int64_t j = 0; j < z.s; j++) {
        const float *v = a->qkv + place(z, n, j, 2, head);
        p[j] /= sum;
        mean += p[j] * dot(a->dy + out, v, z.e);
        for (int64_t d = 0; d < z.e; d++) {
            t.y[out + d] += p[j] * v[d];
            t.dqkv[place(z, n, j, 2, head) + d] += p[j] * a->dy[out + d];
        }
    }
    for (int64_t j = 0; j < z.s; j++) {
        double slope = scale * p[j] * (dot(a->dy + out, a->qkv + place(z, n, j, 2, head), z.e) - mean);
        for (int64_t d = 0; d < z.e; d++) {
            t.dqkv[place(z, n, i, 0, head) + d] += slope * a->qkv[place(z, n, j, 1, head) + d];
            t.dqkv[place(z, n, j, 1, head) + d] += slope * q[d];
        }
    }
}

/* The largest difference over the largest true value. */
static double relative_error(const float *got, const double *expected, int64_t count)
{
    double largest = 1e-30, error = 0;
    for (int64_t i = 0; i < count; i++) {
        double difference = fabs(got[i] - expected[i]);
        largest = fmax(largest, fabs(expected[i]));
        error = isnan(difference) ? INFINITY : fmax(error, difference);
    }
    return error / largest;
}

static void assert_attention(const engine *e, sizes z, float steepness, int flags, double bound, double gradient_bound)
{
    arrays a = new_arrays(z, steepness);
    truth t = {allocate(a.y_count, sizeof(double)), allocate(a.lse_count, sizeof(double)),
               allocate(a.qkv_count, sizeof(double))};
    double *p = allocate(z.s, sizeof *p);
    for (int64_t i = 0; i < a.qkv_count; i++) t.dqkv[i] = 1;
    for (int64_t i = 0; i < z.n * z.s * z.k; i++) true_row(t, &a, z, i / (z.s * z.k), i / z.k % z.s, i % z.k, p);
    run(e, a, z, flags);
    double of_y = relative_error(a.y, t.y, a.y_count), of_lse = relative_error(a.lse, t.lse, a.lse_count);
    double of_slope = relative_error(a.dqkv, t.dqkv, a.qkv_count);
    if (!(of_y < bound && of_lse < bound && of_slope < gradient_bound))
        fail_msg("n %ld s %ld k %ld e %ld steepness %g: errors y %g, lse %g, dqkv %g", (long)z.n, (long)z.s, (long)z.k,
                 (long)z.e, steepness, of_y, of_lse, of_slope);
    free(p);
    free(t.y);
    free(t.lse);
    free(t.dqkv);
    free_arrays(a);
}

static void check_sizes(const engine *e)
{
    static const sizes shapes[] = {{1, 1, 1, 1},   {2, 2, 3, 1},   {1, 5, 2, 3},    {2, 16, 1, 8}, {2, 64, 3, 64},
                                   {1, 65, 2, 72}, {1, 257, 2, 5}, {1, 300, 1, 17}, {1, 512, 1, 4}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) assert_attention(e, shapes[i], 1, 0, 2e-6, 4e-6);
}

static void attention_and_its_gradient_agree_with_the_definition(void **state)
{
    (void)state;
    for_each_engine(check_sizes);
}

static void check_long_rows(const engine *e)
{
    assert_attention(e, (sizes){1, 513, 1, 3}, 1, 0, 2e-6, 4e-6);
    assert_attention(e, (sizes){1, 1300, 1, 2}, 8, 0, 4e-6, 1e-5);
}

/* Operands of all products are rounded to bfloat16: 8 bits, 2^-9 at most each. */
static void check_bf16(const engine *e)
{
    static const sizes shapes[] = {{1, 1, 1, 1},   {2, 5, 2, 3},    {2, 64, 3, 64},
                                   {1, 65, 2, 72}, {1, 300, 1, 17}, {1, 600, 1, 9}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        assert_attention(e, shapes[i], 1, GEMM_BF16, 1e-2, 2e-2);
}

static void in_bf16_they_agree_within_its_rounding(void **state)
{
    (void)state;
    for_each_engine(check_bf16);
}

/* Wide heads, so that what is packed holds few rows. */
static void check_wide(const engine *e)
{
    assert_attention(e, (sizes){1, 150, 1, 600}, 1, 0, 4e-6, 8e-6);
    assert_attention(e, (sizes){1, 70, 1, ATTENTION_WIDTH_MAX}, 1, 0, 4e-6, 8e-6);
}

static void wide_heads_agree_with_the_definition(void **state)
{
    (void)state;
    for_each_engine(check_wide);
}

static void rows_longer_than_a_block_agree_with_the_definition(void **state)
{
    (void)state;
    for_each_engine(check_long_rows);
}

/* Scores of some thousands: a sum of exponentials without the maximum taken off would overflow, and the log of the sum
 * holds no digits behind the third place, which is what bounds the gradient. */
static void check_steep(const engine *e)
{
    assert_attention(e, (sizes){1, 70, 2, 16}, 3000, 0, 2e-3, 5e-3);
    assert_attention(e, (sizes){1, 1100, 1, 4}, 3000, 0, 2e-3, 5e-3);
}

static void large_scores_do_not_overflow(void **state)
{
    (void)state;
    for_each_engine(check_steep);
}

static void check_negative(const engine *e)
{
    sizes z = {1, 600, 1, 1};
    arrays a = new_arrays(z, 0);
    for (int64_t i = 0; i < z.s; i++) {
        a.qkv[3 * i] = 1000;
        a.qkv[3 * i + 1] = i < 599 ? -1000 : -500;
        a.qkv[3 * i + 2] = (float)i;
    }
    e->attention_fwd(a.y, a.lse, a.qkv, z.n, z.s, z.k, z.e, 0);
    for (int64_t i = 0; i < z.s; i++) {
        assert_true(a.y[i] == 599);
        assert_true(a.lse[i] == -500000);
    }
    free_arrays(a);
}

static void scores_far_below_zero_keep_their_order(void **state)
{
    (void)state;
    for_each_engine(check_negative);
}

static void check_nan(const engine *e)
{
    sizes z = {2, 40, 2, 8};
    arrays a = new_arrays(z, 1);
    a.qkv[place(z, 1, 13, 1, 0) + 2] = NAN; /* one key of one head of the second sample */
    e->attention_fwd(a.y, a.lse, a.qkv, z.n, z.s, z.k, z.e, 0);
    for (int64_t i = 0; i < a.y_count; i++) {
        bool of_that_head = i / (z.s * z.k * z.e) == 1 && i / z.e % z.k == 0;
        assert_int_equal(isnan(a.y[i]) != 0, of_that_head);
    }
    free_arrays(a);
}

static void a_nan_stays_visible_and_in_its_head(void **state)
{
    (void)state;
    for_each_engine(check_nan);
}

static void check_threads(const engine *e)
{
    sizes z = {3, 70, 3, 20};
    int before = omp_get_max_threads();
    arrays one = new_arrays(z, 1);
    omp_set_num_threads(1);
    run(e, one, z, 0);
    for (int threads = 2; threads <= 5; threads++) {
        arrays many = new_arrays(z, 1);
        omp_set_num_threads(threads);
        run(e, many, z, 0);
        assert_memory_equal(one.y, many.y, (size_t)one.y_count * sizeof(float));
        assert_memory_equal(one.lse, many.lse, (size_t)one.lse_count * sizeof(float));
        assert_memory_equal(one.dqkv, many.dqkv, (size_t)one.qkv_count * sizeof(float));
        free_arrays(many);
    }
    free_arrays(one);
    omp_set_num_threads(before);
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    (void)state;
    for_each_engine(check_threads);
}

/* ---- narrow arrays ---- */

static float rounded(float x)
{
    return half_f32_from_bf16(half_bf16_from_f32(x));
}

static uint16_t *narrowed(float *x, int64_t count)
{
    uint16_t *narrow = allocate(count, sizeof *narrow);
    for (int64_t i = 0; i < count; i++) {
        narrow[i] = half_bf16_from_f32(x[i]);
        x[i] = rounded(x[i]);
    }
    return narrow;
}

/* Narrow numbers are the float ones, rounded: up to the nearest, or where their sum was rounded before, to one beside it. */
static void assert_rounded(const char *what, const uint16_t *got, const float *expected, int64_t count, double beside)
{
    for (int64_t i = 0; i < count; i++) {
        double value = half_f32_from_bf16(got[i]), wanted = rounded(expected[i]);
        if (!(fabs(value - wanted) <= beside * (1 + fabs(wanted))))
            fail_msg("%s[%ld] is %g, expected %g", what, (long)i, value, wanted);
    }
}

/* With the same numbers in float, once overwriting and once adding. `beside`: see above, for the queries of a head that is
 * longer than what is added up together. */
static void assert_narrow(const engine *e, sizes z, double beside)
{
    arrays a = new_arrays(z, 1);
    uint16_t *qkv = narrowed(a.qkv, a.qkv_count), *dy = narrowed(a.dy, a.y_count), *y = allocate(a.y_count, sizeof *y);
    uint16_t *dqkv = allocate(a.qkv_count, sizeof *dqkv);
    float *lse = allocate(a.lse_count, sizeof *lse);
    const int flags = GEMM_BF16 | NARROW;
    e->attention_fwd(a.y, a.lse, a.qkv, z.n, z.s, z.k, z.e, GEMM_BF16);
    e->attention_fwd((real *)y, lse, (real *)qkv, z.n, z.s, z.k, z.e, flags);
    assert_rounded("y", y, a.y, a.y_count, 0);
    assert_memory_equal(lse, a.lse, (size_t)a.lse_count * sizeof *lse);
    for (int64_t i = 0; i < a.y_count; i++) a.y[i] = rounded(a.y[i]);
    e->attention_bwd(a.dqkv, a.dy, a.y, lse, a.qkv, z.n, z.s, z.k, z.e, GEMM_BF16);
    e->attention_bwd((real *)dqkv, (real *)dy, (real *)y, lse, (real *)qkv, z.n, z.s, z.k, z.e, flags);
    assert_rounded("dqkv", dqkv, a.dqkv, a.qkv_count, beside);
    e->attention_bwd((real *)dqkv, (real *)dy, (real *)y, lse, (real *)qkv, z.n, z.s, z.k, z.e,
                     flags | GEMM_ACCUMULATE);
    for (int64_t i = 0; i < a.qkv_count; i++) a.dqkv[i] += rounded(a.dqkv[i]);
    assert_rounded("twice dqkv", dqkv, a.dqkv, a.qkv_count, 2 * beside);
    free(qkv);
    free(dy);
    free(y);
    free(dqkv);
    free(lse);
    free_arrays(a);
}

static void check_narrow(const engine *e)
{
    static const sizes shapes[] = {{1, 1, 1, 1},    {2, 5, 2, 3},   {2, 64, 3, 64},  {1, 65, 2, 72},
                                   {1, 300, 1, 17}, {1, 600, 1, 9}, {1, 257, 2, 128}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) assert_narrow(e, shapes[i], 0);
    assert_narrow(e, (sizes){1, 150, 1, 600}, 0x1p-7);
}

static void narrow_arrays_give_what_their_numbers_give_in_float(void **state)
{
    (void)state;
    for_each_engine(check_narrow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_and_its_gradient_agree_with_the_definition),
        cmocka_unit_test(in_bf16_they_agree_within_its_rounding),
        cmocka_unit_test(wide_heads_agree_with_the_definition),
        cmocka_unit_test(rows_longer_than_a_block_agree_with_the_definition),
        cmocka_unit_test(large_scores_do_not_overflow),
        cmocka_unit_test(scores_far_below_zero_keep_their_order),
        cmocka_unit_test(a_nan_stays_visible_and_in_its_head),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(narrow_arrays_give_what_their_numbers_give_in_float),
    };
    return cmocka_run_group_tests_name("attention", tests, NULL, NULL);
}
