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
 * A convolution is a product whose A or B is gathered as it is packed (gemm_rows.h): y = windows of x times w^T, dw = dy^T times
 * windows of x, and dx = windows of dy times w, whose places are then in reverse order.
 *
 * Threads share out the rows and columns of C, never the contraction. The value of an element is thus the sum over
 * contraction blocks of sums in order of k, whoever computes it: the same bits for any number of threads. */
#include "cpu/gemm.h"

#include <omp.h>
#include <stdbool.h>

#include "cpu/gelu.h"
#include "cpu/gemm_amx.h"
#include "cpu/gemm_image.h"
#include "cpu/gemm_pack.h"
#include "cpu/gemm_tile.h"
#include "cpu/thread_room.h"

enum {
    BLOCK_DEPTH = 384,                        /* words, nearly */
    DEPTH_ROOM = BLOCK_DEPTH + 2 * PAIR_STEP, /* cuts are moved to even numbers, the last one is padded */
    BLOCK_ROWS = 96,                          /* a multiple of every tile's rows */
    BLOCK_COLUMNS = 768,
    IMAGE_ROWS =
        128, /* of C; with fewer, packing windows is little beside packing the weights, which blocks do faster */
    LARGE_C = 1 << 20,        /* elements */
    SERIAL_LIMIT = 64 * 1024, /* multiplications below which waking another thread costs more than it brings */
};

/* Of images [N,H,W], every pixel whose row is `top` and whose column is `left` modulo `stride`: [N,high,wide]. */
typedef struct pixel_grid {
    int64_t h, w, stride, top, left, high, wide;
} pixel_grid;

typedef struct product {
    real *c;
    const void *a, *b;
    const real *bias;
    int64_t m, n, k, lda, ldb, ldc;
    int flags;
    real *gelu; /* of a narrow C, which may be NULL then: its gelu, narrow too; NULL: not wanted */
    const window_sizes *windows_a, *windows_b; /* A or B, as it is stored, has these rows */
    const weight_taps *taps_b;                 /* so does B */
    const pixel_grid *pixels;                  /* the rows of C are these; NULL: they follow each other */
    int64_t first_i, first_j;                  /* of C's elements, where c points */
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

/* Whether A is read in an image (gemm_image.h), but for a convolution of a wide one, whose sums were cut before and stay so. */
static bool reads_image(const product *g)
{
#if GEMM_AMX
    const window_sizes *z = g->windows_a;
    return z && g->m >= IMAGE_ROWS && z->stride == 1 && z->c % (2 * AMX_WORDS) == 0 && !g->pixels &&
           (g->flags & GEMM_BF16) && (g->flags & GEMM_NARROW_A || g->taps_b) &&
           g->k / 2 * TILE_COLUMNS <= ROOM_GEMM_B && words_of_lines(z, 1) <= ROOM_SUMS;
#else
    (void)g;
    return false;
#endif
}

/* Threads share out rows of C by so many. */
static int64_t share_rows(const product *g)
{
    return reads_image(g) ? g->windows_a->out_w : tile_rows(g->flags);
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

/* Lanes `lane`.. of a matrix over a stretch of the contraction. */
static strip cut_strip(row_source rows, bool across, stretch s, int64_t lane, int64_t lanes)
{
    rows.row = across ? s.p : lane, rows.column = across ? lane : s.p;
    if (!rows.windows && !rows.taps) {
        rows.numbers = number_at(rows.numbers, rows.row * rows.stride + rows.column, rows.narrow);
        rows.row = rows.column = 0;
    }
    return (strip){rows, lanes, s.depth, across};
}

/* Rows i.. of op(A) */
static strip strip_of_a(const product *g, stretch s, int64_t i, int64_t lanes)
{
    const row_source rows = {
        .numbers = g->a, .stride = g->lda, .windows = g->windows_a, .narrow = g->flags & GEMM_NARROW_A};
    return cut_strip(rows, g->flags & GEMM_TRANS_A, s, i, lanes);
}

/* Columns j.. of op(B) */
static strip strip_of_b(const product *g, stretch s, int64_t j, int64_t lanes)
{
    const row_source rows = {.numbers = g->b,
                             .stride = g->ldb,
                             .windows = g->windows_b,
                             .taps = g->taps_b,
                             .narrow = g->flags & GEMM_NARROW_B};
    return cut_strip(rows, !(g->flags & GEMM_TRANS_B), s, j, lanes);
}

static void pack_columns(real *out, const product *g, stretch s, int64_t j, int64_t n)
{
    const strip from = strip_of_b(g, s, j, n);
    pack_panels(out, TILE_COLUMNS, &from, packing_of(g->flags));
}

static block_a prepare_rows(const product *g, stretch s, int64_t i, int64_t m)
{
    strip from = strip_of_a(g, s, i, m);
    if (!(g->flags & (GEMM_TRANS_A | GEMM_BF16)) && IN_PLACE) {
        if (!g->windows_a) return (block_a){from.rows.numbers, g->lda};
        pack_rows(thread_room.gemm_a, s.words, &from, PACK_PLAIN);
        return (block_a){thread_room.gemm_a, s.words};
    }
#if GEMM_AMX
    if (g->flags & GEMM_BF16) {
        if (is_tiles(&from)) return (block_a){from.rows.numbers, from.rows.stride / 2};
        pack_tiles(thread_room.gemm_a, s.words, &from);
        return (block_a){thread_room.gemm_a, s.words};
    }
#endif
    pack_panels(thread_room.gemm_a, TILE_ROWS, &from, packing_of(g->flags));
    return (block_a){thread_room.gemm_a, 0};
}

static inline real *element(const product *g, int64_t i, int64_t j)
{
    return g->c + (i - g->first_i) * g->ldc + j - g->first_j;
}

/* Stores past the caches are seen by other threads after this. */
static void finish_stores(void)
{
#ifdef __AVX512F__
    _mm_sfence();
#endif
}

static void multiply_block(const product *g, region block, block_a a, panels b, int64_t words, update u)
{
    tile_function *tile = g->flags & GEMM_BF16 ? multiply_packed_bf16 : a.stride ? multiply_rows : multiply_packed;
    const int64_t height = tile_rows(g->flags);
    for (int64_t j = 0; j < block.n; j += TILE_COLUMNS) {
        update of_tile = {u.add_previous, u.bias ? u.bias + j : NULL, u.past_caches};
        for (int64_t i = 0; i < block.m; i += height)
            tile(element(g, block.i + i, block.j + j), g->ldc, a.data + i * (a.stride ? a.stride : words), a.stride,
                 b.data + j * b.pitch, words, least(height, block.m - i), least(TILE_COLUMNS, block.n - j), of_tile);
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
    if (u.past_caches) finish_stores();
}

/* An empty contraction: C, or zero, plus bias. */
static void add_bias_only(const product *g, region span)
{
    for (int64_t i = span.i; i < span.i + span.m; i++)
        for (int64_t j = span.j; j < span.j + span.n; j++) {
            real *c = element(g, i, j), previous = g->flags & GEMM_ACCUMULATE ? *c : 0;
            *c = g->bias ? previous + g->bias[j] : previous;
        }
}

/* A C so large that it would only displace what the caches hold, and that is not read before it is written. */
static bool passes_caches(const product *g)
{
    return !(g->flags & GEMM_ACCUMULATE) && g->m * g->n >= LARGE_C && g->ldc % LANES == 0 &&
           (uintptr_t)g->c % VECTOR_BYTES == 0;
}

/* The panels of a span: lent, so that those of each block of the contraction lie where those before it did; kept, one block's behind the
 * other's; or there already, since the call before for the same columns. */
typedef enum panels_of_span { LENT, KEPT, THERE } panels_of_span;

static void multiply_span(const product *g, region span, panels_of_span which)
{
    const packing kind = packing_of(g->flags);
    const int64_t blocks = count_blocks(g->k, kind), columns = divide_up(span.n, TILE_COLUMNS) * TILE_COLUMNS;
    if (!blocks) add_bias_only(g, span);
    for (int64_t block = 0; block < blocks; block++) {
        stretch s = cut_contraction(g->k, block, blocks, kind);
        update u = {block > 0 || (g->flags & GEMM_ACCUMULATE), NULL, blocks == 1 && passes_caches(g)};
        if (block == blocks - 1 && g->bias) u.bias = g->bias + span.j;
        real *b = thread_room.gemm_b + (which == LENT ? 0 : packed_words(s.p, kind) * columns);
        if (which != THERE) pack_columns(b, g, s, span.j, span.n);
        multiply_stretch(g, span, s, (panels){b, s.words}, u);
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

static int64_t row_of_pixel(const pixel_grid *p, int64_t i)
{
    const int64_t line = i / p->wide, n = line / p->high, row = p->top + line % p->high * p->stride;
    return (n * p->h + row) * p->w + p->left + i % p->wide * p->stride;
}

/* A row of C becomes its sums, or adds them to what it is. */
static void finish_row(void *row, const real *sums, int64_t count, int flags)
{
    if (flags & GEMM_NARROW_C) {
        write_row(row, sums, count, flags & GEMM_ACCUMULATE);
        return;
    }
    real *to = row;
    for (int64_t j = 0; j < count; j++) to[j] = flags & GEMM_ACCUMULATE ? to[j] + sums[j] : sums[j];
}

/* Rows of C from their sums, to which the bias is added, and of a narrow C their gelu, taken of the rounded numbers. */
static void finish_rows(const product *g, region r, real *sums)
{
    const bool narrow = g->flags & GEMM_NARROW_C;
    for (int64_t i = r.i; i < r.i + r.m; i++, sums += r.n) {
        const int64_t at = (g->pixels ? row_of_pixel(g->pixels, i) : i) * g->ldc + r.j;
        for (int64_t j = 0; g->bias && j < r.n; j++) sums[j] += g->bias[r.j + j];
        if (g->c) finish_row(number_at(g->c, at, narrow), sums, r.n, g->flags);
        if (!g->gelu) continue;
        void *gelus = number_at(g->gelu, at, true);
        for (int64_t j = 0; j < r.n; j++) write_number(gelus, j, gelu(round_bf16(sums[j])), true);
    }
}

/* The product that makes a part of C in room of its own: of that part's size, which stays in the caches (passes_caches). */
static product sums_of(const product *g, region r)
{
    product sums = *g;
    sums.c = thread_room.sums, sums.m = r.m, sums.n = sums.ldc = r.n, sums.first_i = r.i, sums.first_j = r.j;
    sums.flags &= ~(GEMM_ACCUMULATE | GEMM_NARROW_C);
    sums.bias = NULL;
    return sums;
}

/* How many rows and columns of sums are made at a time, of n columns. Panels are kept where there is room for all of the contraction's
 * of not too few columns, for the rows of A are read once for each; else columns are packed again for every part, so that it has as
 * many rows as there is room for. */
typedef struct part_of_sums {
    int64_t rows, columns;
    bool keeps_panels;
} part_of_sums;

static part_of_sums choose_part(const product *g, int64_t n)
{
    enum { FEWEST = 4 * TILE_COLUMNS, COLUMNS = 512, MOST = ROOM_SUMS / BLOCK_ROWS / TILE_COLUMNS * TILE_COLUMNS };
    const int64_t words = packed_words(g->k, packing_of(g->flags));
    const int64_t kept = words ? least(MOST, ROOM_GEMM_B / words / TILE_COLUMNS * TILE_COLUMNS) : MOST;
    if (kept >= least(n, FEWEST)) return (part_of_sums){BLOCK_ROWS, least(n, kept), true};
    const int64_t columns = least(n, least(COLUMNS, span_columns(g)));
    return (part_of_sums){ROOM_SUMS / columns / BLOCK_ROWS * BLOCK_ROWS, columns, false};
}

/* A C that is narrow or whose rows lie apart is made of sums of full width as soon as all blocks of the contraction are in them. */
static void multiply_region_in_sums(const product *g, region part)
{
    const part_of_sums at_a_time = choose_part(g, part.n);
    for (int64_t j = part.j; j < part.j + part.n; j += at_a_time.columns)
        for (int64_t i = part.i; i < part.i + part.m; i += at_a_time.rows) {
            region r = {i, least(at_a_time.rows, part.i + part.m - i), j,
                        least(at_a_time.columns, part.j + part.n - j)};
            product sums = sums_of(g, r);
            multiply_span(&sums, r, !at_a_time.keeps_panels ? LENT : i == part.i ? KEPT : THERE);
            finish_rows(g, r, sums.c);
        }
}

#if GEMM_AMX

/* The rows of C that the windows of a part are, from row i on, columns [j, j + n). */
static void multiply_part(const product *g, const image_part *x, int64_t i, int64_t j, int64_t n, const real *panel)
{
    _Alignas(64) real sums[AMX_TILE_ROWS * TILE_COLUMNS];
    const int64_t sixteens = count_sixteens(x);
    const bool narrow = g->flags & GEMM_NARROW_C;
    for (int64_t index = 0; index < sixteens; index += 2) {
        const int64_t place[] = {place_of_sixteen(x, index), place_of_sixteen(x, least(index + 1, sixteens - 1))};
        multiply_windows(sums, x, place[0], place[1], panel, n > AMX_WORDS);
        for (int64_t r = 0; r < (index + 1 < sixteens ? 2 : 1) * AMX_ROWS; r++) {
            const int64_t at = place[r / AMX_ROWS] + r % AMX_ROWS, line = at / x->pitch, column = at % x->pitch;
            real *row = sums + r * TILE_COLUMNS;
            if (column >= x->width || line >= x->lines) continue;
            for (int64_t q = 0; g->bias && q < n; q++) row[q] += g->bias[j + q];
            finish_row(number_at(g->c, (i + line * x->width + column) * g->ldc + j, narrow), row, n, g->flags);
        }
    }
}

/* Of whole lines of windows. As many columns at a time as there is room for. */
static void multiply_region_of_image(const product *g, region part)
{
    const window_sizes *z = g->windows_a;
    const int64_t words = g->k / 2, columns = ROOM_GEMM_B / words / TILE_COLUMNS * TILE_COLUMNS;
    int64_t most = 1;
    while (words_of_lines(z, most + 1) <= ROOM_SUMS) most++;
    amx_begin();
    for (int64_t j = part.j; j < part.j + part.n; j += columns) {
        const int64_t n = least(columns, part.j + part.n - j);
        pack_columns(thread_room.gemm_b, g, (stretch){0, g->k, words}, j, n);
        for (int64_t i = part.i, lines; i < part.i + part.m; i += lines * z->out_w) {
            const int64_t first = i / z->out_w % z->out_h;
            lines = least(most, least(z->out_h - first, (part.i + part.m - i) / z->out_w));
            const image_part x =
                copy_lines(thread_room.sums, g->a, g->flags & GEMM_NARROW_A, z, i / z->out_w / z->out_h, first, lines);
            for (int64_t q = 0; q < n; q += TILE_COLUMNS)
                multiply_part(g, &x, i, j + q, least(TILE_COLUMNS, n - q), thread_room.gemm_b + q * words);
        }
    }
    amx_end();
}

#endif

static void multiply_region(const product *g, region part)
{
#if GEMM_AMX
    if (reads_image(g)) {
        multiply_region_of_image(g, part);
        return;
    }
#endif
    if (g->flags & GEMM_NARROW_C || g->pixels) {
        multiply_region_in_sums(g, part);
        return;
    }
    const int64_t columns = span_columns(g);
    for (int64_t j = 0; j < part.n; j += columns)
        multiply_span(g, (region){part.i, part.m, part.j + j, least(columns, part.n - j)}, LENT);
}

/* Rows of the thread grid for the least work of one thread: its tiles of C plus what packing its columns of B and rows
 * of A costs, in about the same unit. */
static int choose_grid_rows(const product *g, int threads)
{
    const int64_t height = share_rows(g);
    int best = 1;
    int64_t best_cost = INT64_MAX;
    int64_t pack_a = g->flags & (GEMM_TRANS_A | GEMM_BF16) || g->windows_a || !IN_PLACE ? 6 : 0, pack_b = 6;
    if (reads_image(g)) pack_a = 1;
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
    const int64_t height = share_rows(g);
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
    multiply(&(product){.c = c,
                        .a = a,
                        .b = b,
                        .bias = bias,
                        .m = m,
                        .n = n,
                        .k = k,
                        .lda = lda,
                        .ldb = ldb,
                        .ldc = ldc,
                        .flags = flags});
}

static void gemm_gelu(real *y, real *u, const real *x, const real *w, const real *bias, int64_t m, int64_t o, int64_t i,
                      int flags)
{
    flags |= GEMM_TRANS_B | GEMM_NARROW_A | GEMM_NARROW_C;
    multiply(&(product){.c = u,
                        .a = x,
                        .b = w,
                        .bias = bias,
                        .m = m,
                        .n = o,
                        .k = i,
                        .lda = i,
                        .ldb = i,
                        .ldc = o,
                        .flags = flags,
                        .gelu = y});
}

/* ---- convolution ---- */

/* Windows that are the pixels themselves. */
static bool is_plain(const window_sizes *z)
{
    return z->side_h == 1 && z->side_w == 1 && z->stride == 1 && z->pad_h == 0 && z->pad_w == 0;
}

static void conv_fwd(real *y, const real *x, const real *w, const real *bias, window_sizes z, int64_t o, int flags)
{
    const int64_t k = z.side_h * z.side_w * z.c;
    multiply(&(product){.c = y,
                        .a = x,
                        .b = w,
                        .bias = bias,
                        .m = z.n * z.out_h * z.out_w,
                        .n = o,
                        .k = k,
                        .lda = k,
                        .ldb = k,
                        .ldc = o,
                        .flags = flags | GEMM_TRANS_B,
                        .windows_a = is_plain(&z) ? NULL : &z});
}

static void conv_bwd_w(real *dw, const real *dy, const real *x, window_sizes z, int64_t o, int flags)
{
    const int64_t k = z.side_h * z.side_w * z.c;
    multiply(&(product){.c = dw,
                        .a = dy,
                        .b = x,
                        .m = o,
                        .n = k,
                        .k = z.n * z.out_h * z.out_w,
                        .lda = o,
                        .ldb = k,
                        .ldc = k,
                        .flags = flags | GEMM_TRANS_A,
                        .windows_b = is_plain(&z) ? NULL : &z});
}

/* Of the places [0, side) of a window those that a pixel number `residue` modulo stride can be at, which are `stride` apart: the
 * last of them, how many, and how far before its own number the pixel's first window is. */
typedef struct places {
    int64_t last, count, before;
} places;

static places places_of(int64_t residue, int64_t side, int64_t stride, int64_t pad)
{
    const int64_t first = (residue + pad) % stride, count = first < side ? (side - first + stride - 1) / stride : 0;
    return (places){first + (count - 1) * stride, count, count - 1 - (residue + pad - first) / stride};
}

/* Pixels of one residue modulo the stride are in windows that follow each other: windows of dy, of the places that reach them. */
static void conv_bwd_pixels(real *dx, const real *dy, const real *w, const window_sizes *z, int64_t o, int flags,
                            pixel_grid pixels)
{
    const places down = places_of(pixels.top, z->side_h, z->stride, z->pad_h);
    const places across = places_of(pixels.left, z->side_w, z->stride, z->pad_w);
    const window_sizes windows = {.n = z->n,
                                  .h = z->out_h,
                                  .w = z->out_w,
                                  .c = o,
                                  .side_h = down.count,
                                  .side_w = across.count,
                                  .stride = 1,
                                  .pad_h = down.before,
                                  .pad_w = across.before,
                                  .out_h = pixels.high,
                                  .out_w = pixels.wide};
    const weight_taps taps = {.outputs = o,
                              .high = down.count,
                              .wide = across.count,
                              .first = (down.last * z->side_w + across.last) * z->c,
                              .down = z->stride * z->side_w * z->c,
                              .across = z->stride * z->c};
    multiply(&(product){.c = dx,
                        .a = dy,
                        .b = w,
                        .m = z->n * pixels.high * pixels.wide,
                        .n = z->c,
                        .k = down.count * across.count * o,
                        .lda = o,
                        .ldb = z->side_h * z->side_w * z->c,
                        .ldc = z->c,
                        .flags = flags,
                        .windows_a = is_plain(z) ? NULL : &windows,
                        .taps_b = is_plain(z) ? NULL : &taps,
                        .pixels = z->stride > 1 ? &pixels : NULL});
}

static void conv_bwd_x(real *dx, const real *dy, const real *w, window_sizes z, int64_t o, int flags)
{
    for (int64_t top = 0; top < least(z.stride, z.h); top++)
        for (int64_t left = 0; left < least(z.stride, z.w); left++) {
            const int64_t high = divide_up(z.h - top, z.stride), wide = divide_up(z.w - left, z.stride);
            conv_bwd_pixels(dx, dy, w, &z, o, flags, (pixel_grid){z.h, z.w, z.stride, top, left, high, wide});
        }
}

/* ---- for kernels inside a parallel region ---- */

void CPU_FN(gemm_serial)(real *c, const real *a, const real *b, const real *bias, int64_t m, int64_t n, int64_t k,
                         int64_t lda, int64_t ldb, int64_t ldc, int flags)
{
    multiply_serial(&(product){.c = c,
                               .a = a,
                               .b = b,
                               .bias = bias,
                               .m = m,
                               .n = n,
                               .k = k,
                               .lda = lda,
                               .ldb = ldb,
                               .ldc = ldc,
                               .flags = flags});
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
        update u = {.add_previous = block > 0 || (flags & GEMM_ACCUMULATE)};
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
    e->conv_fwd = conv_fwd;
    e->conv_bwd_x = conv_bwd_x;
    e->conv_bwd_w = conv_bwd_w;
}
