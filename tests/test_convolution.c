/* Convolution and its gradients by every instruction set this machine has, against loops in double. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/half.h"
#include "each_engine.h"

enum { GUARD = 64, X = 0, W = 1, Y = 2 };
static const float GUARD_VALUE = -7.125e20F;

typedef struct conv_case {
    window_sizes z; /* out_h and out_w are made */
    int64_t o;
} conv_case;

static const conv_case cases[] = {
    /* n, h, w, c, side_h, side_w, stride, pad_h, pad_w */
    {{2, 5, 7, 3, 3, 3, 1, 1, 1, 0, 0}, 4},    {{1, 8, 16, 32, 3, 3, 1, 1, 1, 0, 0}, 32},
    {{2, 4, 4, 32, 3, 3, 1, 1, 1, 0, 0}, 33},  {{1, 3, 32, 64, 3, 3, 1, 1, 1, 0, 0}, 64},
    {{1, 5, 19, 32, 1, 7, 1, 0, 3, 0, 0}, 96}, {{2, 6, 9, 32, 2, 5, 1, 0, 1, 0, 0}, 32},
    {{1, 4, 6, 64, 1, 1, 1, 0, 0, 0, 0}, 32},  {{1, 5, 6, 32, 1, 1, 1, 1, 2, 0, 0}, 32},
    {{2, 9, 8, 32, 3, 3, 2, 1, 1, 0, 0}, 64},  {{1, 7, 8, 5, 2, 3, 3, 1, 0, 0, 0}, 7},
    {{1, 4, 5, 34, 3, 3, 1, 2, 2, 0, 0}, 35},  {{1, 6, 6, 130, 3, 3, 1, 1, 1, 0, 0}, 40},
    {{2, 6, 5, 64, 1, 1, 2, 0, 0, 0, 0}, 32},
};

enum { CASES = sizeof cases / sizeof *cases };

static window_sizes sizes_of(const conv_case *t)
{
    window_sizes z = t->z;
    z.out_h = (z.h + 2 * z.pad_h - z.side_h) / z.stride + 1;
    z.out_w = (z.w + 2 * z.pad_w - z.side_w) / z.stride + 1;
    return z;
}

/* The three arrays, whole numbers and halves that bfloat16 holds or numbers that it rounds; GUARD values on either side of each. */
typedef struct arrays {
    int64_t count[3];
    float *values[3]; /* as f32 */
    float *given[3];  /* as the kernels have them */
} arrays;

static float next_value(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (float)((int64_t)(*state >> 33) % 2001 - 1000) / 256.0F;
}

static float rounded(float x)
{
    return half_f32_from_bf16(half_bf16_from_f32(x));
}

static void give(arrays *a, int which, bool narrow)
{
    float *to = a->given[which] + GUARD;
    for (int64_t i = -GUARD; i < a->count[which] + GUARD; i++) to[i] = GUARD_VALUE;
    for (int64_t i = 0; i < a->count[which]; i++)
        if (narrow)
            ((uint16_t *)to)[i] = half_bf16_from_f32(a->values[which][i]);
        else
            to[i] = a->values[which][i];
}

static arrays new_arrays(const conv_case *t, bool narrow)
{
    const window_sizes z = sizes_of(t);
    arrays a = {.count = {z.n * z.h * z.w * z.c, t->o * z.side_h * z.side_w * z.c, z.n * z.out_h * z.out_w * t->o}};
    uint64_t state = 7;
    for (int k = 0; k < 3; k++) {
        a.values[k] = malloc(sizeof(float) * (size_t)a.count[k]);
        a.given[k] = malloc(sizeof(float) * (size_t)(a.count[k] + 2 * GUARD));
        assert_true(a.values[k] && a.given[k]);
        for (int64_t i = 0; i < a.count[k]; i++) {
            a.values[k][i] = next_value(&state);
            if (narrow && k != W) a.values[k][i] = rounded(a.values[k][i]);
        }
        give(&a, k, narrow && k != W);
    }
    return a;
}

static void free_arrays(arrays *a)
{
    for (int k = 0; k < 3; k++) {
        free(a->values[k]);
        free(a->given[k]);
    }
}

/* Adds every product of the definition to sum[] and its size to size[], both of the array `made`. */
static void add_products(const conv_case *t, const arrays *a, int made, bool round, double *sum, double *size)
{
    const window_sizes z = sizes_of(t);
    for (int64_t i = 0; i < z.n * z.out_h * z.out_w * t->o; i++)
        for (int64_t k = 0; k < z.side_h * z.side_w; k++) {
            const int64_t window = i / t->o, o = i % t->o;
            const int64_t row = window / z.out_w % z.out_h * z.stride - z.pad_h + k / z.side_w;
            const int64_t column = window % z.out_w * z.stride - z.pad_w + k % z.side_w;
            if (row < 0 || row >= z.h || column < 0 || column >= z.w) continue;
            for (int64_t c = 0; c < z.c; c++) {
                const int64_t at[] = {((window / (z.out_h * z.out_w) * z.h + row) * z.w + column) * z.c + c,
                                      (o * z.side_h * z.side_w + k) * z.c + c, i};
                double product = 1;
                for (int q = 0; q < 3; q++)
                    if (q != made) product *= (double)(round ? rounded(a->values[q][at[q]]) : a->values[q][at[q]]);
                sum[at[made]] += product;
                size[at[made]] += fabs(product);
            }
        }
}

static void call(const engine *e, const conv_case *t, arrays *a, int made, const float *bias, int flags, bool narrow)
{
    const window_sizes z = sizes_of(t);
    float *x = a->given[X] + GUARD, *w = a->given[W] + GUARD, *y = a->given[Y] + GUARD;
    const int both = flags | (narrow ? GEMM_NARROW_A | GEMM_NARROW_C : 0);
    if (made == Y) e->conv_fwd(y, x, w, bias, z, t->o, both);
    if (made == X) e->conv_bwd_x(x, y, w, z, t->o, both);
    if (made == W) e->conv_bwd_w(w, y, x, z, t->o, flags | (narrow ? GEMM_NARROW_A | GEMM_NARROW_B : 0));
}

static float result_at(const arrays *a, int made, int64_t i, bool narrow)
{
    const float *from = a->given[made] + GUARD;
    return narrow ? half_f32_from_bf16(((const uint16_t *)from)[i]) : from[i];
}

static void check_result(const engine *e, const conv_case *t, const arrays *a, int made, const float *bias, int flags,
                         bool narrow)
{
    const int64_t count = a->count[made];
    double *sum = calloc((size_t)count, sizeof *sum), *size = calloc((size_t)count, sizeof *size);
    const bool narrow_result = narrow && made != W;
    assert_true(sum && size);
    add_products(t, a, made, flags & GEMM_BF16, sum, size);
    for (int64_t i = 0; i < count; i++) {
        const double extra = made == Y && bias ? (double)bias[i % t->o] : 0;
        const double before = flags & GEMM_ACCUMULATE ? (double)a->values[made][i] : 0,
                     wanted = sum[i] + extra + before;
        const double bound =
            ldexp(size[i] + fabs(extra) + fabs(before), -15) + (narrow_result ? ldexp(fabs(wanted), -8) : 0);
        if (!(fabs((double)result_at(a, made, i, narrow_result) - wanted) <= bound))
            fail_msg("%s, case %ld, array %d, flags %d%s: element %ld is %g, expected %g", e->name, (long)(t - cases),
                     made, flags, narrow ? ", narrow" : "", (long)i, (double)result_at(a, made, i, narrow_result),
                     wanted);
    }
    for (int64_t i = 0; i < GUARD; i++)
        assert_true(a->given[made][i] == GUARD_VALUE && a->given[made][GUARD + count + i] == GUARD_VALUE);
    free(sum);
    free(size);
}

/* With one thread and with three: the same bits. */
static void check_case(const engine *e, const conv_case *t, int made, int flags, bool narrow)
{
    const float bias[] = {0.5F, -1, 2, 0.25F, 3, -0.125F};
    float *biases = malloc(sizeof(float) * (size_t)t->o);
    arrays one = new_arrays(t, narrow), three = new_arrays(t, narrow);
    assert_non_null(biases);
    for (int64_t i = 0; i < t->o; i++) biases[i] = bias[i % 6];
    const float *given = flags & GEMM_ACCUMULATE ? NULL : biases;
    omp_set_num_threads(1);
    call(e, t, &one, made, given, flags, narrow);
    omp_set_num_threads(3);
    call(e, t, &three, made, given, flags, narrow);
    check_result(e, t, &one, made, given, flags, narrow);
    assert_memory_equal(one.given[made], three.given[made], sizeof(float) * (size_t)(one.count[made] + 2 * GUARD));
    free_arrays(&one);
    free_arrays(&three);
    free(biases);
}

static void check_engine(const engine *e)
{
    for (int i = 0; i < CASES; i++)
        for (int made = X; made <= Y; made++)
            for (int add = 0; add <= (made != Y); add++) {
                const int flags = add ? GEMM_ACCUMULATE : 0;
                check_case(e, &cases[i], made, flags, false);
                check_case(e, &cases[i], made, flags | GEMM_BF16, false);
                check_case(e, &cases[i], made, flags | GEMM_BF16, true);
            }
}

static void each_instruction_set_convolves(void **state)
{
    (void)state;
    const int threads = omp_get_max_threads();
    for_each_engine(check_engine);
    omp_set_num_threads(threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_instruction_set_convolves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
