/* What a convolution needs beside the matrix product, on images [N,H,W,C]; the walks are those of cpu/conv.c. Channels
 * last: neighbouring threads have neighbouring channels, which lie together. Where windows overlap, a thread has a
 * pixel and collects from the windows that hold it, in their order, so that threads share no output. */
#include "cuda/device.h"

static __device__ int64_t pixel(window_sizes z, int64_t n, int64_t row, int64_t column)
{
    return ((n * z.h + row) * z.w + column) * z.c;
}

static __device__ bool inside(window_sizes z, int64_t row, int64_t column)
{
    return row >= 0 && row < z.h && column >= 0 && column < z.w;
}

static int64_t image_count(window_sizes z)
{
    return z.n * z.h * z.w * z.c;
}

static int64_t window_count(window_sizes z)
{
    return z.n * z.out_h * z.out_w;
}

/* ---- windows as rows of a matrix ---- */

/* A block has blockDim.y windows; the threads of one share its items, `count` of them. An item is one number or four,
 * and z.c counts items. The items of a window are few enough for 32 bits, in which division is much faster. */
template <typename item>
static __global__ void im2col(item *cols, const item *x, window_sizes z, int64_t windows, unsigned count)
{
    const unsigned channels = (unsigned)z.c, side_w = (unsigned)z.side_w;
    int64_t window = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
    if (window >= windows) return;
    int64_t line = window / z.out_w, n = line / z.out_h;
    int64_t top = line % z.out_h * z.stride - z.pad_h, left = window % z.out_w * z.stride - z.pad_w;
    for (unsigned k = threadIdx.x; k < count; k += blockDim.x) {
        unsigned place = k / channels;
        int64_t row = top + place / side_w, column = left + place % side_w;
        item value = {};
        if (inside(z, row, column)) value = x[pixel(z, n, row, column) + k % channels];
        cols[window * count + k] = value;
    }
}

/* Threads are divided so that few of them are idle: a long window takes as few rounds as it can, of one length each;
 * short ones share a block. */
template <typename item> static void launch_im2col(item *cols, const item *x, window_sizes z)
{
    unsigned count = (unsigned)(z.side_h * z.side_w * z.c), rounds = cuda_blocks(count, CUDA_THREADS);
    unsigned wide = cuda_blocks(count, rounds), high = CUDA_THREADS / wide;
    int64_t windows = window_count(z);
    im2col<<<cuda_blocks(windows, high), dim3(wide, high), 0, cuda_stream>>>(cols, x, z, windows, count);
    CUDA_LAUNCHED("im2col");
}

static void im2col_fwd(real *cols, const real *x, window_sizes z)
{
    if (window_count(z) * z.c <= 0) return;
    if (z.c % 4 == 0 && ((uintptr_t)cols | (uintptr_t)x) % sizeof(float4) == 0) {
        z.c /= 4;
        launch_im2col((float4 *)cols, (const float4 *)x, z);
    } else {
        launch_im2col(cols, x, z);
    }
}

/* The index of the window that has `position` at its place k; -1 when there is none. */
static __device__ int64_t window_with(int64_t position, int64_t k, int64_t stride, int64_t pad, int64_t count)
{
    int64_t start = position + pad - k;
    return start >= 0 && start % stride == 0 && start / stride < count ? start / stride : -1;
}

static __global__ void col2im(real *dx, const real *dcols, window_sizes z, int64_t count)
{
    int64_t number = thread_of_grid();
    if (number >= count) return;
    int64_t place = number / z.c, c = number % z.c, line = place / z.w, column = place % z.w;
    int64_t n = line / z.h, row = line % z.h;
    real sum = dx[number];
    for (int64_t ky = 0; ky < z.side_h; ky++) {
        int64_t i = window_with(row, ky, z.stride, z.pad_h, z.out_h);
        if (i < 0) continue;
        for (int64_t kx = 0; kx < z.side_w; kx++) {
            int64_t j = window_with(column, kx, z.stride, z.pad_w, z.out_w);
            if (j < 0) continue;
            int64_t window = (n * z.out_h + i) * z.out_w + j;
            sum += dcols[((window * z.side_h + ky) * z.side_w + kx) * z.c + c];
        }
    }
    dx[number] = sum;
}

static void im2col_bwd(real *dx, const real *dcols, window_sizes z)
{
    int64_t count = image_count(z);
    if (count <= 0) return;
    col2im<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dx, dcols, z, count);
    CUDA_LAUNCHED("col2im");
}

/* ---- pooling ---- */

/* The pixels of a window that lie inside the image. */
typedef struct window_part {
    int64_t n, top, bottom, left, right; /* bottom and right are the first ones outside */
} window_part;

/* The part of window number `window` of all N*OH*OW. */
static __device__ window_part part_inside(window_sizes z, int64_t window)
{
    int64_t line = window / z.out_w;
    int64_t row = line % z.out_h * z.stride - z.pad_h, column = window % z.out_w * z.stride - z.pad_w;
    window_part p;
    p.n = line / z.out_h;
    p.top = row > 0 ? row : 0;
    p.bottom = row + z.side_h < z.h ? row + z.side_h : z.h;
    p.left = column > 0 ? column : 0;
    p.right = column + z.side_w < z.w ? column + z.side_w : z.w;
    return p;
}

static __device__ bool replaces(real value, real best)
{
    return value > best || value != value;
}

/* Where in x the greatest number of channel c under a window lies: the first of several in row-major order. */
static __device__ int64_t greatest(const real *x, window_sizes z, int64_t window, int64_t c)
{
    window_part p = part_inside(z, window);
    int64_t at = pixel(z, p.n, p.top, p.left) + c;
    real best = x[at];
    for (int64_t row = p.top; row < p.bottom; row++)
        for (int64_t column = p.left; column < p.right; column++) {
            int64_t other = pixel(z, p.n, row, column) + c;
            if (!replaces(x[other], best)) continue;
            at = other;
            best = x[other];
        }
    return at;
}

static __global__ void max_pool(real *y, const real *x, window_sizes z, int64_t count)
{
    int64_t i = thread_of_grid();
    if (i < count) y[i] = x[greatest(x, z, i / z.c, i % z.c)];
}

static void max_pool_fwd(real *y, const real *x, window_sizes z)
{
    int64_t count = window_count(z) * z.c;
    if (count <= 0) return;
    max_pool<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, z, count);
    CUDA_LAUNCHED("max_pool");
}

/* Of the windows in one direction, first_with to last_with hold `position`; none does when the first is greater. */
static __device__ int64_t first_with(int64_t position, int64_t side, int64_t stride, int64_t pad)
{
    int64_t start = position + pad - side + 1;
    return start > 0 ? (start + stride - 1) / stride : 0;
}

static __device__ int64_t last_with(int64_t position, int64_t stride, int64_t pad, int64_t count)
{
    int64_t last = (position + pad) / stride;
    return last < count ? last : count - 1;
}

static __global__ void max_pool_back(real *dx, const real *dy, const real *x, window_sizes z, int64_t count)
{
    int64_t number = thread_of_grid();
    if (number >= count) return;
    int64_t place = number / z.c, c = number % z.c, line = place / z.w, column = place % z.w;
    int64_t n = line / z.h, row = line % z.h;
    int64_t last_i = last_with(row, z.stride, z.pad_h, z.out_h);
    int64_t first_j = first_with(column, z.side_w, z.stride, z.pad_w);
    int64_t last_j = last_with(column, z.stride, z.pad_w, z.out_w);
    real sum = dx[number];
    for (int64_t i = first_with(row, z.side_h, z.stride, z.pad_h); i <= last_i; i++)
        for (int64_t j = first_j; j <= last_j; j++) {
            int64_t window = (n * z.out_h + i) * z.out_w + j;
            if (greatest(x, z, window, c) == number) sum += dy[window * z.c + c];
        }
    dx[number] = sum;
}

static void max_pool_bwd(real *dx, const real *dy, const real *x, window_sizes z)
{
    int64_t count = image_count(z);
    if (count <= 0) return;
    max_pool_back<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dx, dy, x, z, count);
    CUDA_LAUNCHED("max_pool_back");
}

static __global__ void average_pool(real *y, const real *x, window_sizes z, int64_t count)
{
    int64_t i = thread_of_grid();
    if (i >= count) return;
    window_part p = part_inside(z, i / z.c);
    const real *channel = x + i % z.c;
    real sum = 0;
    for (int64_t row = p.top; row < p.bottom; row++)
        for (int64_t column = p.left; column < p.right; column++) sum += channel[pixel(z, p.n, row, column)];
    y[i] = sum / (real)((p.bottom - p.top) * (p.right - p.left));
}

static void average_pool_fwd(real *y, const real *x, window_sizes z)
{
    int64_t count = window_count(z) * z.c;
    if (count <= 0) return;
    average_pool<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, z, count);
    CUDA_LAUNCHED("average_pool");
}

static __global__ void average_pool_back(real *dx, const real *dy, window_sizes z, int64_t count)
{
    int64_t number = thread_of_grid();
    if (number >= count) return;
    int64_t place = number / z.c, c = number % z.c, line = place / z.w, column = place % z.w;
    int64_t n = line / z.h, row = line % z.h;
    int64_t last_i = last_with(row, z.stride, z.pad_h, z.out_h);
    int64_t first_j = first_with(column, z.side_w, z.stride, z.pad_w);
    int64_t last_j = last_with(column, z.stride, z.pad_w, z.out_w);
    real sum = dx[number];
    for (int64_t i = first_with(row, z.side_h, z.stride, z.pad_h); i <= last_i; i++)
        for (int64_t j = first_j; j <= last_j; j++) {
            int64_t window = (n * z.out_h + i) * z.out_w + j;
            window_part p = part_inside(z, window);
            sum += dy[window * z.c + c] / (real)((p.bottom - p.top) * (p.right - p.left));
        }
    dx[number] = sum;
}

static void average_pool_bwd(real *dx, const real *dy, window_sizes z)
{
    int64_t count = image_count(z);
    if (count <= 0) return;
    average_pool_back<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dx, dy, z, count);
    CUDA_LAUNCHED("average_pool_back");
}

static __global__ void depthwise(real *y, const real *x, const real *w, const real *bias, window_sizes z, int64_t count)
{
    int64_t i = thread_of_grid();
    if (i >= count) return;
    int64_t window = i / z.c, c = i % z.c;
    int64_t top = window / z.out_w % z.out_h * z.stride - z.pad_h, left = window % z.out_w * z.stride - z.pad_w;
    window_part p = part_inside(z, window);
    real sum = bias ? bias[c] : 0;
    for (int64_t row = p.top; row < p.bottom; row++)
        for (int64_t column = p.left; column < p.right; column++)
            sum += x[pixel(z, p.n, row, column) + c] * w[((row - top) * z.side_w + column - left) * z.c + c];
    y[i] = sum;
}

static void depthwise_fwd(real *y, const real *x, const real *w, const real *bias, window_sizes z)
{
    int64_t count = window_count(z) * z.c;
    if (count <= 0) return;
    depthwise<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, w, bias, z, count);
    CUDA_LAUNCHED("depthwise");
}

static __global__ void depthwise_data_back(real *dx, const real *dy, const real *w, window_sizes z, int64_t count)
{
    int64_t number = thread_of_grid();
    if (number >= count) return;
    int64_t place = number / z.c, c = number % z.c, line = place / z.w, column = place % z.w;
    int64_t n = line / z.h, row = line % z.h;
    real sum = dx[number];
    for (int64_t k = 0; k < z.side_h * z.side_w; k++) {
        int64_t i = window_with(row, k / z.side_w, z.stride, z.pad_h, z.out_h);
        int64_t j = window_with(column, k % z.side_w, z.stride, z.pad_w, z.out_w);
        if (i >= 0 && j >= 0) sum += dy[((n * z.out_h + i) * z.out_w + j) * z.c + c] * w[k * z.c + c];
    }
    dx[number] = sum;
}

/* A thread has one weight and walks all windows. */
static __global__ void depthwise_weight_back(real *dw, const real *dy, const real *x, window_sizes z, int64_t count)
{
    int64_t number = thread_of_grid();
    if (number >= count) return;
    int64_t place = number / z.c, c = number % z.c;
    real sum = dw[number];
    for (int64_t window = 0; window < z.n * z.out_h * z.out_w; window++) {
        int64_t row = window / z.out_w % z.out_h * z.stride - z.pad_h + place / z.side_w;
        int64_t column = window % z.out_w * z.stride - z.pad_w + place % z.side_w;
        if (inside(z, row, column))
            sum += dy[window * z.c + c] * x[pixel(z, window / (z.out_h * z.out_w), row, column) + c];
    }
    dw[number] = sum;
}

static void depthwise_bwd(real *dx, real *dw, const real *dy, const real *x, const real *w, window_sizes z)
{
    int64_t pixels = image_count(z), weights = z.side_h * z.side_w * z.c;
    if (pixels <= 0) return;
    if (dx) {
        depthwise_data_back<<<cuda_blocks(pixels, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dx, dy, w, z, pixels);
        CUDA_LAUNCHED("depthwise_data_back");
    }
    if (dw) {
        depthwise_weight_back<<<cuda_blocks(weights, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dw, dy, x, z,
                                                                                                    weights);
        CUDA_LAUNCHED("depthwise_weight_back");
    }
}

/* ---- rectifier ---- */

static __global__ void relu(real *y, const real *x, int64_t count)
{
    int64_t i = thread_of_grid();
    if (i < count) y[i] = x[i] < 0 ? 0 : x[i]; /* so that NaN stays */
}

static void relu_fwd(real *y, const real *x, int64_t count)
{
    if (count <= 0) return;
    relu<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, count);
    CUDA_LAUNCHED("relu");
}

static __global__ void relu_back(real *dx, const real *dy, const real *x, int64_t count)
{
    int64_t i = thread_of_grid();
    if (i < count) dx[i] += x[i] > 0 ? dy[i] : 0;
}

static void relu_bwd(real *dx, const real *dy, const real *x, int64_t count)
{
    if (count <= 0) return;
    relu_back<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dx, dy, x, count);
    CUDA_LAUNCHED("relu_back");
}

void cuda_register_conv(engine *e)
{
    e->im2col_fwd = im2col_fwd;
    e->im2col_bwd = im2col_bwd;
    e->max_pool_fwd = max_pool_fwd;
    e->max_pool_bwd = max_pool_bwd;
    e->average_pool_fwd = average_pool_fwd;
    e->average_pool_bwd = average_pool_bwd;
    e->depthwise_fwd = depthwise_fwd;
    e->depthwise_bwd = depthwise_bwd;
    e->relu_fwd = relu_fwd;
    e->relu_bwd = relu_bwd;
}
