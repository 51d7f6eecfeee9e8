/* Convolution and what convolutional networks need beside it, on images [N,H,W,C]; the walks are those of cpu/conv.c.
 * Channels last: neighbouring threads have neighbouring channels, which lie together. Where windows overlap, a thread has a
 * pixel and collects from the windows that hold it, in their order, so that threads share no output.
 *
 * With the windows of x as rows of a matrix, a convolution is a linear map: y = cols w^T + bias, dcols = dy w, dw = dy^T cols,
 * and dx collects dcols back into the image. The rows of a few images at a time are made in room: kept, they would be side_h *
 * side_w times the image. */
#include "cuda/pack.cuh"

enum { COLS_MAX = 1 << 20 }; /* numbers of room for rows, unless one image alone needs more */

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
static __global__ void copy_windows(item *cols, const item *x, window_sizes z, int64_t windows, unsigned count)
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
    copy_windows<<<cuda_blocks(windows, high), dim3(wide, high), 0, cuda_stream>>>(cols, x, z, windows, count);
    CUDA_LAUNCHED("im2col");
}

/* cols[N*OH*OW, side_h*side_w*C] (channel fastest): the pixels of x under each window, 0 outside the image. Both are narrow or none. */
static void im2col(void *cols, const void *x, window_sizes z, bool narrow)
{
    const int64_t each = sizeof(float4) / (narrow ? sizeof(bf16) : sizeof(real));
    if (window_count(z) * z.c <= 0) return;
    if (z.c % each == 0 && ((uintptr_t)cols | (uintptr_t)x) % sizeof(float4) == 0) {
        z.c /= each;
        launch_im2col((float4 *)cols, (const float4 *)x, z);
    } else if (narrow) {
        launch_im2col((uint16_t *)cols, (const uint16_t *)x, z);
    } else {
        launch_im2col((real *)cols, (const real *)x, z);
    }
}

/* The index of the window that has `position` at its place k; -1 when there is none. */
static __device__ int64_t window_with(int64_t position, int64_t k, int64_t stride, int64_t pad, int64_t count)
{
    int64_t start = position + pad - k;
    return start >= 0 && start % stride == 0 && start / stride < count ? start / stride : -1;
}

template <typename number>
static __global__ void collect_windows(number *dx, const real *dcols, window_sizes z, int64_t count, bool add)
{
    int64_t at = thread_of_grid();
    if (at >= count) return;
    int64_t place = at / z.c, c = at % z.c, line = place / z.w, column = place % z.w;
    int64_t n = line / z.h, row = line % z.h;
    pack<1> sum = {};
    if (add) sum = load<1>(dx + at);
    for (int64_t ky = 0; ky < z.side_h; ky++) {
        int64_t i = window_with(row, ky, z.stride, z.pad_h, z.out_h);
        if (i < 0) continue;
        for (int64_t kx = 0; kx < z.side_w; kx++) {
            int64_t j = window_with(column, kx, z.stride, z.pad_w, z.out_w);
            if (j < 0) continue;
            int64_t window = (n * z.out_h + i) * z.out_w + j;
            sum.v[0] += dcols[((window * z.side_h + ky) * z.side_w + kx) * z.c + c];
        }
    }
    store<1>(dx + at, sum);
}

static void col2im(void *dx, const real *dcols, window_sizes z, bool add, bool narrow)
{
    const int64_t count = image_count(z);
    if (count <= 0) return;
    const unsigned blocks = cuda_blocks(count, CUDA_THREADS);
    if (narrow)
        collect_windows<<<blocks, CUDA_THREADS, 0, cuda_stream>>>((bf16 *)dx, dcols, z, count, add);
    else
        collect_windows<<<blocks, CUDA_THREADS, 0, cuda_stream>>>((real *)dx, dcols, z, count, add);
    CUDA_LAUNCHED("collect_windows");
}

/* ---- convolution ---- */

/* Windows that are the pixels themselves. */
static bool is_plain(window_sizes z)
{
    return z.side_h == 1 && z.side_w == 1 && z.stride == 1 && z.pad_h == 0 && z.pad_w == 0;
}

/* Some images and the matrix of their windows. */
typedef struct chunk {
    window_sizes z;
    int64_t in, out; /* where they start in x and y */
    int64_t rows, k; /* shape of the matrix */
} chunk;

/* Splits images from `first` on; false at the end. `o` is the number of channels of y. */
static bool next_chunk(chunk *part, int64_t *first, window_sizes z, int64_t o)
{
    const int64_t image = z.out_h * z.out_w * z.side_h * z.side_w * z.c, left = z.n - *first;
    const int64_t most = is_plain(z) ? z.n : image < COLS_MAX ? COLS_MAX / (image > 0 ? image : 1) : 1;
    if (left <= 0) return false;
    part->z = z;
    part->z.n = most < left ? most : left;
    part->in = *first * z.h * z.w * z.c;
    part->out = *first * z.out_h * z.out_w * o;
    part->rows = part->z.n * z.out_h * z.out_w;
    part->k = z.side_h * z.side_w * z.c;
    *first += part->z.n;
    return true;
}

static real *number_at(const real *x, int64_t index, bool narrow)
{
    return narrow ? (real *)((bf16 *)x + index) : (real *)x + index;
}

/* The matrix of a chunk's windows: made in room, or the pixels; NULL after a failure. */
static const real *windows_of(const real *x, const chunk *part, bool narrow)
{
    const real *pixels = number_at(x, part->in, narrow);
    if (is_plain(part->z)) return pixels;
    void *cols = cuda_windows_room((size_t)(part->rows * part->k) * (narrow ? sizeof(bf16) : sizeof(real)));
    if (cols) im2col(cols, pixels, part->z, narrow);
    return (const real *)cols;
}

static void conv_fwd(real *y, const real *x, const real *w, const real *bias, window_sizes z, int64_t o, int flags)
{
    chunk part;
    for (int64_t first = 0; next_chunk(&part, &first, z, o);) {
        const real *rows = windows_of(x, &part, flags & GEMM_NARROW_A);
        if (!rows) return;
        cuda_gemm(number_at(y, part.out, flags & GEMM_NARROW_C), rows, w, bias, part.rows, o, part.k, part.k, part.k, o,
                  flags | GEMM_TRANS_B);
    }
}

static void conv_bwd_x(real *dx, const real *dy, const real *w, window_sizes z, int64_t o, int flags)
{
    const bool plain = is_plain(z), narrow = flags & GEMM_NARROW_C, add = flags & GEMM_ACCUMULATE;
    chunk part;
    for (int64_t first = 0; next_chunk(&part, &first, z, o);) {
        real *images = number_at(dx, part.in, narrow), *rows = images;
        if (!plain) {
            rows = (real *)cuda_windows_room((size_t)(part.rows * part.k) * sizeof *rows);
            flags &= ~(GEMM_ACCUMULATE | GEMM_NARROW_C);
        }
        if (!rows) return;
        cuda_gemm(rows, number_at(dy, part.out, flags & GEMM_NARROW_A), w, NULL, part.rows, part.k, o, o, part.k,
                  part.k, flags);
        if (!plain) col2im(images, rows, part.z, add, narrow);
    }
}

static void conv_bwd_w(real *dw, const real *dy, const real *x, window_sizes z, int64_t o, int flags)
{
    chunk part;
    for (int64_t first = 0; next_chunk(&part, &first, z, o); flags |= GEMM_ACCUMULATE) {
        const real *rows = windows_of(x, &part, flags & GEMM_NARROW_B);
        if (!rows) return;
        cuda_gemm(dw, number_at(dy, part.out, flags & GEMM_NARROW_A), rows, NULL, o, part.k, part.rows, o, part.k,
                  part.k, flags | GEMM_TRANS_A);
    }
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
    e->conv_fwd = conv_fwd;
    e->conv_bwd_x = conv_bwd_x;
    e->conv_bwd_w = conv_bwd_w;
    e->max_pool_fwd = max_pool_fwd;
    e->max_pool_bwd = max_pool_bwd;
    e->average_pool_fwd = average_pool_fwd;
    e->average_pool_bwd = average_pool_bwd;
    e->depthwise_fwd = depthwise_fwd;
    e->depthwise_bwd = depthwise_bwd;
    e->relu_fwd = relu_fwd;
    e->relu_bwd = relu_bwd;
}
