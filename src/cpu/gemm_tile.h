/* The register tile of the matrix product: TILE_ROWS x TILE_COLUMNS sums that stay in registers while a stretch of the
 * contraction runs by. */
#ifndef CPU_GEMM_TILE_H
#define CPU_GEMM_TILE_H

#include <stdbool.h>
#include <string.h>

#include "base/half.h"
#include "cpu/kernel.h"

/* GEMM_PAIRS: the machine multiplies pairs of bfloat16. GEMM_AMX: it multiplies whole tiles of them (gemm_amx.h).
 * DT_EMULATE_PAIRS and DT_EMULATE_AMX are for the tests: the same packing and tiles where the machine does not, its
 * instructions replaced by plain C. */
#ifdef __AVX512F__
#include <immintrin.h>
#endif
#if defined(__AVX512BF16__) && !defined(DT_REAL_DOUBLE)
#define GEMM_PAIRS 1
#elif defined(DT_EMULATE_PAIRS)
#define GEMM_PAIRS 1
#else
#define GEMM_PAIRS 0
#endif
#if defined(__AMX_BF16__) || defined(DT_EMULATE_AMX)
#define GEMM_AMX 1
#else
#define GEMM_AMX 0
#endif

/* IN_PLACE: rows of A may be read where they are; with more of them their addresses would not fit the registers. A tile leaves
 * room for two vectors of B and one broadcast element of A among 32 registers, or 16. Without a fused
 * multiply-add the product needs one more. */
#if defined(__AVX512F__) || defined(DT_EMULATE_PAIRS)
enum { VECTOR_BYTES = 64, TILE_ROWS = 12, IN_PLACE = 0 };
#elif defined(__AVX2__)
enum { VECTOR_BYTES = 32, TILE_ROWS = 6, IN_PLACE = 1 };
#else
enum { VECTOR_BYTES = 16, TILE_ROWS = 4, IN_PLACE = 1 };
#endif

/* Vectors of 16 numbers. */
#if (defined(__AVX512F__) || defined(DT_EMULATE_PAIRS)) && !defined(DT_REAL_DOUBLE)
#define GEMM_WIDE 1
#else
#define GEMM_WIDE 0
#endif

enum {
    LANES = VECTOR_BYTES / sizeof(real),
    TILE_VECTORS = 2,
    TILE_COLUMNS = TILE_VECTORS * LANES,
};

typedef real vector __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef real vector_anywhere __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#define EACH_VECTOR_OF_TILE(r, v)                                                                                      \
    _Pragma("GCC unroll 16") for (int r = 0; r < TILE_ROWS; r++)                                                       \
        _Pragma("GCC unroll 2") for (int v = 0; v < TILE_VECTORS; v++)

/* What happens to C after the products of one stretch of the contraction: element = (previous + sum) + bias. */
typedef struct update {
    bool add_previous;
    const real *bias; /* of the tile's first column; NULL: none */
    bool past_caches; /* C is written straight to memory, where whole tiles lie on whole lines */
} update;

#if GEMM_PAIRS
/* What the machine's conversion to bfloat16 and its products make of a subnormal number, be it operand, sum or result: a zero of
 * its sign. */
static inline float without_subnormals(float x)
{
    uint32_t bits = half_bits_of_float(x);
    return bits & 0x7f800000U ? x : half_float_of_bits(bits & 0x80000000U);
}

#ifdef DT_EMULATE_PAIRS
typedef uint32_t bit_vector __attribute__((vector_size(VECTOR_BYTES)));

static inline vector each_without_subnormals(vector x)
{
    const bit_vector exponent = (bit_vector)x & 0x7f800000U;
    return (vector)((bit_vector)x & ((bit_vector)(exponent != 0) | 0x80000000U));
}

/* sum + a b, each rounded once, without subnormal numbers before and after. A product of two bfloat16 is exact, so that adding it
 * rounds once, unless it vanishes or overflows. */
static inline vector add_rounded_once(vector sum, float a, vector b)
{
    a = without_subnormals(a), b = each_without_subnormals(b), sum = each_without_subnormals(sum);
    const vector product = a * b;
    vector result = sum + product;
    const bit_vector exponent = (bit_vector)product & 0x7f800000U;
    const bit_vector inexact = (bit_vector)((exponent == 0) | (exponent == 0x7f800000U)) & (bit_vector)(b != 0);
    uint32_t any = 0;
    for (int i = 0; i < (int)LANES; i++) any |= inexact[i];
    for (int i = 0; any && a != 0 && i < (int)LANES; i++)
        if (inexact[i]) result[i] = fmaf(a, b[i], sum[i]);
    return each_without_subnormals(result);
}

/* The same of the numbers in the upper, or the lower, halves of words. */
static inline vector add_upper(vector sum, uint32_t a, vector b)
{
    return add_rounded_once(sum, half_float_of_bits(a & 0xffff0000U), (vector)((bit_vector)b & 0xffff0000U));
}

static inline vector add_lower(vector sum, uint32_t a, vector b)
{
    return add_rounded_once(sum, half_float_of_bits(a << 16), (vector)((bit_vector)b << 16));
}
#endif

/* Each sum of 16, plus both products of a pair of bfloat16 with `pair`: the later product first, each rounded into the sum
 * (Intel's instruction set reference, VDPBF16PS). */
static inline __attribute__((always_inline)) vector add_pairs(vector sum, int32_t pair, vector b)
{
#ifdef DT_EMULATE_PAIRS
    return add_lower(add_upper(sum, (uint32_t)pair, b), (uint32_t)pair, b);
#else
    return (vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)b);
#endif
}
#endif

/* sum + a b, a word of A with each word of b: a product, or the two products of a pair. */
static inline __attribute__((always_inline)) vector multiply_add(vector sum, real a, vector b, bool pairs)
{
#if GEMM_PAIRS
    if (pairs) {
        int32_t word;
        memcpy(&word, &a, sizeof word);
        return add_pairs(sum, word, b);
    }
#endif
    (void)pairs;
    return sum + a * b;
}

/* Vector v of a row of the tile. */
static inline __attribute__((always_inline)) void update_vector(real *row, int v, vector sum, update u)
{
    vector_anywhere *target = (vector_anywhere *)row + v;
    vector value = sum;
    if (u.add_previous) value = *target + value;
    if (u.bias) value += ((const vector_anywhere *)u.bias)[v];
#if defined(__AVX512F__) && !defined(DT_REAL_DOUBLE)
    if (u.past_caches) {
        _mm512_stream_ps((float *)target, (__m512)value);
        return;
    }
#endif
    *target = value;
}

/* The sums of a tile narrower than its vectors are added element by element, in the order in which whole ones are. */
static void update_edge(real *c, int64_t ldc, const real *sums, int64_t rows, int64_t columns, update u)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < columns; j++) {
            real sum = sums[r * TILE_COLUMNS + j];
            if (u.add_previous) sum = c[r * ldc + j] + sum;
            if (u.bias) sum += u.bias[j];
            c[r * ldc + j] = sum;
        }
}

/* C tile of rows x columns from `words` words of A and a panel of B. Row r of A begins at a + r * row_step and its words
 * are `step` apart; in place, the last row stands in for those beyond the edge. */
static inline __attribute__((always_inline)) void multiply_tile(real *c, int64_t ldc, const real *a, int64_t row_step,
                                                                int64_t step, const real *panel, int64_t words,
                                                                int64_t rows, int64_t columns, update u, bool pairs)
{
    const real *row[TILE_ROWS];
    vector sum[TILE_ROWS][TILE_VECTORS]; /* registers, as long as no address of it is taken and every loop unrolled */
    for (int64_t r = 0; r < TILE_ROWS; r++) {
        row[r] = a + (step == 1 ? least(r, rows - 1) : r) * row_step;
        __builtin_prefetch(c + least(r, rows - 1) * ldc, 1);
    }
    EACH_VECTOR_OF_TILE(r, v) sum[r][v] = (vector){0};
#pragma GCC unroll 2
    for (int64_t p = 0; p < words; p++) {
        const vector *b = (const vector *)(panel + p * TILE_COLUMNS);
        EACH_VECTOR_OF_TILE(r, v) sum[r][v] = multiply_add(sum[r][v], row[r][p * step], b[v], pairs);
    }
    if (columns < TILE_COLUMNS) {
        vector kept[TILE_ROWS][TILE_VECTORS];
        EACH_VECTOR_OF_TILE(r, v) kept[r][v] = sum[r][v];
        update_edge(c, ldc, (const real *)kept, rows, columns, u);
        return;
    }
    EACH_VECTOR_OF_TILE(r, v)
    {
        if (r >= rows) return;
        update_vector(c + r * ldc, v, sum[r][v], u);
    }
}

typedef void tile_function(real *c, int64_t ldc, const real *a, int64_t stride, const real *panel, int64_t words,
                           int64_t rows, int64_t columns, update u);

/* A in place: rows `stride` apart. */
static void multiply_rows(real *c, int64_t ldc, const real *a, int64_t stride, const real *panel, int64_t words,
                          int64_t rows, int64_t columns, update u)
{
    multiply_tile(c, ldc, a, stride, 1, panel, words, rows, columns, u, false);
}

/* A in a panel of [words, TILE_ROWS]. */
static void multiply_packed(real *c, int64_t ldc, const real *a, int64_t stride, const real *panel, int64_t words,
                            int64_t rows, int64_t columns, update u)
{
    (void)stride;
    multiply_tile(c, ldc, a, 1, TILE_ROWS, panel, words, rows, columns, u, false);
}

#if !GEMM_AMX
/* The same for operands that were packed as bfloat16: pairs, or numbers that were rounded. */
static void multiply_packed_bf16(real *c, int64_t ldc, const real *a, int64_t stride, const real *panel, int64_t words,
                                 int64_t rows, int64_t columns, update u)
{
    (void)stride;
    multiply_tile(c, ldc, a, 1, TILE_ROWS, panel, words, rows, columns, u, GEMM_PAIRS);
}
#endif

#endif
