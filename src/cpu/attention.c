/* Attention, one (sample, head) pair a thread at a time: no sum is shared between threads. What stays the same for a whole
 * head (or a large part of it) is packed once, and a block of few rows of scores goes from one product to the next without
 * leaving the caches.
 *
 * Forward: a block holds the scores of some queries (rows) against all keys; a longer row is met in pieces, and what was
 * summed so far is rescaled. Backward: a block holds the scores of some keys (rows) against many queries, so that the
 * gradients of keys and values read it in the order in which it lies. */
#include <string.h>

#include "cpu/gemm.h"
#include "cpu/thread_room.h"
#include "cpu/vector.h"

enum {
    ROWS = 48,     /* most rows of a block of scores: whole register tiles in every instruction set */
    COLUMNS = 512, /* most columns of it in the forward pass */
    SIDE = 256,    /* most queries, and most keys, that are worked on together in the backward pass */
    PANEL = 32,    /* a multiple of every tile's columns */
};
_Static_assert(ROWS *COLUMNS <= ROOM_SCORES && SIDE * SIDE <= ROOM_SLOPES, "room for scores");
_Static_assert(ATTENTION_WIDTH_MAX *PANEL <= ROOM_OPERAND, "room for the packed operands");

/* One head of one sample: rows of q, k, v are `stride` apart, those of y and dy `y_stride`. */
typedef struct head {
    const real *q, *k, *v;
    int64_t s, e, stride, y_stride;
    real scale;
    int flags; /* of all products */
} head;

/* Where the gradients of a head go, with the strides of what they belong to, and what they come from. */
typedef struct head_slopes {
    real *dq, *dk, *dv;
    const real *dy, *y, *lse;
} head_slopes;

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static head find_head(const real *qkv, int64_t pair, int64_t s, int64_t k, int64_t e, int flags)
{
    int64_t width = k * e, stride = 3 * width;
    const real *q = qkv + pair / k * s * stride + pair % k * e;
    return (head){q, q + width, q + 2 * width, s, e, stride, width, 1 / (real)sqrt((double)e), flags};
}

/* How many rows of width E fit the room of a packed operand, whichever way round they are packed. */
static int64_t rows_that_fit(int64_t e, int64_t most)
{
    int64_t padded = (e + PANEL - 1) / PANEL * PANEL;
    return least(most, ROOM_OPERAND / padded / PANEL * PANEL);
}

/* Asks for rows that will be read soon: a head's part of a row is short, and no machine foresees where the next one lies. */
static void prefetch_rows(const real *x, int64_t rows, int64_t width, int64_t stride)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j += 64 / (int64_t)sizeof(real)) __builtin_prefetch(x + r * stride + j);
}

/* ---- forward ---- */

static real greatest(const real *x, int64_t count)
{
    real maximum = x[0];
#pragma omp simd reduction(max : maximum)
    for (int64_t j = 0; j < count; j++) maximum = x[j] > maximum ? x[j] : maximum;
    return maximum;
}

/* x = exp(scale x - top); returns the sum. */
static real exp_row(real *x, int64_t count, real scale, real top)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; j++) {
        x[j] = vector_exp_bounded(x[j] * scale - top);
        sum += x[j];
    }
    return sum;
}

static void multiply_row(real *x, int64_t count, real factor)
{
    for (int64_t j = 0; j < count; j++) x[j] *= factor;
}

/* Scores of `rows` queries against `keys` keys become exponentials relative to the row's top: the greatest score, or the
 * log of the sum over the keys before these. That sum, relative to the top too, is what y so far must be multiplied with;
 * `total` is the sum over all keys up to here. A NaN is found by the sum. */
static void exp_block(real *y, real *lse, real *total, const head *h, int64_t rows, int64_t keys, bool first)
{
    for (int64_t r = 0; r < rows; r++) {
        real *row = thread_room.scores + r * keys, before = first ? -(real)INFINITY : lse[r];
        real top = greatest(row, keys) * h->scale;
        if (before > top) top = before;
        total[r] = exp_row(row, keys, h->scale, top);
        if (!first) {
            real kept = (real)exp((double)(before - top));
            multiply_row(y + r * h->y_stride, h->e, kept);
            total[r] += kept;
        }
        lse[r] = top + (real)log((double)total[r]);
    }
}

/* Queries i..i+rows against the keys whose operands are packed. */
static void forward_rows(real *y, real *lse, const head *h, int64_t i, int64_t rows, int64_t keys, bool first)
{
    const real *q = h->q + i * h->stride;
    real total[ROWS];
    CPU_FN(gemm_packed)
    (thread_room.scores, q, thread_room.operand[0], rows, keys, h->e, h->stride, keys, h->flags);
    prefetch_rows(q + rows * h->stride, least(ROWS, h->s - i - rows), h->e, h->stride);
    exp_block(y, lse, total, h, rows, keys, first);
    CPU_FN(gemm_packed)
    (y, thread_room.scores, thread_room.operand[1], rows, h->e, keys, keys, h->y_stride,
     h->flags | (first ? 0 : GEMM_ACCUMULATE));
    for (int64_t r = 0; r < rows; r++) multiply_row(y + r * h->y_stride, h->e, 1 / total[r]);
}

static void forward_head(real *y, real *lse, const head *h)
{
    const int64_t piece = rows_that_fit(h->e, COLUMNS);
    for (int64_t j = 0; j < h->s; j += piece) {
        int64_t keys = least(piece, h->s - j);
        CPU_FN(gemm_pack)
        (thread_room.operand[0], h->k + j * h->stride, keys, h->e, h->stride, h->flags | GEMM_TRANS_B);
        CPU_FN(gemm_pack)(thread_room.operand[1], h->v + j * h->stride, h->e, keys, h->stride, h->flags);
        for (int64_t i = 0; i < h->s; i += ROWS)
            forward_rows(y + i * h->y_stride, lse + i, h, i, least(ROWS, h->s - i), keys, j == 0);
    }
}

static void attention_fwd(real *y, real *lse, const real *qkv, int64_t n, int64_t s, int64_t k, int64_t e, int flags)
{
#pragma omp parallel for schedule(static)
    for (int64_t pair = 0; pair < n * k; pair++) {
        head h = find_head(qkv, pair, s, k, e, flags & GEMM_BF16);
        forward_head(y + pair / k * s * h.y_stride + pair % k * e, lse + pair * s, &h);
    }
}

/* ---- backward ---- */

static real dot(const real *a, const real *b, int64_t count)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; j++) sum += a[j] * b[j];
    return sum;
}

/* Products of keys (rows) and queries become probabilities, by the log of each query's sum. */
static void probability_block(real *p, const head *h, const real *lse, int64_t rows, int64_t queries)
{
    const real scale = h->scale;
    for (int64_t r = 0; r < rows; r++) {
        real *row = p + r * queries;
        for (int64_t i = 0; i < queries; i++) row[i] = vector_exp_bounded(row[i] * scale - lse[i]);
    }
}

/* The gradient of the probabilities p becomes that of the products of q and k: p (dp - sum(p dp)) scale, where sum(p dp)
 * over a query's keys = sum(dy y) = weighted. */
static void slope_block(real *slope, const real *p, const head *h, const real *weighted, int64_t rows, int64_t queries)
{
    const real scale = h->scale;
    for (int64_t r = 0; r < rows; r++) {
        real *to = slope + r * queries;
        const real *from = p + r * queries;
        for (int64_t i = 0; i < queries; i++) to[i] = from[i] * (to[i] - weighted[i]) * scale;
    }
}

enum { QUERIES_ACROSS, DY_ACROSS, DY_DOWN, QUERIES_DOWN }; /* the packed operands of the backward pass */

/* Keys j..j+rows against the queries whose operands are packed: gradients of these keys and values, and of their scores,
 * which are left in `slopes`. */
static void backward_rows(const head *h, const head_slopes *g, real *slopes, const real *lse, const real *weighted,
                          int64_t j, int64_t rows, int64_t queries)
{
    const int64_t at = j * h->stride;
    real(*operand)[ROOM_OPERAND] = thread_room.operand, *p = thread_room.scores;
    CPU_FN(gemm_packed)(p, h->k + at, operand[QUERIES_ACROSS], rows, queries, h->e, h->stride, queries, h->flags);
    prefetch_rows(h->v + at, rows, h->e, h->stride);
    prefetch_rows(h->k + at + rows * h->stride, least(ROWS, h->s - j - rows), h->e, h->stride);
    probability_block(p, h, lse, rows, queries);
    CPU_FN(gemm_packed)
    (g->dv + at, p, operand[DY_DOWN], rows, h->e, queries, queries, h->stride, h->flags | GEMM_ACCUMULATE);
    CPU_FN(gemm_packed)(slopes, h->v + at, operand[DY_ACROSS], rows, queries, h->e, h->stride, queries, h->flags);
    slope_block(slopes, p, h, weighted, rows, queries);
    CPU_FN(gemm_packed)
    (g->dk + at, slopes, operand[QUERIES_DOWN], rows, h->e, queries, queries, h->stride, h->flags | GEMM_ACCUMULATE);
}

/* Queries i..i+queries against all keys. */
static void backward_queries(const head *h, const head_slopes *g, int64_t i, int64_t queries)
{
    const real *q = h->q + i * h->stride, *dy = g->dy + i * h->y_stride, *y = g->y + i * h->y_stride;
    real(*operand)[ROOM_OPERAND] = thread_room.operand, weighted[SIDE];
    for (int64_t r = 0; r < queries; r++) weighted[r] = dot(dy + r * h->y_stride, y + r * h->y_stride, h->e);
    CPU_FN(gemm_pack)(operand[QUERIES_ACROSS], q, queries, h->e, h->stride, h->flags | GEMM_TRANS_B);
    CPU_FN(gemm_pack)(operand[DY_ACROSS], dy, queries, h->e, h->y_stride, h->flags | GEMM_TRANS_B);
    CPU_FN(gemm_pack)(operand[DY_DOWN], dy, h->e, queries, h->y_stride, h->flags);
    CPU_FN(gemm_pack)(operand[QUERIES_DOWN], q, h->e, queries, h->stride, h->flags);
    for (int64_t first = 0; first < h->s; first += SIDE) {
        int64_t keys = least(SIDE, h->s - first);
        for (int64_t j = 0; j < keys; j += ROWS)
            backward_rows(h, g, thread_room.slopes + j * queries, g->lse + i, weighted, first + j,
                          least(ROWS, keys - j), queries);
        CPU_FN(gemm_serial)
        (g->dq + i * h->stride, thread_room.slopes, h->k + first * h->stride, NULL, queries, h->e, keys, queries,
         h->stride, h->stride, h->flags | GEMM_TRANS_A | GEMM_ACCUMULATE);
    }
}

/* The gradients of one head's q, k and v, whose first row starts at dq. */
static void clear_slopes(real *dq, int64_t s, int64_t width, int64_t e)
{
    for (int64_t i = 0; i < 3 * s; i++) memset(dq + i * width, 0, (size_t)e * sizeof *dq);
}

static void attention_bwd(real *dqkv, const real *dy, const real *y, const real *lse, const real *qkv, int64_t n,
                          int64_t s, int64_t k, int64_t e, int flags)
{
    const int64_t part = rows_that_fit(e, SIDE);
#pragma omp parallel for schedule(static)
    for (int64_t pair = 0; pair < n * k; pair++) {
        head h = find_head(qkv, pair, s, k, e, flags & GEMM_BF16);
        int64_t out = pair / k * s * h.y_stride + pair % k * e;
        real *dq = dqkv + (h.q - qkv);
        if (!(flags & GEMM_ACCUMULATE)) clear_slopes(dq, s, h.y_stride, e);
        head_slopes g = {dq, dq + h.y_stride, dq + 2 * h.y_stride, dy + out, y + out, lse + pair * s};
        for (int64_t i = 0; i < s; i += part) backward_queries(&h, &g, i, least(part, s - i));
    }
}

void CPU_FN(cpu_register_attention)(engine *e)
{
    e->attention_fwd = attention_fwd;
    e->attention_bwd = attention_bwd;
}
