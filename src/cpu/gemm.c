/* The matrix product. B is packed into panels as wide as a register tile; A is read in place where its rows lie in order and
 * a tile has few of them, else packed into panels as high as a tile; a tile of C stays in registers for a whole block of
 * the contraction.
 *
 *     for each span of columns of C            (span_columns, limits the packed B)
 *         for each block of the contraction    (at most BLOCK_DEPTH)
 *             pack B
 *             for each block of rows           (BLOCK_ROWS, so that its part of A stays in the second-level cache)
 *                 pack A, unless it is read in place
 *                 for each panel of B          (stays in the first-level cache)
 *                     for each tile of rows    multiply_tile
 *
 * What is packed are words of the size of a real: a number, or (where the machine multiplies them, GEMM_PAIRS) two bfloat16
 * that follow each other in the contraction. The depth of a block is counted in words; everything but the packing and one
 * line of the tile is the same for both. Narrow rows are such pairs as they lie: matrix registers read them in place.
 *
 * Threads share out the rows and columns of C, never the contraction. The value of an element is thus the sum over
 * contraction blocks of sums in order of k, whoever computes it: the same bits for any number of threads. */
#include "cpu/gemm.h"

#include <omp.h>
#include <stdbool.h>

#include "cpu/gelu.h"
#include "cpu/gemm_amx.h"
#include "cpu/gemm_pack.h"
#include "cpu/gemm_tile.h"
#include "cpu/thread_room.h"

enum {
    BLOCK_DEPTH = 384,                        /* words, nearly */
    DEPTH_ROOM = BLOCK_DEPTH + 2 * PAIR_STEP, /* cuts are moved to even numbers, the last one is padded */
    BLOCK_ROWS = 96,                          /* a multiple of every tile's rows */
    BLOCK_COLUMNS = 768,
    SERIAL_LIMIT = 64 * 1024, /* multiplications below which waking another thread costs more than it brings */
};

typedef struct product {
    real *c;
    const void *a, *b;
    const real *bias;
    int64_t m, n, k, lda, ldb, ldc;
    int flags;
    real *gelu; /* of a narrow C, which may be NULL then: its gelu, narrow too; NULL: not wanted */
} product;

/* A part of C: rows [i, i + m), columns [j, j + n). */
typedef struct region {
    int64_t i, m, j, n;
} region;

/* A block of the contraction: k in [p, p + depth), `words` words in packed form. */
typedef struct stretch {
    int64_t p, depth, words;
} stretch;

/* The panel of columns [j, j + TILE_COLUMNS) begins at data + j * pitch. */
typedef struct panels {
    const real *data;
    int64_t pitch;
} panels;

/* The part of op(A) that a block of rows needs. */
typedef struct block_a {
    const real *data;
    int64_t stride; /* between rows, in place or packed; 0: panels of [words, TILE_ROWS] */
} block_a;

_Static_assert(BLOCK_COLUMNS *DEPTH_ROOM <= ROOM_GEMM_B && BLOCK_ROWS * DEPTH_ROOM <= ROOM_GEMM_A, "room for blocks");

static inline packing packing_of(int flags)
{
    return !(flags & GEMM_BF16) ? PACK_PLAIN : GEMM_PAIRS ? PACK_PAIRS : PACK_ROUNDED;
}

/* Rows of C that a tile holds. */
static int64_t tile_rows(int flags)
{
    return GEMM_AMX && (flags & GEMM_BF16) ? AMX_TILE_ROWS : TILE_ROWS;
}

/* Cut number `block` of `blocks` nearly equal ones of [0, k), whole words except at the end. The cuts depend on k alone. */
static stretch cut_contraction(int64_t k, int64_t block, int64_t blocks, packing kind)
{
    const int64_t whole = ~(int64_t)(2 * (kind == PACK_PAIRS ? PAIR_STEP : 1) - 1);
    int64_t p = k * block / blocks & whole, end = block + 1 == blocks ? k : k * (block + 1) / blocks & whole;
    return (stretch){p, end - p, packed_words(end - p, kind)};
}

static int64_t count_blocks(int64_t k, packing kind)
{
    return k > 0 ? divide_up(packed_words(k, kind), BLOCK_DEPTH) : 0;
}

/* Rows i.. of op(A), or columns j.. of op(B), over a stretch of the contraction. */
static strip strip_of_a(const product *g, stretch s, int64_t i, int64_t lanes)
{
    const bool across = g->flags & GEMM_TRANS_A, narrow = g->flags & GEMM_NARROW_A;
    const void *from = number_at(g->a, across ? s.p * g->lda + i : i * g->lda + s.p, narrow);
    return (strip){from, g->lda, lanes, s.depth, across, narrow};
}

static strip strip_of_b(const product *g, stretch s, int64_t j, int64_t lanes)
{
    const bool across = !(g->flags & GEMM_TRANS_B), narrow = g->flags & GEMM_NARROW_B;
    const void *from = number_at(g->b, across ? s.p * g->ldb + j : j * g->ldb + s.p, narrow);
    return (strip){from, g->ldb, lanes, s.depth, across, narrow};
}

static void pack_columns(real *out, const product *g, stretch s, int64_t j, int64_t n)
{
    for (int64_t done = 0; done < n; done += TILE_COLUMNS) {
        strip from = strip_of_b(g, s, j + done, least(TILE_COLUMNS, n - done));
        pack_panel(out + done * s.words, TILE_COLUMNS, &from, packing_of(g->flags));
    }
}

static block_a prepare_rows(const product *g, stretch s, int64_t i, int64_t m)
{
    if (!(g->flags & (GEMM_TRANS_A | GEMM_BF16)) && IN_PLACE)
        return (block_a){(const real *)g->a + i * g->lda + s.p, g->lda};
#if GEMM_AMX
    if (g->flags & GEMM_BF16) {
        strip from = strip_of_a(g, s, i, m);
        if (is_tiles(&from)) return (block_a){from.numbers, from.stride / 2};
        pack_tiles(thread_room.gemm_a, s.words, &from);
        return (block_a){thread_room.gemm_a, s.words};
    }
#endif
    for (int64_t done = 0; done < m; done += TILE_ROWS) {
        strip from = strip_of_a(g, s, i + done, least(TILE_ROWS, m - done));
        pack_panel(thread_room.gemm_a + done * s.words, TILE_ROWS, &from, packing_of(g->flags));
    }
    return (block_a){thread_room.gemm_a, 0};
}

static void multiply_block(const product *g, region block, block_a a, panels b, int64_t words, update u)
{
    tile_function *tile = g->flags & GEMM_BF16 ? multiply_packed_bf16 : a.stride ? multiply_rows : multiply_packed;
    const int64_t height = tile_rows(g->flags);
    for (int64_t j = 0; j < block.n; j += TILE_COLUMNS) {
        update of_tile = {u.add_previous, u.bias ? u.bias + j : NULL};
        for (int64_t i = 0; i < block.m; i += height)
            tile(g->c + (block.i + i) * g->ldc + block.j + j, g->ldc, a.data + i * (a.stride ? a.stride : words),
                 a.stride, b.data + j * b.pitch, words, least(height, block.m - i), least(TILE_COLUMNS, block.n - j),
                 of_tile);
    }
}

/* All rows of a span times one stretch of packed columns. */
static void multiply_stretch(const product *g, region span, stretch s, panels b, update u)
{
    const bool tiles = g->flags & GEMM_BF16;
    if (tiles) amx_begin();
    for (int64_t i = 0; i < span.m; i += BLOCK_ROWS) {
        region rows = {span.i + i, least(BLOCK_ROWS, span.m - i), span.j, span.n};
        multiply_block(g, rows, prepare_rows(g, s, rows.i, rows.m), b, s.words, u);
    }
    if (tiles) amx_end();
}

/* An empty contraction: C, or zero, plus bias. */
static void add_bias_only(const product *g, region span)
{
    for (int64_t i = span.i; i < span.i + span.m; i++)
        for (int64_t j = span.j; j < span.j + span.n; j++) {
            real previous = g->flags & GEMM_ACCUMULATE ? g->c[i * g->ldc + j] : 0;
            g->c[i * g->ldc + j] = g->bias ? previous + g->bias[j] : previous;
        }
}

/* b_is_packed: by the call before, for the same columns; the contraction is one block then. */
static void multiply_span(const product *g, region span, bool b_is_packed)
{
    const packing kind = packing_of(g->flags);
    const int64_t blocks = count_blocks(g->k, kind);
    if (!blocks) add_bias_only(g, span);
    for (int64_t block = 0; block < blocks; block++) {
        stretch s = cut_contraction(g->k, block, blocks, kind);
        update u = {block > 0 || (g->flags & GEMM_ACCUMULATE), NULL};
        if (block == blocks - 1 && g->bias) u.bias = g->bias + span.j;
        if (!b_is_packed) pack_columns(thread_room.gemm_b, g, s, span.j, span.n);
        multiply_stretch(g, span, s, (panels){thread_room.gemm_b, s.words}, u);
    }
}

/* BLOCK_COLUMNS, and more where the contraction is short: A is read once for each span. */
static int64_t span_columns(const product *g)
{
    if (g->k <= 0) return BLOCK_COLUMNS;
    const packing kind = packing_of(g->flags);
    const int64_t words = divide_up(packed_words(g->k, kind), count_blocks(g->k, kind)) + 2 * PAIR_STEP;
    return BLOCK_COLUMNS * DEPTH_ROOM / words / TILE_COLUMNS * TILE_COLUMNS;
}

/* Rows of a narrow C from their sums, and their gelu, taken of the rounded numbers. */
static void finish_rows(const product *g, region r, const real *sums)
{
    for (int64_t i = r.i; i < r.i + r.m; i++, sums += r.n) {
        const int64_t at = i * g->ldc + r.j;
        if (g->c) write_row(number_at(g->c, at, true), sums, r.n, g->flags & GEMM_ACCUMULATE);
        if (!g->gelu) continue;
        void *gelus = number_at(g->gelu, at, true);
        for (int64_t j = 0; j < r.n; j++) write_number(gelus, j, gelu(round_bf16(sums[j])), true);
    }
}

/* The product that makes a part of C, as a matrix of its own. */
static product sums_of(const product *g, region r)
{
    const stretch start = {0};
    product sums = *g;
    sums.a = strip_of_a(g, start, r.i, 0).numbers, sums.b = strip_of_b(g, start, r.j, 0).numbers;
    sums.bias = g->bias ? g->bias + r.j : NULL;
    sums.c = thread_room.sums, sums.ldc = r.n, sums.m = r.m, sums.n = r.n;
    sums.flags &= ~(GEMM_ACCUMULATE | GEMM_NARROW_C);
    return sums;
}

/* A narrow C is made of sums of full width as soon as all blocks of the contraction are in them: of a block of rows, or when
 * the columns would have to be packed again for each, of as many as there is room for. */
static void multiply_region_narrow(const product *g, region part)
{
    enum { COLUMNS = 512, MOST_COLUMNS = ROOM_SUMS / BLOCK_ROWS / TILE_COLUMNS * TILE_COLUMNS };
    const bool one_block = count_blocks(g->k, packing_of(g->flags)) == 1;
    const int64_t columns = least(span_columns(g), one_block ? MOST_COLUMNS : COLUMNS);
    const int64_t rows = one_block ? BLOCK_ROWS : ROOM_SUMS / columns / BLOCK_ROWS * BLOCK_ROWS;
    for (int64_t j = part.j; j < part.j + part.n; j += columns)
        for (int64_t i = part.i; i < part.i + part.m; i += rows) {
            region r = {i, least(rows, part.i + part.m - i), j, least(columns, part.j + part.n - j)};
            product sums = sums_of(g, r);
            multiply_span(&sums, (region){0, r.m, 0, r.n}, one_block && i > part.i);
            finish_rows(g, r, sums.c);
        }
}

static void multiply_region(const product *g, region part)
{
    if (g->flags & GEMM_NARROW_C) {
        multiply_region_narrow(g, part);
        return;
    }
    const int64_t columns = span_columns(g);
    for (int64_t j = 0; j < part.n; j += columns)
        multiply_span(g, (region){part.i, part.m, part.j + j, least(columns, part.n - j)}, false);
}

/* Rows of the thread grid for the least work of one thread: its tiles of C plus what packing its columns of B and rows
 * of A costs, in about the same unit. */
static int choose_grid_rows(const product *g, int threads)
{
    const int64_t height = tile_rows(g->flags);
    int best = 1;
    int64_t best_cost = INT64_MAX;
    int64_t pack_a = g->flags & (GEMM_TRANS_A | GEMM_BF16) || !IN_PLACE ? 6 : 0, pack_b = 6;
    for (int rows = 1; rows <= threads; rows++) {
        int64_t m = divide_up(divide_up(g->m, height), rows) * height;
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
    const int64_t height = tile_rows(g->flags);
    int grid_rows = choose_grid_rows(g, threads), grid_columns = threads / grid_rows;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int cell = 0; cell < grid_rows * grid_columns; cell++) {
        int row = cell / grid_columns, column = cell % grid_columns;
        int64_t i = part_start(g->m, height, row, grid_rows);
        int64_t j = part_start(g->n, TILE_COLUMNS, column, grid_columns);
        int64_t m = part_start(g->m, height, row + 1, grid_rows) - i;
        int64_t n = part_start(g->n, TILE_COLUMNS, column + 1, grid_columns) - j;
        if (m > 0) multiply_region(g, (region){i, m, j, n});
    }
}

static void multiply_serial(const product *g)
{
    if (g->m > 0 && g->n > 0) multiply_region(g, (region){0, g->m, 0, g->n});
}

static void multiply(const product *g)
{
    int threads = omp_in_parallel() ? 1 : omp_get_max_threads();
    if (threads == 1 || g->k <= 0 || g->m * g->n <= SERIAL_LIMIT / g->k)
        multiply_serial(g);
    else
        multiply_parallel(g, threads);
}

static void gemm(real *c, const real *a, const real *b, const real *bias, int64_t m, int64_t n, int64_t k, int64_t lda,
                 int64_t ldb, int64_t ldc, int flags)
{
    multiply(&(product){c, a, b, bias, m, n, k, lda, ldb, ldc, flags, NULL});
}

static void gemm_gelu(real *y, real *u, const real *x, const real *w, const real *bias, int64_t m, int64_t o, int64_t i,
                      int flags)
{
    flags |= GEMM_TRANS_B | GEMM_NARROW_A | GEMM_NARROW_C;
    multiply(&(product){u, x, w, bias, m, o, i, i, i, o, flags, y});
}

void CPU_FN(gemm_serial)(real *c, const real *a, const real *b, const real *bias, int64_t m, int64_t n, int64_t k,
                         int64_t lda, int64_t ldb, int64_t ldc, int flags)
{
    multiply_serial(&(product){c, a, b, bias, m, n, k, lda, ldb, ldc, flags, NULL});
}

void CPU_FN(gemm_pack)(real *packed, const void *b, int64_t n, int64_t k, int64_t ldb, int flags)
{
    product g = {.b = b, .ldb = ldb, .flags = flags};
    pack_columns(packed, &g, (stretch){0, k, packed_words(k, packing_of(flags))}, 0, n);
}

void CPU_FN(gemm_packed)(real *c, const void *a, const real *packed, int64_t m, int64_t n, int64_t k, int64_t lda,
                         int64_t ldc, int flags)
{
    product g = {.c = c, .a = a, .m = m, .n = n, .k = k, .lda = lda, .ldc = ldc, .flags = flags};
    const packing kind = packing_of(flags);
    const int64_t blocks = count_blocks(k, kind), pitch = packed_words(k, kind);
    for (int64_t block = 0; block < blocks; block++) {
        stretch s = cut_contraction(k, block, blocks, kind);
        update u = {block > 0 || (flags & GEMM_ACCUMULATE), NULL};
        multiply_stretch(&g, (region){0, m, 0, n}, s, (panels){packed + packed_words(s.p, kind) * TILE_COLUMNS, pitch},
                         u);
    }
}

int64_t CPU_FN(gemm_packed_count)(int64_t n, int64_t k)
{
    const int64_t pairs = packed_words(k, PACK_PAIRS);
    return divide_up(n, TILE_COLUMNS) * TILE_COLUMNS * (k > pairs ? k : pairs);
}

void CPU_FN(cpu_register_gemm)(engine *e)
{
    e->gemm = gemm;
    e->gemm_gelu = gemm_gelu;
}
