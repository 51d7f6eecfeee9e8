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

/* keys 0: q, k and v are packed in one array, as many keys as queries. Else q is an array of its own, and k and v are packed
 * in another one. */
typedef struct sizes {
    int64_t n, s, k, e, keys;
    bool causal;
} sizes;

typedef struct arrays {
    float *qkv, *y, *lse, *dy, *dqkv;
    int64_t qkv_count, y_count, lse_count;
    int64_t q, k, v; /* where they begin in qkv */
    attention_sizes z;
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

static arrays lay_out(sizes z)
{
    const int64_t width = z.k * z.e;
    arrays a = {.y_count = z.n * z.s * width, .lse_count = z.n * z.k * z.s};
    a.z = (attention_sizes){z.n, z.s, z.keys ? z.keys : z.s, z.k, z.e, .causal = z.causal};
    a.z.q_stride = z.keys ? width : 3 * width;
    a.z.kv_stride = z.keys ? 2 * width : 3 * width;
    a.k = z.keys ? a.y_count : width;
    a.v = a.k + width;
    a.qkv_count = z.keys ? a.y_count + z.n * z.keys * 2 * width : 3 * a.y_count;
    return a;
}

/* Queries are `steepness` times as large as the rest, which stretches the scores. dqkv starts at 1: it is added to. */
static arrays new_arrays(sizes z, float steepness)
{
    arrays a = lay_out(z);
    uint64_t state = 11;
    a.qkv = allocate(a.qkv_count, sizeof(float));
    a.dqkv = allocate(a.qkv_count, sizeof(float));
    a.y = allocate(a.y_count, sizeof(float));
    a.dy = allocate(a.y_count, sizeof(float));
    a.lse = allocate(a.lse_count, sizeof(float));
    for (int64_t i = 0; i < a.qkv_count; i++) {
        bool is_query = z.keys ? i < a.k : i / (z.k * z.e) % 3 == 0;
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

/* Number `at` of an array of float, or of bfloat16. */
static real *number(void *x, int64_t at, int flags)
{
    return flags & NARROW ? (real *)((uint16_t *)x + at) : (real *)x + at;
}

static void forward(const engine *e, const arrays *a, void *y, float *lse, void *qkv, int flags)
{
    e->attention_fwd(y, lse, number(qkv, a->q, flags), number(qkv, a->k, flags), number(qkv, a->v, flags), a->z, flags);
}

static void backward(const engine *e, const arrays *a, void *dqkv, void *dy, void *y, const float *lse, void *qkv,
                     int flags)
{
    e->attention_bwd(number(dqkv, a->q, flags), number(dqkv, a->k, flags), number(dqkv, a->v, flags), dy, y, lse,
                     number(qkv, a->q, flags), number(qkv, a->k, flags), number(qkv, a->v, flags), a->z, flags);
}

static void run(const engine *e, arrays a, int flags)
{
    forward(e, &a, a.y, a.lse, a.qkv, flags);
    backward(e, &a, a.dqkv, a.dy, a.y, a.lse, a.qkv, flags | GEMM_ACCUMULATE);
}

/* Where a token's head lies in qkv. */
static int64_t q_place(const arrays *a, int64_t n, int64_t s, int64_t head)
{
    return a->q + (n * a->z.s + s) * a->z.q_stride + head * a->z.e;
}

static int64_t k_place(const arrays *a, int64_t n, int64_t s, int64_t head)
{
    return a->k + (n * a->z.keys + s) * a->z.kv_stride + head * a->z.e;
}

static int64_t v_place(const arrays *a, int64_t n, int64_t s, int64_t head)
{
    return k_place(a, n, s, head) + a->v - a->k;
}

static double dot(const float *a, const float *b, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)a[i] * b[i];
    return sum;
}

/* One query: its probabilities p, its output and its part of all gradients. */
static void true_row(truth t, const arrays *a, int64_t n, int64_t i, int64_t head, double *p)
{
    const attention_sizes z = a->z;
    double scale = 1 / sqrt((double)z.e), maximum = -INFINITY, sum = 0, mean = 0;
    const float *q = a->qkv + q_place(a, n, i, head);
    int64_t out = ((n * z.s + i) * z.k + head) * z.e, keys = z.causal ? i + 1 : z.keys;
    for (int64_t j = 0; j < keys; j++) {
        p[j] = scale * dot(q, a->qkv + k_place(a, n, j, head), z.e);
        maximum = fmax(maximum, p[j]);
    }
    for (int64_t j = 0; j < keys; j++) sum += p[j] = exp(p[j] - maximum);
    t.lse[(n * z.k + head) * z.s + i] = maximum + log(sum);
    for (int64_t j = 0; j < keys; j++) {
        const float *v = a->qkv + v_place(a, n, j, head);
        p[j] /= sum;
        mean += p[j] * dot(a->dy + out, v, z.e);
        for (int64_t d = 0; d < z.e; d++) {
            t.y[out + d] += p[j] * v[d];
            t.dqkv[v_place(a, n, j, head) + d] += p[j] * a->dy[out + d];
        }
    }
    for (int64_t j = 0; j < keys; j++) {
        double slope = scale * p[j] * (dot(a->dy + out, a->qkv + v_place(a, n, j, head), z.e) - mean);
        for (int64_t d = 0; d < z.e; d++) {
            t.dqkv[q_place(a, n, i, head) + d] += slope * a->qkv[k_place(a, n, j, head) + d];
            t.dqkv[k_place(a, n, j, head) + d] += slope * q[d];
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
    double *p = allocate(a.z.keys, sizeof *p);
    for (int64_t i = 0; i < a.qkv_count; i++) t.dqkv[i] = 1;
    for (int64_t i = 0; i < z.n * z.s * z.k; i++) true_row(t, &a, i / (z.s * z.k), i / z.k % z.s, i % z.k, p);
    run(e, a, flags);
    double of_y = relative_error(a.y, t.y, a.y_count), of_lse = relative_error(a.lse, t.lse, a.lse_count);
    double of_slope = relative_error(a.dqkv, t.dqkv, a.qkv_count);
    if (!(of_y < bound && of_lse < bound && of_slope < gradient_bound))
        fail_msg("n %ld s %ld keys %ld%s k %ld e %ld steepness %g: errors y %g, lse %g, dqkv %g", (long)z.n, (long)z.s,
                 (long)a.z.keys, z.causal ? " causal" : "", (long)z.k, (long)z.e, steepness, of_y, of_lse, of_slope);
    free(p);
    free(t.y);
    free(t.lse);
    free(t.dqkv);
    free_arrays(a);
}

static void check_sizes(const engine *e)
{
    static const sizes shapes[] = {{1, 1, 1, 1, 0, false},   {2, 2, 3, 1, 0, false},    {1, 5, 2, 3, 0, false},
                                   {2, 16, 1, 8, 0, false},  {2, 64, 3, 64, 0, false},  {1, 65, 2, 72, 0, false},
                                   {1, 257, 2, 5, 0, false}, {1, 300, 1, 17, 0, false}, {1, 512, 1, 4, 0, false},
                                   {2, 50, 2, 40, 0, false}, {1, 70, 2, 80, 0, false},  {2, 65, 1, 160, 0, false}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) assert_attention(e, shapes[i], 1, 0, 2e-6, 4e-6);
}

static void attention_and_its_gradient_agree_with_the_definition(void **state)
{
    (void)state;
    for_each_engine(check_sizes);
}

/* Stable Diffusion's: a picture's tokens to 77 of a text, and shapes around the sizes of blocks. */
static void check_apart(const engine *e)
{
    static const sizes shapes[] = {{1, 1, 1, 1, 1, false},      {2, 3, 2, 5, 1, false},    {1, 1, 2, 4, 9, false},
                                   {2, 64, 2, 40, 77, false},   {1, 77, 2, 80, 64, false}, {1, 49, 3, 160, 77, false},
                                   {1, 300, 1, 8, 77, false},   {1, 20, 1, 8, 600, false}, {2, 257, 1, 16, 49, false},
                                   {1, 48, 2, 64, 1030, false}, {2, 33, 2, 24, 33, false}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) assert_attention(e, shapes[i], 1, 0, 2e-6, 4e-6);
    assert_attention(e, (sizes){1, 70, 2, 16, 90, false}, 3000, 0, 2e-3, 5e-3);
    assert_attention(e, (sizes){2, 64, 2, 40, 77, false}, 1, GEMM_BF16, 1e-2, 2e-2);
}

static void queries_meet_keys_of_another_number(void **state)
{
    (void)state;
    for_each_engine(check_apart);
}

/* Packed and apart, shorter and longer than all blocks, and with scores that an unmasked key would dominate. */
static void check_causal(const engine *e)
{
    static const sizes shapes[] = {{1, 1, 1, 1, 0, true},     {2, 2, 2, 3, 0, true},    {2, 77, 3, 64, 77, true},
                                   {1, 49, 2, 8, 0, true},    {1, 97, 1, 5, 97, true},  {1, 300, 2, 16, 0, true},
                                   {1, 600, 1, 4, 600, true}, {1, 1100, 1, 8, 0, true}, {1, 130, 1, 160, 130, true}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) assert_attention(e, shapes[i], 1, 0, 3e-6, 6e-6);
    assert_attention(e, (sizes){1, 1100, 1, 4, 0, true}, 3000, 0, 2e-3, 5e-3);
    assert_attention(e, (sizes){2, 77, 3, 64, 77, true}, 1, GEMM_BF16, 1e-2, 2e-2);
}

static void a_causal_mask_hides_what_comes_later(void **state)
{
    (void)state;
    for_each_engine(check_causal);
}

/* Other keys and values further on change no bit of what comes before them. */
static void check_later(const engine *e)
{
    enum { LATER = 40 };
    arrays a = new_arrays((sizes){1, 77, 1, 8, 0, true}, 1), b = new_arrays((sizes){1, 77, 1, 8, 0, true}, 1);
    for (int64_t j = LATER * a.z.e; j < a.z.s * a.z.e; j++) {
        b.qkv[k_place(&b, 0, j / a.z.e, 0) + j % a.z.e] = 1000;
        b.qkv[v_place(&b, 0, j / a.z.e, 0) + j % a.z.e] = -1000;
    }
    run(e, a, 0);
    run(e, b, 0);
    assert_memory_equal(a.y, b.y, (size_t)(LATER * a.z.e) * sizeof *a.y);
    assert_memory_not_equal(a.y + LATER * a.z.e, b.y + LATER * a.z.e, (size_t)a.z.e * sizeof *a.y);
    for (int64_t i = 0; i < LATER; i++)
        assert_memory_equal(a.dqkv + q_place(&a, 0, i, 0), b.dqkv + q_place(&b, 0, i, 0),
                            (size_t)a.z.e * sizeof *a.dqkv);
    free_arrays(a);
    free_arrays(b);
}

static void what_comes_later_changes_nothing_before_it(void **state)
{
    (void)state;
    for_each_engine(check_later);
}

/* The same numbers packed in one array, and as arrays of their own, with and without bfloat16. */
static void check_same_bits(const engine *e)
{
    const sizes z = {2, 70, 3, 40, 0, false};
    for (int flags = 0; flags <= GEMM_BF16; flags += GEMM_BF16) {
        arrays one = new_arrays(z, 1), own = new_arrays((sizes){z.n, z.s, z.k, z.e, z.s, false}, 1);
        const size_t row = (size_t)(z.k * z.e) * sizeof(float);
        for (int64_t t = 0; t < z.n * z.s; t++) {
            memcpy(own.qkv + own.q + t * own.z.q_stride, one.qkv + one.q + t * one.z.q_stride, row);
            memcpy(own.qkv + own.k + t * own.z.kv_stride, one.qkv + one.k + t * one.z.kv_stride, row);
            memcpy(own.qkv + own.v + t * own.z.kv_stride, one.qkv + one.v + t * one.z.kv_stride, row);
        }
        run(e, one, flags);
        memcpy(own.dy, one.dy, (size_t)one.y_count * sizeof(float));
        run(e, own, flags);
        assert_memory_equal(one.y, own.y, (size_t)one.y_count * sizeof(float));
        assert_memory_equal(one.lse, own.lse, (size_t)one.lse_count * sizeof(float));
        for (int64_t t = 0; t < z.n * z.s; t++) {
            assert_memory_equal(own.dqkv + own.q + t * own.z.q_stride, one.dqkv + one.q + t * one.z.q_stride, row);
            assert_memory_equal(own.dqkv + own.k + t * own.z.kv_stride, one.dqkv + one.k + t * one.z.kv_stride, row);
            assert_memory_equal(own.dqkv + own.v + t * own.z.kv_stride, one.dqkv + one.v + t * one.z.kv_stride, row);
        }
        free_arrays(one);
        free_arrays(own);
    }
}

static void packed_and_apart_give_the_same_bits(void **state)
{
    (void)state;
    for_each_engine(check_same_bits);
}

/* What is wanted has the bits it has when all is wanted; float and narrow (whose arrays the numbers are read as: any bits
 * will do that are no NaN). */
static void check_wanted(const engine *e)
{
    const sizes z = {2, 50, 2, 24, 77, false};
    for (int wanted = 0; wanted < 16; wanted++) {
        arrays all = new_arrays(z, 1), some = new_arrays(z, 1);
        const int flags = wanted & 8 ? GEMM_BF16 | NARROW : 0;
        for (int64_t i = 0; i < all.qkv_count && flags; i++) {
            uint16_t *to[] = {(uint16_t *)all.qkv, (uint16_t *)some.qkv, (uint16_t *)all.dy, (uint16_t *)some.dy};
            to[0][i] = to[1][i] = half_bf16_from_f32((float)sin((double)i));
            if (i < all.y_count) to[2][i] = to[3][i] = half_bf16_from_f32((float)cos((double)i));
        }
        forward(e, &all, all.y, all.lse, all.qkv, flags);
        forward(e, &some, some.y, some.lse, some.qkv, flags);
        backward(e, &all, all.dqkv, all.dy, all.y, all.lse, all.qkv, flags);
        memcpy(some.dqkv, all.dqkv, (size_t)all.qkv_count * sizeof(float));
        real *d[] = {number(some.dqkv, some.q, flags), number(some.dqkv, some.k, flags),
                     number(some.dqkv, some.v, flags)};
        e->attention_bwd(wanted & 1 ? d[0] : NULL, wanted & 2 ? d[1] : NULL, wanted & 4 ? d[2] : NULL, some.dy, some.y,
                         some.lse, number(some.qkv, some.q, flags), number(some.qkv, some.k, flags),
                         number(some.qkv, some.v, flags), some.z, flags);
        assert_memory_equal(all.dqkv, some.dqkv, (size_t)all.qkv_count * sizeof(float));
        free_arrays(all);
        free_arrays(some);
    }
}

static void gradients_that_are_not_wanted_change_no_others(void **state)
{
    (void)state;
    for_each_engine(check_wanted);
}

static void check_long_rows(const engine *e)
{
    assert_attention(e, (sizes){1, 513, 1, 3, 0, false}, 1, 0, 2e-6, 4e-6);
    assert_attention(e, (sizes){1, 1300, 1, 2, 0, false}, 8, 0, 4e-6, 1e-5);
}

/* Operands of all products are rounded to bfloat16: 8 bits, 2^-9 at most each. */
static void check_bf16(const engine *e)
{
    static const sizes shapes[] = {{1, 1, 1, 1, 0, false},   {2, 5, 2, 3, 0, false},    {2, 64, 3, 64, 0, false},
                                   {1, 65, 2, 72, 0, false}, {1, 300, 1, 17, 0, false}, {1, 600, 1, 9, 0, false}};
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
    assert_attention(e, (sizes){1, 150, 1, 600, 0, false}, 1, 0, 4e-6, 8e-6);
    assert_attention(e, (sizes){1, 70, 1, ATTENTION_WIDTH_MAX, 0, false}, 1, 0, 4e-6, 8e-6);
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
    assert_attention(e, (sizes){1, 70, 2, 16, 0, false}, 3000, 0, 2e-3, 5e-3);
    assert_attention(e, (sizes){1, 1100, 1, 4, 0, false}, 3000, 0, 2e-3, 5e-3);
}

static void large_scores_do_not_overflow(void **state)
{
    (void)state;
    for_each_engine(check_steep);
}

static void check_negative(const engine *e)
{
    sizes z = {1, 600, 1, 1, 0, false};
    arrays a = new_arrays(z, 0);
    for (int64_t i = 0; i < z.s; i++) {
        a.qkv[3 * i] = 1000;
        a.qkv[3 * i + 1] = i < 599 ? -1000 : -500;
        a.qkv[3 * i + 2] = (float)i;
    }
    forward(e, &a, a.y, a.lse, a.qkv, 0);
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
    sizes z = {2, 40, 2, 8, 0, false};
    arrays a = new_arrays(z, 1);
    a.qkv[k_place(&a, 1, 13, 0) + 2] = NAN; /* one key of one head of the second sample */
    forward(e, &a, a.y, a.lse, a.qkv, 0);
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

static void check_threads_of(const engine *e, sizes z)
{
    int before = omp_get_max_threads();
    arrays one = new_arrays(z, 1);
    omp_set_num_threads(1);
    run(e, one, 0);
    for (int threads = 2; threads <= 5; threads++) {
        arrays many = new_arrays(z, 1);
        omp_set_num_threads(threads);
        run(e, many, 0);
        assert_memory_equal(one.y, many.y, (size_t)one.y_count * sizeof(float));
        assert_memory_equal(one.lse, many.lse, (size_t)one.lse_count * sizeof(float));
        assert_memory_equal(one.dqkv, many.dqkv, (size_t)one.qkv_count * sizeof(float));
        free_arrays(many);
    }
    free_arrays(one);
    omp_set_num_threads(before);
}

static void check_threads(const engine *e)
{
    check_threads_of(e, (sizes){3, 70, 3, 20, 0, false});
    check_threads_of(e, (sizes){3, 70, 3, 20, 33, false});
    check_threads_of(e, (sizes){3, 70, 3, 20, 70, true});
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
    forward(e, &a, a.y, a.lse, a.qkv, GEMM_BF16);
    forward(e, &a, y, lse, qkv, flags);
    assert_rounded("y", y, a.y, a.y_count, 0);
    assert_memory_equal(lse, a.lse, (size_t)a.lse_count * sizeof *lse);
    for (int64_t i = 0; i < a.y_count; i++) a.y[i] = rounded(a.y[i]);
    backward(e, &a, a.dqkv, a.dy, a.y, lse, a.qkv, GEMM_BF16);
    backward(e, &a, dqkv, dy, y, lse, qkv, flags);
    assert_rounded("dqkv", dqkv, a.dqkv, a.qkv_count, beside);
    backward(e, &a, dqkv, dy, y, lse, qkv, flags | GEMM_ACCUMULATE);
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
    static const sizes shapes[] = {{1, 1, 1, 1, 0, false},     {2, 5, 2, 3, 0, false},    {2, 64, 3, 64, 0, false},
                                   {1, 65, 2, 72, 0, false},   {1, 300, 1, 17, 0, false}, {1, 600, 1, 9, 0, false},
                                   {1, 257, 2, 128, 0, false}, {2, 64, 2, 40, 77, false}, {1, 49, 1, 160, 77, false},
                                   {1, 20, 1, 8, 600, false}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) assert_narrow(e, shapes[i], 0);
    assert_narrow(e, (sizes){1, 150, 1, 600, 0, false}, 0x1p-7);
    /* The gradient of a query that meets one key is the rounding of what should be 0. */
    assert_narrow(e, (sizes){2, 77, 2, 64, 77, true}, 0x1p-20);
    assert_narrow(e, (sizes){1, 300, 1, 16, 0, true}, 0x1p-20);
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
        cmocka_unit_test(queries_meet_keys_of_another_number),
        cmocka_unit_test(a_causal_mask_hides_what_comes_later),
        cmocka_unit_test(what_comes_later_changes_nothing_before_it),
        cmocka_unit_test(packed_and_apart_give_the_same_bits),
        cmocka_unit_test(gradients_that_are_not_wanted_change_no_others),
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
