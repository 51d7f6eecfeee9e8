/* Attention, one (sample, head) pair a thread at a time: no sum is shared between threads. What stays the same for a whole
 * head (or a large part of it) is packed once, and a block of few rows of scores goes from one product to the next without
 * leaving the caches.
 *
 * Forward: a block holds the scores of some queries (rows) against all keys; a longer row is met in pieces, and what was
 * summed so far is rescaled. Backward: a block holds the scores of some keys (rows) against many queries, so that the
 * gradients of keys and values read it in the order in which it lies.
 *
 * Narrow arrays are made of rows of full width (`wide`), to which blocks add, when all blocks have: of as many rows as there is
 * room for. Only the gradient of the queries of a longer head is rounded once for each such group of keys. */
#include <string.h>

#include "cpu/gemm.h"
#include "cpu/narrow.h"
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

/* One head of one sample: rows of q are `q_stride` apart, those of k and v `kv_stride`, those of y and dy `y_stride`. */
typedef struct head {
    const void *q, *k, *v;
    int64_t q_at, kv_at, y_at; /* where it begins in the arrays */
    int64_t s, keys, e, q_stride, kv_stride, y_stride;
    real scale;
    int flags; /* of all products */
    bool narrow, causal;
} head;

/* Rows first, first + 1 .. of queries, or of keys and values. */
typedef struct span {
    int64_t first, count;
} span;

/* Where the gradients of a span of queries and one of keys and values are added up (NULL: not wanted), and what they come
 * from. */
typedef struct head_slopes {
    real *dq, *dk, *dv;
    int64_t q_stride, kv_stride;
    const void *dy, *y;
    const real *lse;
} head_slopes;

static head find_head(const real *q, const real *k, const real *v, int64_t pair, attention_sizes z, int flags)
{
    const bool narrow = flags & NARROW;
    const int64_t sample = pair / z.k, column = pair % z.k * z.e;
    const int64_t q_at = sample * z.s * z.q_stride + column, kv_at = sample * z.keys * z.kv_stride + column;
    return (head){.q = number_at(q, q_at, narrow),
                  .k = number_at(k, kv_at, narrow),
                  .v = number_at(v, kv_at, narrow),
                  .q_at = q_at,
                  .kv_at = kv_at,
                  .y_at = sample * z.s * z.k * z.e + column,
                  .s = z.s,
                  .keys = z.keys,
                  .e = z.e,
                  .q_stride = z.q_stride,
                  .kv_stride = z.kv_stride,
                  .y_stride = z.k * z.e,
                  .scale = 1 / (real)sqrt((double)z.e),
                  .flags = flags & GEMM_BF16,
                  .narrow = narrow,
                  .causal = z.causal};
}

/* Row i of q or its gradient. */
static void *q_row_of(const head *h, const void *q, int64_t i)
{
    return number_at(q, i * h->q_stride, h->narrow);
}

/* Row i of k or v or their gradients. */
static void *kv_row_of(const head *h, const void *x, int64_t i)
{
    return number_at(x, i * h->kv_stride, h->narrow);
}

/* Row i of y or dy. */
static void *y_row_of(const head *h, const void *y, int64_t i)
{
    return number_at(y, i * h->y_stride, h->narrow);
}

/* The flags of a product with the head's own rows as A, or packed as B. */
static int flags_with(const head *h, int narrow_operand)
{
    return h->narrow ? h->flags | narrow_operand : h->flags;
}

/* How many rows of width E fit the room of a packed operand, whichever way round they are packed. */
static int64_t rows_that_fit(int64_t e, int64_t most)
{
    int64_t padded = (e + PANEL - 1) / PANEL * PANEL;
    return least(most, ROOM_OPERAND / padded / PANEL * PANEL);
}

/* Narrow rows become those of `wide`, which lie one after another, or their sums with these. */
static void write_rows(void *to, int64_t stride, const real *wide, int64_t rows, int64_t width, bool add)
{
    for (int64_t r = 0; r < rows; r++) write_row(number_at(to, r * stride, true), wide + r * width, width, add);
}

/* Asks for rows of q, k or v that will be read soon: a head's part of a row is short, and no machine foresees where the next
 * one lies. */
static void prefetch_rows(const head *h, const void *x, int64_t stride, int64_t rows)
{
    const int64_t line = 64 / (h->narrow ? 2 : (int64_t)sizeof(real));
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < h->e; j += line) __builtin_prefetch(number_at(x, r * stride + j, h->narrow));
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

/* How many of `keys` keys from number `key` on a query sees. */
static int64_t keys_seen(const head *h, int64_t query, int64_t key, int64_t keys)
{
    if (!h->causal) return keys;
    return query < key ? 0 : least(keys, query + 1 - key);
}

/* Scores of the queries of a span against those keys become exponentials relative to the row's top: the greatest score, or
 * the log of the sum over the keys before these. That sum, relative to the top too, is what y so far must be multiplied with;
 * `total` is the sum over all keys up to here. A NaN is found by the sum. */
static void exp_block(real *y, int64_t y_stride, real *lse, real *total, const head *h, span queries, span keys)
{
    for (int64_t r = 0; r < queries.count; r++) {
        const int64_t seen = keys_seen(h, queries.first + r, keys.first, keys.count);
        real *row = thread_room.scores + r * keys.count, before = keys.first == 0 ? -(real)INFINITY : lse[r];
        real top = seen > 0 ? greatest(row, seen) * h->scale : before;
        if (before > top) top = before;
        total[r] = exp_row(row, seen, h->scale, top);
        if (seen < keys.count) memset(row + seen, 0, (size_t)(keys.count - seen) * sizeof *row);
        if (keys.first > 0) {
            real kept = (real)exp((double)(before - top));
            multiply_row(y + r * y_stride, h->e, kept);
            total[r] += kept;
        }
        lse[r] = top + (real)log((double)total[r]);
    }
}

/* Queries against the keys whose operands are packed; rows of y are `y_stride` apart. */
static void forward_rows(real *y, int64_t y_stride, real *lse, const head *h, span queries, span keys)
{
    const int64_t rows = queries.count, next = queries.first + rows;
    real total[ROWS];
    CPU_FN(gemm_packed)
    (thread_room.scores, q_row_of(h, h->q, queries.first), thread_room.operand[0], rows, keys.count, h->e, h->q_stride,
     keys.count, flags_with(h, GEMM_NARROW_A));
    prefetch_rows(h, q_row_of(h, h->q, next), h->q_stride, least(ROWS, h->s - next));
    exp_block(y, y_stride, lse, total, h, queries, keys);
    CPU_FN(gemm_packed)
    (y, thread_room.scores, thread_room.operand[1], rows, h->e, keys.count, keys.count, y_stride,
     h->flags | (keys.first == 0 ? 0 : GEMM_ACCUMULATE));
    for (int64_t r = 0; r < rows; r++) multiply_row(y + r * y_stride, h->e, 1 / total[r]);
}

/* Some queries against all keys; y and lse are those of the first of them. */
static void forward_queries(real *y, int64_t y_stride, real *lse, const head *h, span queries)
{
    const int64_t piece = rows_that_fit(h->e, COLUMNS),
                  all = keys_seen(h, queries.first + queries.count - 1, 0, h->keys);
    const int as_b = flags_with(h, GEMM_NARROW_B);
    for (int64_t j = 0; j < all; j += piece) {
        span keys = {j, least(piece, h->keys - j)};
        CPU_FN(gemm_pack)
        (thread_room.operand[0], kv_row_of(h, h->k, j), keys.count, h->e, h->kv_stride, as_b | GEMM_TRANS_B);
        CPU_FN(gemm_pack)(thread_room.operand[1], kv_row_of(h, h->v, j), h->e, keys.count, h->kv_stride, as_b);
        for (int64_t i = 0; i < queries.count; i += ROWS)
            forward_rows(y + i * y_stride, y_stride, lse + i, h,
                         (span){queries.first + i, least(ROWS, queries.count - i)}, keys);
    }
}

static void forward_head(void *y, real *lse, const head *h)
{
    const int64_t most = h->narrow ? rows_that_fit(h->e, h->s) : h->s;
    for (int64_t i = 0; i < h->s; i += most) {
        span queries = {i, least(most, h->s - i)};
        forward_queries(h->narrow ? thread_room.wide[0] : y, h->narrow ? h->e : h->y_stride, lse + i, h, queries);
        if (h->narrow) write_rows(y_row_of(h, y, i), h->y_stride, thread_room.wide[0], queries.count, h->e, false);
    }
}

static void attention_fwd(real *y, real *lse, const real *q, const real *k, const real *v, attention_sizes z, int flags)
{
#pragma omp parallel for schedule(static)
    for (int64_t pair = 0; pair < z.n * z.k; pair++) {
        head h = find_head(q, k, v, pair, z, flags);
        forward_head(number_at(y, h.y_at, h.narrow), lse + pair * z.s, &h);
    }
}

/* ---- backward ---- */

ONE_KIND real dot(const void *a, const void *b, int64_t count, bool narrow)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; j++) sum += read_number(a, j, narrow) * read_number(b, j, narrow);
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

/* Of a block of keys (rows) and queries, what belongs to queries before the key becomes 0. */
static void hide_queries(real *x, span keys, span queries)
{
    for (int64_t r = 0; r < keys.count; r++) {
        const int64_t hidden = least(keys.first + r - queries.first, queries.count);
        if (hidden > 0) memset(x + r * queries.count, 0, (size_t)hidden * sizeof *x);
    }
}

enum { QUERIES_ACROSS, DY_ACROSS, DY_DOWN, QUERIES_DOWN }; /* the packed operands of the backward pass */

/* Some keys, number j and on of the span that g has, against the queries whose operands are packed: gradients of these keys
 * and values, and of their scores, which are left in `slopes`. */
static void backward_rows(const head *h, const head_slopes *g, real *slopes, const real *weighted, span keys, int64_t j,
                          span queries)
{
    const int64_t rows = keys.count, count = queries.count, at = j * g->kv_stride, next = keys.first + rows;
    const int as_a = flags_with(h, GEMM_NARROW_A);
    real(*operand)[ROOM_OPERAND] = thread_room.operand, *p = thread_room.scores;
    const void *k = kv_row_of(h, h->k, keys.first), *v = kv_row_of(h, h->v, keys.first);
    CPU_FN(gemm_packed)(p, k, operand[QUERIES_ACROSS], rows, count, h->e, h->kv_stride, count, as_a);
    prefetch_rows(h, v, h->kv_stride, rows);
    prefetch_rows(h, kv_row_of(h, h->k, next), h->kv_stride, least(ROWS, h->keys - next));
    probability_block(p, h, g->lse, rows, count);
    if (h->causal) hide_queries(p, keys, queries);
    if (g->dv) {
        CPU_FN(gemm_packed)
        (g->dv + at, p, operand[DY_DOWN], rows, h->e, count, count, g->kv_stride, h->flags | GEMM_ACCUMULATE);
    }
    CPU_FN(gemm_packed)(slopes, v, operand[DY_ACROSS], rows, count, h->e, h->kv_stride, count, as_a);
    slope_block(slopes, p, h, weighted, rows, count);
    if (h->causal) hide_queries(slopes, keys, queries);
    if (g->dk) {
        CPU_FN(gemm_packed)
        (g->dk + at, slopes, operand[QUERIES_DOWN], rows, h->e, count, count, g->kv_stride, h->flags | GEMM_ACCUMULATE);
    }
}

/* Some queries (at most SIDE, whose dq, dy, y and lse are in g) against some keys. */
static void backward_spans(const head *h, const head_slopes *g, span queries, span keys)
{
    const void *q = q_row_of(h, h->q, queries.first);
    const int as_b = flags_with(h, GEMM_NARROW_B);
    real(*operand)[ROOM_OPERAND] = thread_room.operand, weighted[SIDE];
    for (int64_t r = 0; r < queries.count; r++)
        weighted[r] = WITH_KIND(h->narrow, dot, y_row_of(h, g->dy, r), y_row_of(h, g->y, r), h->e);
    CPU_FN(gemm_pack)(operand[QUERIES_ACROSS], q, queries.count, h->e, h->q_stride, as_b | GEMM_TRANS_B);
    CPU_FN(gemm_pack)(operand[DY_ACROSS], g->dy, queries.count, h->e, h->y_stride, as_b | GEMM_TRANS_B);
    CPU_FN(gemm_pack)(operand[DY_DOWN], g->dy, h->e, queries.count, h->y_stride, as_b);
    CPU_FN(gemm_pack)(operand[QUERIES_DOWN], q, h->e, queries.count, h->q_stride, as_b);
    for (int64_t first = 0; first < keys.count; first += SIDE) {
        int64_t count = least(SIDE, keys.count - first);
        for (int64_t j = 0; j < count; j += ROWS)
            backward_rows(h, g, thread_room.slopes + j * queries.count, weighted,
                          (span){keys.first + first + j, least(ROWS, count - j)}, first + j, queries);
        if (g->dq) {
            CPU_FN(gemm_serial)
            (g->dq, thread_room.slopes, kv_row_of(h, h->k, keys.first + first), NULL, queries.count, h->e, count,
             queries.count, h->kv_stride, g->q_stride, as_b | GEMM_TRANS_A | GEMM_ACCUMULATE);
        }
    }
}

/* The same for all queries, part by part; g is that of the first. The gradient of narrow queries is made part by part in the
 * room that g names and then written to narrow_dq, or added. */
static void backward_keys(const head *h, const head_slopes *g, span keys, void *narrow_dq, bool add)
{
    const int64_t part = rows_that_fit(h->e, SIDE);
    for (int64_t i = 0; i < h->s; i += part) {
        span queries = {i, least(part, h->s - i)};
        head_slopes of_part = *g;
        of_part.dy = y_row_of(h, g->dy, i), of_part.y = y_row_of(h, g->y, i), of_part.lse = g->lse + i;
        if (narrow_dq)
            memset(g->dq, 0, (size_t)(queries.count * h->e) * sizeof(real));
        else if (g->dq)
            of_part.dq = g->dq + i * g->q_stride;
        backward_spans(h, &of_part, queries, keys);
        if (narrow_dq) write_rows(q_row_of(h, narrow_dq, i), h->q_stride, g->dq, queries.count, h->e, add);
    }
}

/* Where one head's gradients begin; NULL: not wanted. */
typedef struct head_gradients {
    void *dq, *dk, *dv;
} head_gradients;

static void clear_rows(real *x, int64_t rows, int64_t stride, int64_t e)
{
    for (int64_t i = 0; x && i < rows; i++) memset(x + i * stride, 0, (size_t)e * sizeof *x);
}

static void backward_float_head(head_gradients to, const head *h, head_slopes g, bool add)
{
    g.dq = to.dq, g.dk = to.dk, g.dv = to.dv, g.q_stride = h->q_stride, g.kv_stride = h->kv_stride;
    if (!add) {
        clear_rows(g.dq, h->s, h->q_stride, h->e);
        clear_rows(g.dk, h->keys, h->kv_stride, h->e);
        clear_rows(g.dv, h->keys, h->kv_stride, h->e);
    }
    backward_keys(h, &g, (span){0, h->keys}, NULL, true);
}

/* Full-width rows of keys or values become narrow ones from row j of `to` on; where that is NULL, they are not there. */
static void write_keys(void *to, const real *wide, const head *h, span keys, bool add)
{
    if (to) write_rows(kv_row_of(h, to, keys.first), h->kv_stride, wide, keys.count, h->e, add);
}

static void backward_narrow_head(head_gradients to, const head *h, head_slopes g, bool add)
{
    const int64_t most = rows_that_fit(h->e, h->keys);
    g.dq = to.dq ? thread_room.wide[0] : NULL;
    g.dk = to.dk ? thread_room.wide[1] : NULL;
    g.dv = to.dv ? thread_room.wide[2] : NULL;
    g.q_stride = g.kv_stride = h->e;
    for (int64_t j = 0; j < h->keys; j += most) {
        span keys = {j, least(most, h->keys - j)};
        clear_rows(g.dk, keys.count, h->e, h->e);
        clear_rows(g.dv, keys.count, h->e, h->e);
        backward_keys(h, &g, keys, to.dq, add || j > 0);
        write_keys(to.dk, g.dk, h, keys, add);
        write_keys(to.dv, g.dv, h, keys, add);
    }
}

static void attention_bwd(real *dq, real *dk, real *dv, const real *dy, const real *y, const real *lse, const real *q,
                          const real *k, const real *v, attention_sizes z, int flags)
{
    const bool add = flags & GEMM_ACCUMULATE;
#pragma omp parallel for schedule(static)
    for (int64_t pair = 0; pair < z.n * z.k; pair++) {
        head h = find_head(q, k, v, pair, z, flags);
        head_slopes g = {
            .dy = number_at(dy, h.y_at, h.narrow), .y = number_at(y, h.y_at, h.narrow), .lse = lse + pair * z.s};
        head_gradients to = {dq ? number_at(dq, h.q_at, h.narrow) : NULL, dk ? number_at(dk, h.kv_at, h.narrow) : NULL,
                             dv ? number_at(dv, h.kv_at, h.narrow) : NULL};
        (h.narrow ? backward_narrow_head : backward_float_head)(to, &h, g, add);
    }
}

void CPU_FN(cpu_register_attention)(engine *e)
{
    e->attention_fwd = attention_fwd;
    e->attention_bwd = attention_bwd;
}
