/* Kernels that only move numbers: images to tokens and back, table rows, rows added to a batch. */
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
}
