/* The matrix product of every instruction set this machine has, against a plain triple loop in double. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/gemm.h"
#include "each_engine.h"
#include "base/half.h"

enum { GUARD = 64 };
static const float GUARD_VALUE = -7.125e20F;

typedef struct shape {
    int64_t m, n, k, lda, ldb, ldc;
    int flags;
    bool with_bias;
} shape;

typedef struct operands {
    float *a, *b, *bias, *c;
    int64_t a_count, b_count, c_count; /* c_count without the guard zones before and after */
} operands;

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return *state >> 33;
}

static float random_value(uint64_t *state)
{
    return (float)((int64_t)(next_random(state) % 2001) - 1000) / 256.0F;
}

/* Nearest bfloat16, ties to even, by comparing distances in double instead of by adding to bits. */
static float expected_bf16(float x)
{
    uint32_t bits;
    if (isnan(x) || isinf(x)) return x;
    memcpy(&bits, &x, sizeof bits);
    uint32_t toward_zero = bits & 0xffff0000U, away = toward_zero + 0x10000U;
    float low, high;
    memcpy(&low, &toward_zero, sizeof low);
    memcpy(&high, &away, sizeof high);
    double above = isinf(high) ? ldexp(1, 128) : fabs((double)high);
    double down = fabs((double)x) - fabs((double)low), up = above - fabs((double)x);
    if (down == up) return toward_zero & 0x10000U ? high : low;
    return down < up ? low : high;
}

/* The padding of a row holds NaN, so that a read beyond the matrix spoils the result. */
static float *new_matrix(int64_t rows, int64_t columns, int64_t stride, int64_t *count, uint64_t *state)
{
    *count = rows > 0 ? (rows - 1) * stride + columns : 0;
    float *x = malloc(sizeof(float) * (size_t)(*count > 0 ? *count : 1));
    assert_non_null(x);
    for (int64_t i = 0; i < *count; i++) x[i] = i % stride < columns ? random_value(state) : NAN;
    return x;
}

static operands new_operands(shape s, uint64_t seed)
{
    operands o;
    int64_t unused;
    bool ta = s.flags & GEMM_TRANS_A, tb = s.flags & GEMM_TRANS_B;
    o.a = new_matrix(ta ? s.k : s.m, ta ? s.m : s.k, s.lda, &o.a_count, &seed);
    o.b = new_matrix(tb ? s.n : s.k, tb ? s.k : s.n, s.ldb, &o.b_count, &seed);
    o.bias = new_matrix(1, s.n, s.n > 0 ? s.n : 1, &unused, &seed);
    o.c_count = s.m * s.ldc;
    o.c = aligned_alloc(64, (sizeof(float) * (size_t)(o.c_count + 2 * GUARD) + 63) / 64 * 64); /* as arenas give it */
    assert_non_null(o.c);
    for (int64_t i = 0; i < o.c_count + 2 * GUARD; i++) {
        int64_t at = i - GUARD;
        bool inside = at >= 0 && at < o.c_count && at % s.ldc < s.n;
        o.c[i] = inside ? random_value(&seed) : GUARD_VALUE;
    }
    return o;
}

static void free_operands(operands o)
{
    free(o.a);
    free(o.b);
    free(o.bias);
    free(o.c);
}

static void run(const engine *e, operands o, shape s)
{
    e->gemm(o.c + GUARD, o.a, o.b, s.with_bias ? o.bias : NULL, s.m, s.n, s.k, s.lda, s.ldb, s.ldc, s.flags);
}

static double operand(const float *x, int64_t row, int64_t column, int64_t stride, bool transposed, bool rounded)
{
    float value = transposed ? x[column * stride + row] : x[row * stride + column];
    return rounded ? expected_bf16(value) : value;
}

static void assert_element(const operands *o, shape s, float before, float got, int64_t i, int64_t j)
{
    double sum = 0, size = 0;
    bool rounded = s.flags & GEMM_BF16;
    for (int64_t p = 0; p < s.k; p++) {
        double term = operand(o->a, i, p, s.lda, s.flags & GEMM_TRANS_A, rounded) *
                      operand(o->b, p, j, s.ldb, s.flags & GEMM_TRANS_B, rounded);
        sum += term;
        size += fabs(term);
    }
    double extra = (s.flags & GEMM_ACCUMULATE ? before : 0) + (s.with_bias ? (double)o->bias[j] : 0);
    double bound = ldexp((double)s.k + 4, -24) * (size + fabs((double)before) + fabs((double)o->bias[j]));
    if (!(fabs(got - (sum + extra)) <= bound))
        fail_msg("m %ld n %ld k %ld flags %d: c[%ld,%ld] is %g, expected %g", (long)s.m, (long)s.n, (long)s.k, s.flags,
                 (long)i, (long)j, got, sum + extra);
}

static void assert_product(const engine *e, shape s)
{
    operands o = new_operands(s, 17 + (uint64_t)s.flags);
    size_t bytes = sizeof(float) * (size_t)(o.c_count + 2 * GUARD);
    float *before = malloc(bytes);
    assert_non_null(before);
    memcpy(before, o.c, bytes);
    run(e, o, s);
    for (int64_t i = 0; i < o.c_count + 2 * GUARD; i++) {
        int64_t at = i - GUARD;
        if (at >= 0 && at < o.c_count && at % s.ldc < s.n)
            assert_element(&o, s, before[i], o.c[i], at / s.ldc, at % s.ldc);
        else
            assert_true(o.c[i] == GUARD_VALUE);
    }
    free(before);
    free_operands(o);
}

static shape shape_with(int64_t m, int64_t n, int64_t k, int flags, bool with_bias, int64_t padding)
{
    int64_t a_columns = flags & GEMM_TRANS_A ? m : k, b_columns = flags & GEMM_TRANS_B ? k : n;
    return (shape){m, n, k, a_columns + padding, b_columns + padding / 2, n + padding, flags, with_bias};
}

static void check_small(const engine *e)
{
    static const int64_t rows[] = {1, 2, 4, 6, 7, 13}, depths[] = {1, 4, 9};
    for (int flags = 0; flags < 16; flags++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            for (size_t l = 0; l < sizeof depths / sizeof *depths; l++)
                for (int64_t n = 1; n <= 35; n += 3) {
                    assert_product(e, shape_with(rows[i], n, depths[l], flags, n & 1, 0));
                    assert_product(e, shape_with(rows[i], n, depths[l], flags, i & 1, 3));
                }
}

static void small_products_of_all_sizes_and_flags_agree_with_double(void **state)
{
    (void)state;
    for_each_engine(check_small);
}

static void check_blocks(const engine *e)
{
    static const int64_t sizes[][3] = {{97, 17, 385},  {193, 31, 40},   {5, 769, 33},  {7, 400, 801}, {200, 385, 64},
                                       {64, 64, 1153}, {100, 100, 100}, {1, 1, 20000}, {1, 500, 96},  {300, 1, 77}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int flags = 0; flags < 16; flags++)
            assert_product(e, shape_with(sizes[i][0], sizes[i][1], sizes[i][2], flags, flags % 3 != 0, flags & 5));
}

static void products_of_several_blocks_agree_with_double(void **state)
{
    (void)state;
    for_each_engine(check_blocks);
}

/* On whole lines of memory, with a part of a tile at its right and lower ends: such a C is written past the caches. */
static void check_large(const engine *e)
{
    static const int flags[] = {0, GEMM_TRANS_A, GEMM_BF16 | GEMM_TRANS_A, GEMM_BF16 | GEMM_TRANS_B, GEMM_ACCUMULATE};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        assert_product(e, shape_with(1051, 1000, 5, flags[i], i & 1, 8));
}

static void a_large_result_agrees_with_double(void **state)
{
    (void)state;
    for_each_engine(check_large);
}

static void check_empty(const engine *e)
{
    for (int flags = 0; flags < 16; flags++)
        for (int with_bias = 0; with_bias <= 1; with_bias++) {
            assert_product(e, shape_with(5, 21, 0, flags, with_bias, 2));
            assert_product(e, shape_with(0, 21, 4, flags, with_bias, 2));
            assert_product(e, shape_with(5, 0, 4, flags, with_bias, 2));
        }
}

static void an_empty_contraction_leaves_bias_or_zero_and_an_empty_output_is_not_touched(void **state)
{
    (void)state;
    for_each_engine(check_empty);
}

static void check_threads(const engine *e)
{
    static const int64_t sizes[][3] = {
        {257, 193, 390}, {32, 1152, 192}, {290, 190, 801}, {19, 1000, 67}, {1, 4000, 40}};
    static const int threads[] = {2, 3, 5};
    int before = omp_get_max_threads();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int flags = 0; flags < 16; flags++) {
            if (strstr(e->name, "emulated") && !(flags & GEMM_BF16))
                continue; /* slow, and only pairs are of interest */
            shape s = shape_with(sizes[i][0], sizes[i][1], sizes[i][2], flags, flags & 1, 1);
            size_t bytes = sizeof(float) * (size_t)(s.m * s.ldc + 2 * GUARD);
            operands one = new_operands(s, 5);
            omp_set_num_threads(1);
            run(e, one, s);
            for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
                operands many = new_operands(s, 5);
                omp_set_num_threads(threads[t]);
                run(e, many, s);
                assert_memory_equal(one.c, many.c, bytes);
                free_operands(many);
            }
            free_operands(one);
        }
    omp_set_num_threads(before);
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    (void)state;
    for_each_engine(check_threads);
}

static void the_serial_form_gives_the_same_bits(void **state)
{
    (void)state;
    engine e;
    dt_error err = {0};
    shape s = shape_with(130, 400, 450, GEMM_TRANS_B | GEMM_ACCUMULATE, true, 2);
    operands parallel = new_operands(s, 9), serial = new_operands(s, 9);
    assert_int_equal(engine_cpu_fill(&e, DT_ISA_PORTABLE, &err), DT_OK);
    run(&e, parallel, s);
    gemm_serial_portable(serial.c + GUARD, serial.a, serial.b, serial.bias, s.m, s.n, s.k, s.lda, s.ldb, s.ldc,
                         s.flags);
    assert_memory_equal(serial.c, parallel.c, sizeof(float) * (size_t)(s.m * s.ldc + 2 * GUARD));
    free_operands(parallel);
    free_operands(serial);
}

typedef void pack_function(real *packed, const void *b, int64_t n, int64_t k, int64_t ldb, int flags);
typedef void packed_function(real *c, const void *a, const real *packed, int64_t m, int64_t n, int64_t k, int64_t lda,
                             int64_t ldc, int flags);
pack_function gemm_pack_emulated_pairs;
packed_function gemm_packed_emulated_pairs;
int64_t gemm_packed_count_emulated_pairs(int64_t n, int64_t k);
pack_function gemm_pack_emulated_amx;
packed_function gemm_packed_emulated_amx;
int64_t gemm_packed_count_emulated_amx(int64_t n, int64_t k);

static void check_packed(const engine *e, pack_function *pack, packed_function *multiply, int64_t count, shape s)
{
    operands whole = new_operands(s, 9), packed = new_operands(s, 9);
    real *b = aligned_alloc(64, ((size_t)count * sizeof *b + 63) / 64 * 64);
    assert_non_null(b);
    run(e, whole, s);
    pack(b, packed.b, s.n, s.k, s.ldb, s.flags);
    multiply(packed.c + GUARD, packed.a, b, s.m, s.n, s.k, s.lda, s.ldc, s.flags);
    assert_memory_equal(whole.c, packed.c, sizeof(float) * (size_t)(s.m * s.ldc + 2 * GUARD));
    free(b);
    free_operands(whole);
    free_operands(packed);
}

static void an_operand_packed_beforehand_gives_the_same_bits(void **state)
{
    (void)state;
    engine e;
    dt_error err = {0};
    for (int flags = 0; flags < 16; flags++) {
        shape s = shape_with(61, 75, 801, flags, false, 1);
        assert_int_equal(engine_cpu_fill(&e, DT_ISA_PORTABLE, &err), DT_OK);
        check_packed(&e, gemm_pack_portable, gemm_packed_portable, gemm_packed_count_portable(s.n, s.k), s);
        cpu_register_gemm_emulated_pairs(&e);
        check_packed(&e, gemm_pack_emulated_pairs, gemm_packed_emulated_pairs,
                     gemm_packed_count_emulated_pairs(s.n, s.k), s);
        cpu_register_gemm_emulated_amx(&e);
        check_packed(&e, gemm_pack_emulated_amx, gemm_packed_emulated_amx, gemm_packed_count_emulated_amx(s.n, s.k), s);
    }
}

/* Every bfloat16 with eleven low halves around zero, the tie and the end; the number is an operand of a product with 1,
 * once as A and once as B, so that the result is its rounding. A subnormal number, whatever it rounds to, may count as 0. */
static void check_rounding(const engine *e)
{
    static const uint32_t low[] = {0, 1, 2, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0x8002, 0xc000, 0xfffe, 0xffff};
    enum { COUNT = 65536 };
    float *x = malloc(COUNT * sizeof *x), *y = malloc(COUNT * sizeof *y);
    assert_true(x && y);
    float one = 1;
    for (size_t i = 0; i < sizeof low / sizeof *low; i++)
        for (int as_b = 0; as_b <= 1; as_b++) {
            for (uint32_t high = 0; high < COUNT; high++) {
                uint32_t bits = high << 16 | low[i];
                memcpy(&x[high], &bits, sizeof bits);
            }
            if (as_b)
                e->gemm(y, &one, x, NULL, 1, COUNT, 1, 1, COUNT, COUNT, GEMM_BF16);
            else
                e->gemm(y, x, &one, NULL, COUNT, 1, 1, 1, 1, 1, GEMM_BF16);
            for (uint32_t high = 0; high < COUNT; high++) {
                float expected = expected_bf16(x[high]);
                if (isnan(x[high]))
                    assert_true(isnan(y[high]));
                else if (fpclassify(x[high]) == FP_SUBNORMAL)
                    assert_true(y[high] == expected || y[high] == 0);
                else
                    assert_true(y[high] == expected);
            }
        }
    free(x);
    free(y);
}

static void operands_are_rounded_to_the_nearest_bf16_and_nan_stays_nan(void **state)
{
    (void)state;
    for_each_engine(check_rounding);
}

/* Two equal products in one contraction, in one pair and apart. A subnormal product may count as 0, also where both together would
 * be normal. */
static void check_subnormal_products(const engine *e)
{
    static const float factor[] = {0x1p-20F, 0x1p-26F, 0x1.8p-27F, 0x1p-40F, -0x1.4p-48F};
    enum { COUNT = sizeof factor / sizeof *factor, DEPTH = 5 };
    const float small = 0x1p-100F;
    for (int i = 0; i < COUNT; i++)
        for (int other = 0; other < DEPTH; other++) {
            float a[DEPTH] = {small}, b[DEPTH] = {factor[i]}, c = 0;
            a[other] = small, b[other] = factor[i];
            e->gemm(&c, a, b, NULL, 1, 1, DEPTH, DEPTH, 1, 1, GEMM_BF16);
            float one = small * factor[i], sum = other ? 2 * one : one;
            if (fpclassify(one) == FP_SUBNORMAL)
                assert_true(c == sum || c == 0 || c == one);
            else
                assert_true(c == sum);
        }
}

static void products_are_right_down_to_the_smallest_normal_number(void **state)
{
    (void)state;
    for_each_engine(check_subnormal_products);
}

/* ---- emulation against the machine ---- */

/* A float whose biased exponent is in [low, high]. */
static float number_between(uint32_t low, uint32_t high, uint64_t *state)
{
    const uint32_t rest = (uint32_t)next_random(state) & 0x807fffffU;
    return half_float_of_bits(rest | (low + (uint32_t)(next_random(state) % (high - low + 1))) << 23);
}

static void fill_between(float *x, int64_t count, uint32_t low, uint32_t high, uint64_t *state)
{
    for (int64_t i = 0; i < count; i++) x[i] = number_between(low, high, state);
}

/* The same product by both engines; exponents of the operands and of what is in C from the ranges given. */
static void assert_same_bits(const engine *machine, const engine *emulated, shape s, const uint32_t range[4])
{
    uint64_t state = 29;
    operands o = new_operands(s, 1), other = o;
    fill_between(o.a, o.a_count, range[0], range[1], &state);
    fill_between(o.b, o.b_count, range[0], range[1], &state);
    fill_between(o.c + GUARD, o.c_count, range[2], range[3], &state);
    const int64_t count = o.c_count + 2 * GUARD;
    other.c = malloc(sizeof(float) * (size_t)count);
    assert_non_null(other.c);
    memcpy(other.c, o.c, sizeof(float) * (size_t)count);
    run(machine, o, s);
    run(emulated, other, s);
    for (int64_t i = 0; i < count; i++)
        if (half_bits_of_float(o.c[i]) != half_bits_of_float(other.c[i]) && !(isnan(o.c[i]) && isnan(other.c[i])))
            fail_msg("%s, m %ld n %ld k %ld flags %d, exponents %u to %u: c[%ld] is %a, by emulation %a", machine->name,
                     (long)s.m, (long)s.n, (long)s.k, s.flags, range[0], range[1], (long)(i - GUARD), o.c[i],
                     other.c[i]);
    free(other.c);
    free_operands(o);
}

/* Ordinary numbers, products and sums that become subnormal or overflow, subnormal operands, and all at once. Odd depths leave
 * half a pair, 801 is more than one block; some columns are the end of a panel. */
static void check_emulation(const engine *machine, const engine *emulated)
{
    static const uint32_t ranges[][4] = {{110, 144, 110, 144}, {50, 80, 0, 3},   {180, 200, 250, 254}, {0, 2, 0, 2},
                                         {0, 66, 0, 2},        {0, 254, 0, 254}, {0, 255, 0, 255}};
    static const int64_t sizes[][3] = {{1, 1, 1}, {13, 35, 66}, {40, 17, 801}, {33, 64, 7}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++)
            for (int flags = 0; flags < 8; flags++)
                assert_same_bits(machine, emulated,
                                 shape_with(sizes[j][0], sizes[j][1], sizes[j][2], flags | GEMM_BF16, false, 0),
                                 ranges[i]);
}

static bool is_intel(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_is("intel");
#else
    return false;
#endif
}

/* What was emulated is what Intel's reference says; other makers may add up a pair in another order. */
static void emulation_gives_the_bits_of_the_machine(void **state)
{
    (void)state;
    engine pairs, tiles, machine;
    dt_error err = {0};
    assert_int_equal(engine_cpu_fill(&pairs, DT_ISA_PORTABLE, &err), DT_OK);
    tiles = pairs;
    cpu_register_gemm_emulated_pairs(&pairs);
    cpu_register_gemm_emulated_amx(&tiles);
    if (!is_intel() || engine_cpu_fill(&machine, DT_ISA_AVX512BF16, &err) != DT_OK) skip();
    check_emulation(&machine, &pairs);
    if (engine_cpu_fill(&machine, DT_ISA_AMX, &err) == DT_OK) check_emulation(&machine, &tiles);
}

/* ---- numbers that are not finite ---- */

static void check_nan_rows(const engine *e)
{
    shape s = shape_with(40, 40, 40, 0, false, 0);
    operands o = new_operands(s, 3);
    o.a[13 * s.lda + 7] = NAN;
    run(e, o, s);
    for (int64_t i = 0; i < s.m; i++)
        for (int64_t j = 0; j < s.n; j++) assert_int_equal(isnan(o.c[GUARD + i * s.ldc + j]) != 0, i == 13);
    free_operands(o);
}

static void a_nan_reaches_its_own_row_and_no_other(void **state)
{
    (void)state;
    for_each_engine(check_nan_rows);
}

/* ---- narrow arrays ---- */

static uint16_t *narrowed(const float *x, int64_t count)
{
    uint16_t *narrow = malloc(sizeof *narrow * (size_t)(count > 0 ? count : 1));
    assert_non_null(narrow);
    for (int64_t i = 0; i < count; i++) narrow[i] = half_bf16_from_f32(x[i]);
    return narrow;
}

static void round_all(float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++) x[i] = half_f32_from_bf16(half_bf16_from_f32(x[i]));
}

/* Operands whose numbers are bfloat16 already, in both forms; C too, between its guards. */
typedef struct narrow_operands {
    operands wide;
    uint16_t *a, *b, *c;
} narrow_operands;

static narrow_operands new_narrow_operands(shape s)
{
    narrow_operands o = {.wide = new_operands(s, 23)};
    const int64_t c_count = o.wide.c_count + 2 * GUARD;
    round_all(o.wide.a, o.wide.a_count);
    round_all(o.wide.b, o.wide.b_count);
    round_all(o.wide.c, c_count);
    o.a = narrowed(o.wide.a, o.wide.a_count);
    o.b = narrowed(o.wide.b, o.wide.b_count);
    o.c = narrowed(o.wide.c, c_count);
    return o;
}

static void free_narrow_operands(narrow_operands o)
{
    free_operands(o.wide);
    free(o.a);
    free(o.b);
    free(o.c);
}

/* The product with narrow arrays is, bit by bit, that with the same numbers in float; a narrow C is its sum with C, rounded. */
static void assert_narrow_product(const engine *e, shape s, int narrow)
{
    narrow_operands o = new_narrow_operands(s);
    const float *bias = s.with_bias ? o.wide.bias : NULL;
    const void *a = narrow & GEMM_NARROW_A ? (const void *)o.a : o.wide.a;
    const void *b = narrow & GEMM_NARROW_B ? (const void *)o.b : o.wide.b;
    const int64_t count = o.wide.c_count + 2 * GUARD;
    float *wide = malloc(sizeof *wide * (size_t)count);
    assert_non_null(wide);
    memcpy(wide, o.wide.c, sizeof *wide * (size_t)count);
    e->gemm(wide + GUARD, o.wide.a, o.wide.b, bias, s.m, s.n, s.k, s.lda, s.ldb, s.ldc,
            narrow & GEMM_NARROW_C ? s.flags & ~GEMM_ACCUMULATE : s.flags);
    void *c = narrow & GEMM_NARROW_C ? (void *)(o.c + GUARD) : o.wide.c + GUARD;
    e->gemm(c, a, b, bias, s.m, s.n, s.k, s.lda, s.ldb, s.ldc, s.flags | narrow);
    for (int64_t i = 0; i < count; i++) {
        bool inside = i >= GUARD && i < count - GUARD && (i - GUARD) % s.ldc < s.n;
        float expected = wide[i], got = o.wide.c[i];
        if (narrow & GEMM_NARROW_C) {
            float added = inside && s.flags & GEMM_ACCUMULATE ? o.wide.c[i] + wide[i] : wide[i];
            expected = half_f32_from_bf16(half_bf16_from_f32(added));
            got = half_f32_from_bf16(o.c[i]);
        }
        if (got != expected)
            fail_msg("%s, m %ld n %ld k %ld flags %d: c[%ld] is %g, expected %g", e->name, (long)s.m, (long)s.n,
                     (long)s.k, s.flags | narrow, (long)(i - GUARD), got, expected);
    }
    free(wide);
    free_narrow_operands(o);
}

static void check_narrow_sizes(const engine *e, const int64_t sizes[][3], size_t count, int flags_step)
{
    for (size_t i = 0; i < count; i++)
        for (int flags = 0; flags < 8; flags += flags_step)
            for (int which = 1; which < 8; which++)
                assert_narrow_product(e,
                                      shape_with(sizes[i][0], sizes[i][1], sizes[i][2], flags | GEMM_BF16,
                                                 (flags + which) & 1, which & 4 ? 2 : 1),
                                      which * GEMM_NARROW_A);
}

/* The large ones have more rows, or columns, than full-width sums have room for, or than panels are kept of. */
static void check_narrow(const engine *e)
{
    static const int64_t small[][3] = {{1, 1, 1},    {5, 3, 2},     {13, 35, 9},  {40, 17, 130}, {97, 33, 64},
                                       {3, 20, 801}, {450, 20, 16}, {3, 3000, 1}, {5, 21, 0},    {48, 20, 96}};
    static const int64_t large[][3] = {{490, 16, 770}, {2, 530, 801},  {96, 32, 1536},
                                       {98, 16, 1600}, {2, 270, 3000}, {3, 140, 6600}};
    check_narrow_sizes(e, small, sizeof small / sizeof *small, 1);
    check_narrow_sizes(e, large, sizeof large / sizeof *large, 5);
}

static void narrow_arrays_give_what_their_numbers_give_in_float(void **state)
{
    (void)state;
    for_each_engine(check_narrow);
}

/* Numbers next to each other: the vectors of one kernel and the tail of another may round differently. */
static void assert_next(uint16_t a, uint16_t b)
{
    if (abs((int16_t)(a & 0x7fff) - (int16_t)(b & 0x7fff)) > 1) fail_msg("%#x is not next to %#x", a, b);
}

static void check_gelu(const engine *e)
{
    static const int64_t sizes[][3] = {{1, 1, 1}, {30, 70, 33}, {100, 24, 900}, {400, 801, 17}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        shape s = shape_with(sizes[i][0], sizes[i][1], sizes[i][2], GEMM_TRANS_B | GEMM_BF16, true, 0);
        narrow_operands o = new_narrow_operands(s);
        const int64_t count = s.m * s.n;
        uint16_t *u = o.c + GUARD, *y = calloc((size_t)(4 * count), sizeof *y), *other_u = y + count,
                 *alone = other_u + count, *expected = alone + count;
        assert_non_null(y);
        e->gemm((real *)u, (real *)o.a, o.wide.b, o.wide.bias, s.m, s.n, s.k, s.lda, s.ldb, s.ldc,
                s.flags | GEMM_NARROW_A | GEMM_NARROW_C);
        e->gelu_fwd((real *)expected, (real *)u, count, NARROW);
        e->gemm_gelu((real *)y, (real *)other_u, (real *)o.a, o.wide.b, o.wide.bias, s.m, s.n, s.k, GEMM_BF16);
        e->gemm_gelu((real *)alone, NULL, (real *)o.a, o.wide.b, o.wide.bias, s.m, s.n, s.k, GEMM_BF16);
        assert_memory_equal(u, other_u, (size_t)count * sizeof *u);
        assert_memory_equal(y, alone, (size_t)count * sizeof *y);
        for (int64_t j = 0; j < count; j++) assert_next(y[j], expected[j]);
        free(y);
        free_narrow_operands(o);
    }
}

static void gelu_behind_the_product_is_that_of_its_rounded_result(void **state)
{
    (void)state;
    for_each_engine(check_gelu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_products_of_all_sizes_and_flags_agree_with_double),
        cmocka_unit_test(products_of_several_blocks_agree_with_double),
        cmocka_unit_test(a_large_result_agrees_with_double),
        cmocka_unit_test(an_empty_contraction_leaves_bias_or_zero_and_an_empty_output_is_not_touched),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(the_serial_form_gives_the_same_bits),
        cmocka_unit_test(an_operand_packed_beforehand_gives_the_same_bits),
        cmocka_unit_test(operands_are_rounded_to_the_nearest_bf16_and_nan_stays_nan),
        cmocka_unit_test(products_are_right_down_to_the_smallest_normal_number),
        cmocka_unit_test(emulation_gives_the_bits_of_the_machine),
        cmocka_unit_test(a_nan_reaches_its_own_row_and_no_other),
        cmocka_unit_test(narrow_arrays_give_what_their_numbers_give_in_float),
        cmocka_unit_test(gelu_behind_the_product_is_that_of_its_rounded_result),
    };
    return cmocka_run_group_tests_name("gemm", tests, NULL, NULL);
}
