/* Kernels that only move numbers: images to tokens and back, table rows, rows added to a batch, the mean over tokens, images
 * of other sizes, rows side by side and parts of them. The walks are those of cpu/layout.c; a thread has one number. */
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

/* ---- sizes of images ---- */

/* A thread has a number of x and writes it four times. */
static __global__ void upsample(real *y, const real *x, int64_t count, int64_t w, int64_t c)
{
    int64_t i = thread_of_grid();
    if (i >= count) return;
    int64_t line = i / (w * c), j = i % (w * c), column = j / c, length = 2 * w * c;
    real value = x[i], *to = y + 2 * line * length + column * c + j; /* j is column * c and the channel */
    to[0] = to[c] = value;
    to[length] = to[length + c] = value;
}

static void upsample_fwd(real *y, const real *x, int64_t n, int64_t h, int64_t w, int64_t c)
{
    int64_t count = n * h * w * c;
    if (count <= 0) return;
    upsample<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, count, w, c);
    CUDA_LAUNCHED("upsample");
}

static __global__ void upsample_back(real *dx, const real *dy, int64_t count, int64_t w, int64_t c)
{
    int64_t i = thread_of_grid();
    if (i >= count) return;
    int64_t line = i / (w * c), j = i % (w * c), column = j / c, length = 2 * w * c;
    const real *from = dy + 2 * line * length + column * c + j;
    dx[i] += from[0] + from[c] + (from[length] + from[length + c]);
}

static void upsample_bwd(real *dx, const real *dy, int64_t n, int64_t h, int64_t w, int64_t c)
{
    int64_t count = n * h * w * c;
    if (count <= 0) return;
    upsample_back<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dx, dy, count, w, c);
    CUDA_LAUNCHED("upsample_back");
}

static __global__ void pad_end(real *y, const real *x, int64_t count, int64_t h, int64_t w, int64_t c)
{
    int64_t i = thread_of_grid(), length = (w + 1) * c;
    if (i >= count) return;
    int64_t row = i / length, j = i % length, image = row / (h + 1), line = row % (h + 1);
    y[i] = line < h && j < w * c ? x[(image * h + line) * w * c + j] : 0;
}

static void pad_end_fwd(real *y, const real *x, int64_t n, int64_t h, int64_t w, int64_t c)
{
    int64_t count = n * (h + 1) * (w + 1) * c;
    if (count <= 0) return;
    pad_end<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, count, h, w, c);
    CUDA_LAUNCHED("pad_end");
}

static __global__ void pad_end_back(real *dx, const real *dy, int64_t count, int64_t h, int64_t w, int64_t c)
{
    int64_t i = thread_of_grid(), row = i / (w * c);
    if (i < count) dx[i] += dy[(row / h * (h + 1) + row % h) * (w + 1) * c + i % (w * c)];
}

static void pad_end_bwd(real *dx, const real *dy, int64_t n, int64_t h, int64_t w, int64_t c)
{
    int64_t count = n * h * w * c;
    if (count <= 0) return;
    pad_end_back<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dx, dy, count, h, w, c);
    CUDA_LAUNCHED("pad_end_back");
}

/* ---- rows side by side ---- */

static __global__ void concat(real *y, const real *a, const real *b, int64_t m, int64_t a_count, int64_t b_count)
{
    int64_t i = thread_of_grid(), width = a_count + b_count;
    if (i >= m * width) return;
    int64_t row = i / width, j = i % width;
    y[i] = j < a_count ? a[row * a_count + j] : b[row * b_count + j - a_count];
}

static void concat_fwd(real *y, const real *a, const real *b, int64_t m, int64_t a_count, int64_t b_count)
{
    int64_t count = m * (a_count + b_count);
    if (count <= 0) return;
    concat<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, a, b, m, a_count, b_count);
    CUDA_LAUNCHED("concat");
}

static __global__ void split(real *da, real *db, const real *dy, int64_t m, int64_t a_count, int64_t b_count)
{
    int64_t i = thread_of_grid(), width = a_count + b_count;
    if (i >= m * width) return;
    int64_t row = i / width, j = i % width;
    if (da && j < a_count) da[row * a_count + j] += dy[i];
    if (db && j >= a_count) db[row * b_count + j - a_count] += dy[i];
}

static void concat_bwd(real *da, real *db, const real *dy, int64_t m, int64_t a_count, int64_t b_count)
{
    int64_t count = m * (a_count + b_count);
    if (count <= 0) return;
    split<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(da, db, dy, m, a_count, b_count);
    CUDA_LAUNCHED("split");
}

static __global__ void slice(real *y, const real *x, int64_t count, int64_t x_count, int64_t first, int64_t a_count)
{
    int64_t i = thread_of_grid();
    if (i < count) y[i] = x[i / a_count * x_count + first + i % a_count];
}

static void slice_fwd(real *y, const real *x, int64_t m, int64_t x_count, int64_t first, int64_t a_count)
{
    int64_t count = m * a_count;
    if (count <= 0) return;
    slice<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, count, x_count, first, a_count);
    CUDA_LAUNCHED("slice");
}

static __global__ void slice_back(real *dx, const real *dy, int64_t count, int64_t x_count, int64_t first,
                                  int64_t a_count)
{
    int64_t i = thread_of_grid();
    if (i < count) dx[i / a_count * x_count + first + i % a_count] += dy[i];
}

static void slice_bwd(real *dx, const real *dy, int64_t m, int64_t x_count, int64_t first, int64_t a_count)
{
    int64_t count = m * a_count;
    if (count <= 0) return;
    slice_back<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dx, dy, count, x_count, first,
                                                                                   a_count);
    CUDA_LAUNCHED("slice_back");
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
    e->upsample_fwd = upsample_fwd;
    e->upsample_bwd = upsample_bwd;
    e->pad_end_fwd = pad_end_fwd;
    e->pad_end_bwd = pad_end_bwd;
    e->concat_fwd = concat_fwd;
    e->concat_bwd = concat_bwd;
    e->slice_fwd = slice_fwd;
    e->slice_bwd = slice_bwd;
}
