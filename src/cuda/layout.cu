/* Kernels that only move numbers: images to tokens and back, table rows, rows added to a batch, and the mean over
 * tokens. The walks are those of cpu/layout.c; a thread has one number. */
#include "cuda/device.h"

/* ---- patches ---- */

/* One walk serves all four patch kernels: entry (c, pr, pc) of token (r, q) is pixel (c, r*p+pr, q*p+pc). In the token,
 * the embedding convolution wants the channel first, the final layer writes it last. */
typedef struct patch_walk {
    int64_t n, c, h, w, p;
    bool channel_first;
} patch_walk;

/* Where number i of the image lies among the tokens. */
static __device__ int64_t token_index(patch_walk z, int64_t i)
{
    int64_t line = i / z.w, x = i % z.w, y = line % z.h, plane = line / z.h, c = plane % z.c, n = plane / z.c;
    int64_t columns = z.w / z.p, token = y / z.p * columns + x / z.p, pr = y % z.p, pc = x % z.p;
    int64_t inside = z.channel_first ? (c * z.p + pr) * z.p + pc : (pr * z.p + pc) * z.c + c;
    return (n * (z.h / z.p) * columns + token) * z.c * z.p * z.p + inside;
}

/* tokens (=|+=) image; every number has a place of its own, so threads share no output */
static __global__ void image_to_tokens(real *tokens, const real *image, patch_walk z, bool add)
{
    int64_t i = thread_of_grid();
    if (i >= z.n * z.c * z.h * z.w) return;
    int64_t to = token_index(z, i);
    tokens[to] = add ? tokens[to] + image[i] : image[i];
}

/* image (=|+=) tokens */
static __global__ void tokens_to_image(real *image, const real *tokens, patch_walk z, bool add)
{
    int64_t i = thread_of_grid();
    if (i >= z.n * z.c * z.h * z.w) return;
    real value = tokens[token_index(z, i)];
    image[i] = add ? image[i] + value : value;
}

static void move_to_tokens(real *tokens, const real *image, patch_walk z, bool add)
{
    int64_t count = z.n * z.c * z.h * z.w;
    if (count <= 0) return;
    image_to_tokens<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(tokens, image, z, add);
    CUDA_LAUNCHED("image_to_tokens");
}

static void move_to_image(real *image, const real *tokens, patch_walk z, bool add)
{
    int64_t count = z.n * z.c * z.h * z.w;
    if (count <= 0) return;
    tokens_to_image<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(image, tokens, z, add);
    CUDA_LAUNCHED("tokens_to_image");
}

static void patchify_fwd(real *y, const real *x, int64_t n, int64_t c, int64_t h, int64_t w, int64_t p)
{
    move_to_tokens(y, x, patch_walk{n, c, h, w, p, true}, false);
}

static void patchify_bwd(real *dx, const real *dy, int64_t n, int64_t c, int64_t h, int64_t w, int64_t p)
{
    move_to_image(dx, dy, patch_walk{n, c, h, w, p, true}, true);
}

static void unpatchify_fwd(real *y, const real *x, int64_t n, int64_t c, int64_t h, int64_t w, int64_t p)
{
    move_to_image(y, x, patch_walk{n, c, h, w, p, false}, false);
}

static void unpatchify_bwd(real *dx, const real *dy, int64_t n, int64_t c, int64_t h, int64_t w, int64_t p)
{
    move_to_tokens(dx, dy, patch_walk{n, c, h, w, p, false}, true);
}

/* ---- rows ---- */

static __global__ void add_row(real *y, const real *x, const real *r, int64_t count, int64_t r_count)
{
    int64_t i = thread_of_grid();
    if (i < count) y[i] = x[i] + r[i % r_count];
}

static void add_row_fwd(real *y, const real *x, const real *r, int64_t n, int64_t r_count)
{
    int64_t count = n * r_count;
    if (count <= 0) return;
    add_row<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, r, count, r_count);
    CUDA_LAUNCHED("add_row");
}

static __global__ void take_rows(real *y, const real *table, const int32_t *index, int64_t n, int64_t d)
{
    int64_t i = thread_of_grid();
    if (i < n * d) y[i] = table[index[i / d] * d + i % d];
}

static void embedding_fwd(real *y, const real *table, const int32_t *index, int64_t n, int64_t d)
{
    if (n * d <= 0) return;
    take_rows<<<cuda_blocks(n * d, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, table, index, n, d);
    CUDA_LAUNCHED("take_rows");
}

/* Samples of one class share a row, so a thread has a column and walks the batch in order. */
static __global__ void add_rows(real *dtable, const real *dy, const int32_t *index, int64_t n, int64_t d)
{
    int64_t j = thread_of_grid();
    if (j >= d) return;
    for (int64_t i = 0; i < n; i++) dtable[index[i] * d + j] += dy[i * d + j];
}

static void embedding_bwd(real *dtable, const real *dy, const int32_t *index, int64_t n, int64_t d)
{
    const int threads = 32; /* few columns: small blocks spread them over more of the device */
    if (n * d <= 0) return;
    add_rows<<<cuda_blocks(d, threads), threads, 0, cuda_stream>>>(dtable, dy, index, n, d);
    CUDA_LAUNCHED("add_rows");
}

/* ---- mean over tokens ---- */

static __global__ void mean_tokens(real *y, const real *x, int64_t n, int64_t s, int64_t d)
{
    int64_t i = thread_of_grid();
    if (i >= n * d) return;
    const real *from = x + i / d * s * d + i % d;
    real sum = 0;
    for (int64_t t = 0; t < s; t++) sum += from[t * d];
    y[i] = sum / (real)s;
}

static void mean_tokens_fwd(real *y, const real *x, int64_t n, int64_t s, int64_t d)
{
    if (n * d <= 0) return;
    mean_tokens<<<cuda_blocks(n * d, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, n, s, d);
    CUDA_LAUNCHED("mean_tokens");
}

static __global__ void spread_tokens(real *dx, const real *dy, int64_t n, int64_t s, int64_t d)
{
    int64_t i = thread_of_grid();
    if (i < n * s * d) dx[i] += dy[i / (s * d) * d + i % d] / (real)s;
}

static void mean_tokens_bwd(real *dx, const real *dy, int64_t n, int64_t s, int64_t d)
{
    int64_t count = n * s * d;
    if (count <= 0) return;
    spread_tokens<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dx, dy, n, s, d);
    CUDA_LAUNCHED("spread_tokens");
}

void cuda_register_layout(engine *e)
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
