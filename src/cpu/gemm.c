/* The matrix product. B is packed into panels as wide as a register tile, A is read in place (or from a copy with the
 * same row-major layout when it is transposed or rounded), and a tile of C stays in registers for a whole block of the
 * contraction.
 *
 *     for each span of columns of C            (BLOCK_COLUMNS, limits the packed B)
 *         for each block of the contraction    (at most BLOCK_DEPTH)
 *             pack B
 *             for each block of rows           (BLOCK_ROWS, so that its part of A stays in the second-level cache)
 *                 for each panel of B          (stays in the first-level cache)
 *                     for each tile of rows    multiply_tile
 *
 * Threads share out the rows and columns of C, never the contraction. The value of an element is thus the sum over
 * contraction blocks of sums in order of k, whoever computes it: the same bits for any number of threads. */
#include <omp.h>
#include <stdbool.h>
#include <string.h>

#include "cpu/gemm.h"

/* The register tile leaves room for two vectors of B and one broadcast element of A among 16 registers. Without a
 * fused multiply-add the product needs one more. */
#ifdef __AVX2__
enum { VECTOR_BYTES = 32, TILE_ROWS = 6 };
#else
enum { VECTOR_BYTES = 16, TILE_ROWS = 4 };
#endif

enum {
    LANES = VECTOR_BYTES / sizeof(real),
    TILE_VECTORS = 2,
    TILE_COLUMNS = TILE_VECTORS * LANES,
    BLOCK_DEPTH = 384,
    BLOCK_ROWS = 48,
    BLOCK_COLUMNS = 384,
    COPY_STRIDE = BLOCK_DEPTH + 16, /* not a power of two: rows of the copy of A must not share a cache set */
    PREFETCH_ROWS = 32,             /* rows far apart in memory: the machine does not foresee them by itself */
    SERIAL_LIMIT = 64 * 1024,       /* multiplications below which waking another thread costs more than it brings */
};

typedef real vector __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef real vector_anywhere __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));
typedef real quad __attribute__((vector_size(4 * sizeof(real))));
typedef real quad_anywhere __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias));

#define EACH_VECTOR_OF_TILE(r, v)                                                                                      \
    _Pragma("GCC unroll 8") for (int r = 0; r < TILE_ROWS; r++)                                                        \
        _Pragma("GCC unroll 2") for (int v = 0; v < TILE_VECTORS; v++)

typedef struct product {
    real *c;
    const real *a, *b, *bias;
    int64_t m, n, k, lda, ldb, ldc;
    int flags;
} product;

/* A part of C: rows [i, i + m), columns [j, j + n). */
typedef struct region {
    int64_t i, m, j, n;
} region;

/* The part of op(A) that a block of rows needs, row-major. */
typedef struct block_a {
    const real *rows;
    int64_t stride;
} block_a;

/* What happens to C after the products of one block of the contraction: element = (previous + sum) + bias. */
typedef struct update {
    bool add_previous;
    const real *bias; /* of the tile's first column; NULL: none */
} update;

static _Thread_local _Alignas(64) real packed_b[BLOCK_COLUMNS * BLOCK_DEPTH];
static _Thread_local _Alignas(64) real copied_a[BLOCK_ROWS * COPY_STRIDE];

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Nearest bfloat16, ties to even. A NaN stays one: its quiet bit is set, so that dropping the low half cannot turn it
 * into an infinity. */
static inline real round_bf16(real x)
{
    float narrow = (float)x;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    uint32_t rounded = bits + 0x7fffU + ((bits >> 16) & 1U);
    bits = (bits & 0x7fffffffU) > 0x7f800000U ? bits | 0x00400000U : rounded;
    bits &= 0xffff0000U;
    memcpy(&narrow, &bits, sizeof narrow);
    return narrow;
}

static inline void round_in_place(real *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++) x[i] = round_bf16(x[i]);
}

/* target[r, c] = source[r, c] */
static void copy_matrix(real *target, int64_t target_stride, const real *source, int64_t source_stride, int64_t rows,
                        int64_t columns)
{
    if (columns == TILE_COLUMNS) {
        for (int64_t r = 0; r < rows; r++) {
            __builtin_prefetch(source + least(r + PREFETCH_ROWS, rows - 1) * source_stride);
            memcpy(target + r * target_stride, source + r * source_stride, TILE_COLUMNS * sizeof(real));
        }
        return;
    }
    for (int64_t r = 0; r < rows; r++)
        memcpy(target + r * target_stride, source + r * source_stride, (size_t)columns * sizeof(real));
}

static inline void transpose_4x4(real *target, int64_t target_stride, const real *source, int64_t source_stride)
{
    quad r0 = *(const quad_anywhere *)source;
    quad r1 = *(const quad_anywhere *)(source + source_stride);
    quad r2 = *(const quad_anywhere *)(source + 2 * source_stride);
    quad r3 = *(const quad_anywhere *)(source + 3 * source_stride);
    quad low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
    quad high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    quad low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
    quad high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    *(quad_anywhere *)target = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
    *(quad_anywhere *)(target + target_stride) = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
    *(quad_anywhere *)(target + 2 * target_stride) = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
    *(quad_anywhere *)(target + 3 * target_stride) = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}

/* target[c, r] = source[r, c] */
static void transpose_matrix(real *target, int64_t target_stride, const real *source, int64_t source_stride,
                             int64_t rows, int64_t columns)
{
    int64_t whole_rows = rows & ~INT64_C(3), whole_columns = columns & ~INT64_C(3);
    for (int64_t r = 0; r < whole_rows; r += 4)
        for (int64_t c = 0; c < whole_columns; c += 4) {
            __builtin_prefetch(source + least(r + PREFETCH_ROWS + c / 4 % 4, rows - 1) * source_stride + c);
            transpose_4x4(target + c * target_stride + r, target_stride, source + r * source_stride + c, source_stride);
        }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = r < whole_rows ? whole_columns : 0; c < columns; c++)
            target[c * target_stride + r] = source[r * source_stride + c];
}

/* Rows [p, p + depth) of op(B), columns [j, j + width), as panels of [depth, TILE_COLUMNS]. What lies beside a narrow
 * last panel is left as it was: the products with it are computed and dropped. */
static void pack_b(const product *g, int64_t p, int64_t depth, int64_t j, int64_t width)
{
    for (int64_t done = 0; done < width; done += TILE_COLUMNS) {
        int64_t columns = least(TILE_COLUMNS, width - done);
        real *panel = packed_b + done * depth;
        if (g->flags & GEMM_TRANS_B)
            transpose_matrix(panel, TILE_COLUMNS, g->b + (j + done) * g->ldb + p, g->ldb, columns, depth);
        else
            copy_matrix(panel, TILE_COLUMNS, g->b + p * g->ldb + j + done, g->ldb, depth, columns);
        if (g->flags & GEMM_BF16) round_in_place(panel, depth * TILE_COLUMNS);
    }
}

static block_a prepare_a(const product *g, int64_t i, int64_t rows, int64_t p, int64_t depth)
{
    bool transposed = g->flags & GEMM_TRANS_A, rounded = g->flags & GEMM_BF16;
    if (!transposed && !rounded) return (block_a){g->a + i * g->lda + p, g->lda};
    if (transposed)
        transpose_matrix(copied_a, COPY_STRIDE, g->a + p * g->lda + i, g->lda, depth, rows);
    else
        copy_matrix(copied_a, COPY_STRIDE, g->a + i * g->lda + p, g->lda, rows, depth);
    if (rounded)
        for (int64_t r = 0; r < rows; r++) round_in_place(copied_a + r * COPY_STRIDE, depth);
    return (block_a){copied_a, COPY_STRIDE};
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

/* C tile of rows x columns from `depth` columns of A and a panel of B. The last row of A stands in for rows beyond the
 * edge. */
static void multiply_tile(real *c, int64_t ldc, const real *a, int64_t lda, const real *panel, int64_t depth,
                          int64_t rows, int64_t columns, update u)
{
    const real *row[TILE_ROWS];
    vector sum[TILE_ROWS][TILE_VECTORS]; /* registers, as long as no address of it is taken and every loop unrolled */
    for (int64_t r = 0; r < TILE_ROWS; r++) {
        row[r] = a + least(r, rows - 1) * lda;
        __builtin_prefetch(c + least(r, rows - 1) * ldc, 1);
    }
    EACH_VECTOR_OF_TILE(r, v) sum[r][v] = (vector){0};
#pragma GCC unroll 2
    for (int64_t p = 0; p < depth; p++) {
        const vector *b = (const vector *)(panel + p * TILE_COLUMNS);
        EACH_VECTOR_OF_TILE(r, v) sum[r][v] += row[r][p] * b[v];
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
        vector_anywhere *target = (vector_anywhere *)(c + r * ldc) + v;
        vector value = sum[r][v];
        if (u.add_previous) value = *target + value;
        if (u.bias) value += ((const vector_anywhere *)u.bias)[v];
        *target = value;
    }
}

static void multiply_block(const product *g, region block, block_a a, int64_t depth, update u)
{
    for (int64_t j = 0; j < block.n; j += TILE_COLUMNS) {
        update of_tile = {u.add_previous, u.bias ? u.bias + j : NULL};
        for (int64_t i = 0; i < block.m; i += TILE_ROWS)
            multiply_tile(g->c + (block.i + i) * g->ldc + block.j + j, g->ldc, a.rows + i * a.stride, a.stride,
                          packed_b + j * depth, depth, least(TILE_ROWS, block.m - i), least(TILE_COLUMNS, block.n - j),
                          of_tile);
    }
}

/* The contraction is cut into blocks of nearly the same depth; the cuts depend on k alone. */
static void multiply_span(const product *g, region span)
{
    int64_t blocks = divide_up(g->k, BLOCK_DEPTH);
    for (int64_t block = 0; block < blocks; block++) {
        int64_t p = g->k * block / blocks, depth = g->k * (block + 1) / blocks - p;
        update u = {block > 0 || (g->flags & GEMM_ACCUMULATE), NULL};
        if (block == blocks - 1 && g->bias) u.bias = g->bias + span.j;
        pack_b(g, p, depth, span.j, span.n);
        for (int64_t i = 0; i < span.m; i += BLOCK_ROWS) {
            region rows = {span.i + i, least(BLOCK_ROWS, span.m - i), span.j, span.n};
            multiply_block(g, rows, prepare_a(g, rows.i, rows.m, p, depth), depth, u);
        }
    }
}

static void multiply_region(const product *g, region part)
{
    for (int64_t j = 0; j < part.n; j += BLOCK_COLUMNS)
        multiply_span(g, (region){part.i, part.m, part.j + j, least(BLOCK_COLUMNS, part.n - j)});
}

/* An empty contraction: C, or zero, plus bias. */
static void add_bias_only(const product *g)
{
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            real previous = g->flags & GEMM_ACCUMULATE ? g->c[i * g->ldc + j] : 0;
            g->c[i * g->ldc + j] = g->bias ? previous + g->bias[j] : previous;
        }
}

/* Rows of the thread grid for the least work of one thread: its tiles of C plus what packing its columns of B and rows
 * of A costs, in about the same unit. */
static int choose_grid_rows(const product *g, int threads)
{
    int best = 1;
    int64_t best_cost = INT64_MAX;
    int64_t pack_a = g->flags & (GEMM_TRANS_A | GEMM_BF16) ? 6 : 0, pack_b = 6;
    for (int rows = 1; rows <= threads; rows++) {
        int64_t m = divide_up(divide_up(g->m, TILE_ROWS), rows) * TILE_ROWS;
        int64_t n = divide_up(divide_up(g->n, TILE_COLUMNS), threads / rows) * TILE_COLUMNS;
        int64_t cost = m * n + pack_a * m + pack_b * n;
        if (cost < best_cost) {
            best_cost = cost;
            best = rows;
        }
    }
    return best;
}

/* Start of part `index` of `parts` of [0, size), a multiple of `tile` except at the end. */
static int64_t part_start(int64_t size, int64_t tile, int64_t index, int64_t parts)
{
    return least(size, divide_up(size, tile) * index / parts * tile);
}

static void multiply_parallel(const product *g, int threads)
{
    int grid_rows = choose_grid_rows(g, threads), grid_columns = threads / grid_rows;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int cell = 0; cell < grid_rows * grid_columns; cell++) {
        int row = cell / grid_columns, column = cell % grid_columns;
        int64_t i = part_start(g->m, TILE_ROWS, row, grid_rows);
        int64_t j = part_start(g->n, TILE_COLUMNS, column, grid_columns);
        int64_t m = part_start(g->m, TILE_ROWS, row + 1, grid_rows) - i;
        int64_t n = part_start(g->n, TILE_COLUMNS, column + 1, grid_columns) - j;
        if (m > 0) multiply_region(g, (region){i, m, j, n});
    }
}

void CPU_FN(gemm_serial)(real *c, const real *a, const real *b, const real *bias, int64_t m, int64_t n, int64_t k,
                         int64_t lda, int64_t ldb, int64_t ldc, int flags)
{
    product g = {c, a, b, bias, m, n, k, lda, ldb, ldc, flags};
    if (m <= 0 || n <= 0) return;
    if (k <= 0)
        add_bias_only(&g);
    else
        multiply_region(&g, (region){0, m, 0, n});
}

static void gemm(real *c, const real *a, const real *b, const real *bias, int64_t m, int64_t n, int64_t k, int64_t lda,
                 int64_t ldb, int64_t ldc, int flags)
{
    product g = {c, a, b, bias, m, n, k, lda, ldb, ldc, flags};
    int threads = omp_in_parallel() ? 1 : omp_get_max_threads();
    if (threads == 1 || k <= 0 || m * n <= SERIAL_LIMIT / k)
        CPU_FN(gemm_serial)(c, a, b, bias, m, n, k, lda, ldb, ldc, flags);
    else
        multiply_parallel(&g, threads);
}

void CPU_FN(cpu_register_gemm)(engine *e)
{
    e->gemm = gemm;
}
