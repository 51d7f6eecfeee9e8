/* Attention, one (sample, head) pair a thread at a time: no sum is shared between threads. Scores live in a block of
 * query rows by key columns that never leaves the caches. As long as a row of scores fits the block (KEYS) its softmax is
 * the plain one; a longer row is met in pieces, and what was summed so far is rescaled whenever the maximum grows. */
#include <string.h>

#include "cpu/gemm.h"
#include "cpu/vector.h"

enum {
    QUERIES = 256, /* most query rows of a block */
    KEYS = 512,    /* most key columns of a block */
    BLOCK = 32768, /* most scores of a block */
};

static _Thread_local _Alignas(64) real scores[BLOCK];
static _Thread_local _Alignas(64) real score_slopes[BLOCK];

/* One head of one sample: rows of q, k, v are `stride` apart, those of y and dy `y_stride`. */
typedef struct head {
    const real *q, *k, *v;
    int64_t s, e, stride, y_stride;
    real scale;
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

static head find_head(const real *qkv, int64_t pair, int64_t s, int64_t k, int64_t e)
{
    int64_t width = k * e, stride = 3 * width;
    const real *q = qkv + pair / k * s * stride + pair % k * e;
    return (head){q, q + width, q + 2 * width, s, e, stride, width, 1 / (real)sqrt((double)e)};
}

static int64_t queries_per_block(int64_t s)
{
    return least(least(s, QUERIES), BLOCK / least(s, KEYS));
}

/* scores[rows, keys] = q k^T */
static void multiply_keys(const head *h, int64_t i, int64_t rows, int64_t j, int64_t keys)
{
    CPU_FN(gemm_serial)
    (scores, h->q + i * h->stride, h->k + j * h->stride, NULL, rows, keys, h->e, h->stride, h->stride, keys,
     GEMM_TRANS_B);
}

/* Scales a row and returns its maximum. NaN is found later, by the sum. */
static real scale_row(real *x, int64_t count, real scale)
{
    real maximum = x[0] * scale;
#pragma omp simd reduction(max : maximum)
    for (int64_t j = 0; j < count; j++) {
        x[j] *= scale;
        maximum = x[j] > maximum ? x[j] : maximum;
    }
    return maximum;
}

/* x = exp(x - maximum); returns the sum. */
static real exp_row(real *x, int64_t count, real maximum)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; j++) {
        x[j] = vector_exp(x[j] - maximum);
        sum += x[j];
    }
    return sum;
}

static void multiply_row(real *x, int64_t count, real factor)
{
    for (int64_t j = 0; j < count; j++) x[j] *= factor;
}

/* Turns a block of scores into exponentials and brings maximum, sum and y, gathered from the blocks of keys before
 * this one, to the new maximum. */
static void exp_block(real *y, const head *h, real *maximum, real *sum, int64_t rows, int64_t keys, bool first)
{
    for (int64_t r = 0; r < rows; r++) {
        real *row = scores + r * keys;
        real grown = scale_row(row, keys, h->scale);
        if (!first && !(grown > maximum[r])) grown = maximum[r];
        real row_sum = exp_row(row, keys, grown);
        if (!first) {
            real shrink = (real)exp((double)(maximum[r] - grown));
            row_sum += sum[r] * shrink;
            multiply_row(y + r * h->y_stride, h->e, shrink);
        }
        maximum[r] = grown;
        sum[r] = row_sum;
    }
}

static void forward_rows(real *y, real *lse, const head *h, int64_t i, int64_t rows)
{
    real maximum[QUERIES], sum[QUERIES];
    for (int64_t j = 0; j < h->s; j += KEYS) {
        int64_t keys = least(KEYS, h->s - j);
        multiply_keys(h, i, rows, j, keys);
        exp_block(y, h, maximum, sum, rows, keys, j == 0);
        CPU_FN(gemm_serial)
        (y, scores, h->v + j * h->stride, NULL, rows, h->e, keys, keys, h->stride, h->y_stride,
         j == 0 ? 0 : GEMM_ACCUMULATE);
    }
    for (int64_t r = 0; r < rows; r++) {
        multiply_row(y + r * h->y_stride, h->e, 1 / sum[r]);
        lse[r] = maximum[r] + (real)log((double)sum[r]);
    }
}

static void attention_fwd(real *y, real *lse, const real *qkv, int64_t n, int64_t s, int64_t k, int64_t e)
{
    if (s <= 0) return;
    int64_t block = queries_per_block(s);
#pragma omp parallel for schedule(static)
    for (int64_t pair = 0; pair < n * k; pair++) {
        head h = find_head(qkv, pair, s, k, e);
        real *out = y + pair / k * s * h.y_stride + pair % k * e;
        for (int64_t i = 0; i < s; i += block)
            forward_rows(out + i * h.y_stride, lse + pair * s + i, &h, i, least(block, s - i));
    }
}

static real dot(const real *a, const real *b, int64_t count)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; j++) sum += a[j] * b[j];
    return sum;
}

/* Products of q and k in `scores` become probabilities, by the log of their row sums. */
static void probability_block(const head *h, const real *lse, int64_t rows, int64_t keys)
{
    for (int64_t r = 0; r < rows; r++) {
        real *row = scores + r * keys, scale = h->scale, log_sum = lse[r];
        for (int64_t j = 0; j < keys; j++) row[j] = vector_exp(row[j] * scale - log_sum);
    }
}

/* score_slopes holds the gradient of the probabilities p and becomes that of the products of q and k:
 * p (dp - sum(p dp)) scale, where sum(p dp) = sum(dy y) = weighted. */
static void slope_block(const head *h, const real *weighted, int64_t rows, int64_t keys)
{
    for (int64_t r = 0; r < rows; r++) {
        const real *row = scores + r * keys;
        real *slope = score_slopes + r * keys, mean = weighted[r], scale = h->scale;
        for (int64_t j = 0; j < keys; j++) slope[j] = row[j] * (slope[j] - mean) * scale;
    }
}

static void backward_rows(const head *h, const head_slopes *g, int64_t i, int64_t rows)
{
    real weighted[QUERIES];
    const real *dy = g->dy + i * h->y_stride, *q = h->q + i * h->stride;
    for (int64_t r = 0; r < rows; r++) weighted[r] = dot(dy + r * h->y_stride, g->y + (i + r) * h->y_stride, h->e);
    for (int64_t j = 0; j < h->s; j += KEYS) {
        int64_t keys = least(KEYS, h->s - j), at = j * h->stride;
        multiply_keys(h, i, rows, j, keys);
        probability_block(h, g->lse + i, rows, keys);
        CPU_FN(gemm_serial)
        (g->dv + at, scores, dy, NULL, keys, h->e, rows, keys, h->y_stride, h->stride, GEMM_TRANS_A | GEMM_ACCUMULATE);
        CPU_FN(gemm_serial)
        (score_slopes, dy, h->v + at, NULL, rows, keys, h->e, h->y_stride, h->stride, keys, GEMM_TRANS_B);
        slope_block(h, weighted, rows, keys);
        CPU_FN(gemm_serial)
        (g->dq + i * h->stride, score_slopes, h->k + at, NULL, rows, h->e, keys, keys, h->stride, h->stride,
         GEMM_ACCUMULATE);
        CPU_FN(gemm_serial)
        (g->dk + at, score_slopes, q, NULL, keys, h->e, rows, keys, h->stride, h->stride,
         GEMM_TRANS_A | GEMM_ACCUMULATE);
    }
}

static void attention_bwd(real *dqkv, const real *dy, const real *y, const real *lse, const real *qkv, int64_t n,
                          int64_t s, int64_t k, int64_t e)
{
    if (s <= 0) return;
    int64_t block = queries_per_block(s);
#pragma omp parallel for schedule(static)
    for (int64_t pair = 0; pair < n * k; pair++) {
        head h = find_head(qkv, pair, s, k, e);
        int64_t out = pair / k * s * h.y_stride + pair % k * e;
        real *dq = dqkv + (h.q - qkv);
        head_slopes g = {dq, dq + h.y_stride, dq + 2 * h.y_stride, dy + out, y + out, lse + pair * s};
        for (int64_t i = 0; i < s; i += block) backward_rows(&h, &g, i, least(block, s - i));
    }
}

void CPU_FN(cpu_register_attention)(engine *e)
{
    e->attention_fwd = attention_fwd;
    e->attention_bwd = attention_bwd;
}
