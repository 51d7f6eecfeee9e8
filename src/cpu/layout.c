/* Kernels that only move numbers: images to tokens and back, images of other sizes, table rows, rows added to a batch, rows
 * side by side and parts of them. */
#include <string.h>

#include "cpu/kernel.h"

/* One walk serves all four patch kernels: entry (c, pr, pc) of token (r, q) is pixel (c, r*p+pr, q*p+pc). In the token,
 * the embedding convolution wants the channel first, the final layer writes it last (DiT's unpatchify). */
typedef struct patch_walk {
    int64_t n, c, h, w, p;
    bool channel_first;
} patch_walk;

static inline int64_t patch_token_index(patch_walk z, int64_t n, int64_t c, int64_t y, int64_t x)
{
    int64_t columns = z.w / z.p, token = y / z.p * columns + x / z.p, pr = y % z.p, pc = x % z.p;
    int64_t inside = z.channel_first ? (c * z.p + pr) * z.p + pc : (pr * z.p + pc) * z.c + c;
    return (n * (z.h / z.p) * columns + token) * z.c * z.p * z.p + inside;
}

/* tokens (=|+=) image, or image (=|+=) tokens */
static void patch_move(real *tokens, real *image, patch_walk z, bool to_tokens, bool add)
{
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < z.n * z.c * z.h; row++) {
        int64_t n = row / (z.c * z.h), c = row / z.h % z.c, y = row % z.h;
        for (int64_t x = 0; x < z.w; x++) {
            real *t = &tokens[patch_token_index(z, n, c, y, x)], *i = &image[row * z.w + x];
            real *to = to_tokens ? t : i;
            real value = to_tokens ? *i : *t;
            *to = add ? *to + value : value;
        }
    }
}

static void patchify_fwd(real *y, const real *x, int64_t n, int64_t c, int64_t h, int64_t w, int64_t p)
{
    patch_move(y, (real *)x, (patch_walk){n, c, h, w, p, true}, true, false);
}

static void patchify_bwd(real *dx, const real *dy, int64_t n, int64_t c, int64_t h, int64_t w, int64_t p)
{
    patch_move((real *)dy, dx, (patch_walk){n, c, h, w, p, true}, false, true);
}

static void unpatchify_fwd(real *y, const real *x, int64_t n, int64_t c, int64_t h, int64_t w, int64_t p)
{
    patch_move((real *)x, y, (patch_walk){n, c, h, w, p, false}, false, false);
}

static void unpatchify_bwd(real *dx, const real *dy, int64_t n, int64_t c, int64_t h, int64_t w, int64_t p)
{
    patch_move(dx, (real *)dy, (patch_walk){n, c, h, w, p, false}, true, true);
}

static void add_row_fwd(real *y, const real *x, const real *r, int64_t n, int64_t r_count)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < r_count; j++) y[i * r_count + j] = x[i * r_count + j] + r[j];
}

static void embedding_fwd(real *y, const real *table, const int32_t *index, int64_t n, int64_t d)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < d; j++) y[i * d + j] = table[index[i] * d + j];
}

/* Samples of one class share a row, so the batch is walked in order by one thread. */
static void embedding_bwd(real *dtable, const real *dy, const int32_t *index, int64_t n, int64_t d)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < d; j++) dtable[index[i] * d + j] += dy[i * d + j];
}

static void mean_tokens_fwd(real *y, const real *x, int64_t n, int64_t s, int64_t d)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        real *out = y + i * d;
        for (int64_t j = 0; j < d; j++) out[j] = 0;
        for (int64_t t = 0; t < s; t++)
            for (int64_t j = 0; j < d; j++) out[j] += x[(i * s + t) * d + j];
        for (int64_t j = 0; j < d; j++) out[j] /= (real)s;
    }
}

static void mean_tokens_bwd(real *dx, const real *dy, int64_t n, int64_t s, int64_t d)
{
#pragma omp parallel for schedule(static)
    for (int64_t token = 0; token < n * s; token++)
        for (int64_t j = 0; j < d; j++) dx[token * d + j] += dy[token / s * d + j] / (real)s;
}

static void upsample_fwd(real *y, const real *x, int64_t n, int64_t h, int64_t w, int64_t c)
{
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < n * 2 * h; row++)
        for (int64_t column = 0; column < 2 * w; column++)
            memcpy(y + (row * 2 * w + column) * c, x + (row / 2 * w + column / 2) * c, (size_t)c * sizeof(real));
}

static void upsample_bwd(real *dx, const real *dy, int64_t n, int64_t h, int64_t w, int64_t c)
{
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < n * h; row++)
        for (int64_t column = 0; column < w; column++) {
            const real *upper = dy + (2 * row * 2 * w + 2 * column) * c, *lower = upper + 2 * w * c;
            real *to = dx + (row * w + column) * c;
            for (int64_t i = 0; i < c; i++) to[i] += upper[i] + upper[c + i] + (lower[i] + lower[c + i]);
        }
}

static void pad_end_fwd(real *y, const real *x, int64_t n, int64_t h, int64_t w, int64_t c)
{
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < n * (h + 1); row++) {
        int64_t image = row / (h + 1), line = row % (h + 1), kept = line < h ? w * c : 0;
        real *out = y + row * (w + 1) * c;
        if (kept) memcpy(out, x + (image * h + line) * w * c, (size_t)kept * sizeof(real));
        memset(out + kept, 0, (size_t)((w + 1) * c - kept) * sizeof(real));
    }
}

static void pad_end_bwd(real *dx, const real *dy, int64_t n, int64_t h, int64_t w, int64_t c)
{
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < n * h; row++) {
        const real *from = dy + (row / h * (h + 1) + row % h) * (w + 1) * c;
        for (int64_t i = 0; i < w * c; i++) dx[row * w * c + i] += from[i];
    }
}

static void concat_fwd(real *y, const real *a, const real *b, int64_t m, int64_t a_count, int64_t b_count)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < m; i++) {
        real *row = y + i * (a_count + b_count);
        memcpy(row, a + i * a_count, (size_t)a_count * sizeof(real));
        memcpy(row + a_count, b + i * b_count, (size_t)b_count * sizeof(real));
    }
}

static void concat_bwd(real *da, real *db, const real *dy, int64_t m, int64_t a_count, int64_t b_count)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < m; i++) {
        const real *row = dy + i * (a_count + b_count);
        for (int64_t j = 0; da && j < a_count; j++) da[i * a_count + j] += row[j];
        for (int64_t j = 0; db && j < b_count; j++) db[i * b_count + j] += row[a_count + j];
    }
}

static void slice_fwd(real *y, const real *x, int64_t m, int64_t x_count, int64_t first, int64_t a_count)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < m; i++) memcpy(y + i * a_count, x + i * x_count + first, (size_t)a_count * sizeof(real));
}

static void slice_bwd(real *dx, const real *dy, int64_t m, int64_t x_count, int64_t first, int64_t a_count)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < a_count; j++) dx[i * x_count + first + j] += dy[i * a_count + j];
}

void CPU_FN(cpu_register_layout)(engine *e)
{
    e->patchify_fwd = patchify_fwd;
    e->patchify_bwd = patchify_bwd;
    e->unpatchify_fwd = unpatchify_fwd;
    e->unpatchify_bwd = unpatchify_bwd;
    e->add_row_fwd = add_row_fwd;
    e->embedding_fwd = embedding_fwd;
    e->embedding_bwd = embedding_bwd;
    e->mean_tokens_fwd = mean_tokens_fwd;
    e->mean_tokens_bwd = mean_tokens_bwd;
    e->upsample_fwd = upsample_fwd;
    e->upsample_bwd = upsample_bwd;
    e->pad_end_fwd = pad_end_fwd;
    e->pad_end_bwd = pad_end_bwd;
    e->concat_fwd = concat_fwd;
    e->concat_bwd = concat_bwd;
    e->slice_fwd = slice_fwd;
    e->slice_bwd = slice_bwd;
}
