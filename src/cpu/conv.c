/* What convolutional networks need beside convolution (gemm.c), on images [N,H,W,C]. Channels last: every inner loop runs over
 * the channels of one pixel, which lie together. */
#include <string.h>

#include "cpu/kernel.h"

static inline const real *pixel(const real *x, window_sizes z, int64_t n, int64_t row, int64_t column)
{
    return x + ((n * z.h + row) * z.w + column) * z.c;
}

static inline bool inside(window_sizes z, int64_t row, int64_t column)
{
    return row >= 0 && row < z.h && column >= 0 && column < z.w;
}

/* The index of the window that has `position` at its place k; -1 when there is none. */
static inline int64_t window_with(int64_t position, int64_t k, int64_t stride, int64_t pad, int64_t count)
{
    int64_t start = position + pad - k;
    return start >= 0 && start % stride == 0 && start / stride < count ? start / stride : -1;
}

/* The pixels of a window that lie inside the image. */
typedef struct window_part {
    int64_t n, top, bottom, left, right; /* bottom and right are the first ones outside */
} window_part;

/* The part of window number `window` of all N*OH*OW. */
static inline window_part part_inside(window_sizes z, int64_t window)
{
    int64_t row = window / z.out_w % z.out_h * z.stride - z.pad_h, column = window % z.out_w * z.stride - z.pad_w;
    return (window_part){
        .n = window / (z.out_h * z.out_w),
        .top = row > 0 ? row : 0,
        .bottom = row + z.side_h < z.h ? row + z.side_h : z.h,
        .left = column > 0 ? column : 0,
        .right = column + z.side_w < z.w ? column + z.side_w : z.w,
    };
}

static inline bool replaces(real value, real best)
{
    return value > best || value != value;
}

static void max_pool_fwd(real *y, const real *x, window_sizes z)
{
#pragma omp parallel for schedule(static)
    for (int64_t window = 0; window < z.n * z.out_h * z.out_w; window++) {
        window_part p = part_inside(z, window);
        real *best = y + window * z.c;
        memcpy(best, pixel(x, z, p.n, p.top, p.left), (size_t)z.c * sizeof(real));
        for (int64_t row = p.top; row < p.bottom; row++)
            for (int64_t column = p.left; column < p.right; column++) {
                const real *value = pixel(x, z, p.n, row, column);
                for (int64_t c = 0; c < z.c; c++) best[c] = replaces(value[c], best[c]) ? value[c] : best[c];
            }
    }
}

/* Windows overlap, so one thread has a whole image. */
static void max_pool_bwd(real *dx, const real *dy, const real *x, window_sizes z)
{
    const int64_t windows = z.out_h * z.out_w;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < z.n; n++)
        for (int64_t entry = 0; entry < windows * z.c; entry++) {
            int64_t c = entry % z.c;
            window_part p = part_inside(z, n * windows + entry / z.c);
            const real *best = pixel(x, z, n, p.top, p.left) + c;
            for (int64_t row = p.top; row < p.bottom; row++)
                for (int64_t column = p.left; column < p.right; column++) {
                    const real *value = pixel(x, z, n, row, column) + c;
                    if (replaces(*value, *best)) best = value;
                }
            dx[best - x] += dy[n * windows * z.c + entry];
        }
}

static void average_pool_fwd(real *y, const real *x, window_sizes z)
{
#pragma omp parallel for schedule(static)
    for (int64_t window = 0; window < z.n * z.out_h * z.out_w; window++) {
        window_part p = part_inside(z, window);
        real *sum = y + window * z.c, count = (real)((p.bottom - p.top) * (p.right - p.left));
        memset(sum, 0, (size_t)z.c * sizeof(real));
        for (int64_t row = p.top; row < p.bottom; row++)
            for (int64_t column = p.left; column < p.right; column++) {
                const real *value = pixel(x, z, p.n, row, column);
                for (int64_t c = 0; c < z.c; c++) sum[c] += value[c];
            }
        for (int64_t c = 0; c < z.c; c++) sum[c] /= count;
    }
}

/* A pixel collects from the windows that hold it, window by window in row-major order. */
static void average_pool_bwd(real *dx, const real *dy, window_sizes z)
{
#pragma omp parallel for schedule(static)
    for (int64_t line = 0; line < z.n * z.h; line++)
        for (int64_t column = 0; column < z.w; column++)
            for (int64_t place = z.side_h * z.side_w - 1; place >= 0; place--) {
                int64_t i = window_with(line % z.h, place / z.side_w, z.stride, z.pad_h, z.out_h);
                int64_t j = window_with(column, place % z.side_w, z.stride, z.pad_w, z.out_w);
                if (i < 0 || j < 0) continue;
                int64_t window = (line / z.h * z.out_h + i) * z.out_w + j;
                window_part p = part_inside(z, window);
                const real count = (real)((p.bottom - p.top) * (p.right - p.left)), *from = dy + window * z.c;
                real *to = dx + (line * z.w + column) * z.c;
                for (int64_t c = 0; c < z.c; c++) to[c] += from[c] / count;
            }
}

/* What a window (which begins at row `top`, column `left`, maybe outside) gives, channel by channel. */
static void depthwise_window(real *y, const real *x, const real *w, window_sizes z, window_part p, int64_t top,
                             int64_t left)
{
    for (int64_t row = p.top; row < p.bottom; row++)
        for (int64_t column = p.left; column < p.right; column++) {
            const real *value = pixel(x, z, p.n, row, column);
            const real *weight = w + ((row - top) * z.side_w + column - left) * z.c;
            for (int64_t c = 0; c < z.c; c++) y[c] += value[c] * weight[c];
        }
}

static void depthwise_fwd(real *y, const real *x, const real *w, const real *bias, window_sizes z)
{
    const size_t pixel_bytes = (size_t)z.c * sizeof(real);
#pragma omp parallel for schedule(static)
    for (int64_t window = 0; window < z.n * z.out_h * z.out_w; window++) {
        if (bias)
            memcpy(y + window * z.c, bias, pixel_bytes);
        else
            memset(y + window * z.c, 0, pixel_bytes);
        depthwise_window(y + window * z.c, x, w, z, part_inside(z, window),
                         window / z.out_w % z.out_h * z.stride - z.pad_h, window % z.out_w * z.stride - z.pad_w);
    }
}

/* A pixel collects from the windows that hold it. */
static void depthwise_data_bwd(real *dx, const real *dy, const real *w, window_sizes z)
{
#pragma omp parallel for schedule(static)
    for (int64_t line = 0; line < z.n * z.h; line++)
        for (int64_t column = 0; column < z.w; column++)
            for (int64_t place = 0; place < z.side_h * z.side_w; place++) {
                int64_t i = window_with(line % z.h, place / z.side_w, z.stride, z.pad_h, z.out_h);
                int64_t j = window_with(column, place % z.side_w, z.stride, z.pad_w, z.out_w);
                if (i < 0 || j < 0) continue;
                const real *from = dy + ((line / z.h * z.out_h + i) * z.out_w + j) * z.c, *factor = w + place * z.c;
                real *to = dx + (line * z.w + column) * z.c;
                for (int64_t c = 0; c < z.c; c++) to[c] += from[c] * factor[c];
            }
}

/* A place of the window collects from all windows. */
static void depthwise_weight_bwd(real *dw, const real *dy, const real *x, window_sizes z)
{
#pragma omp parallel for schedule(static)
    for (int64_t place = 0; place < z.side_h * z.side_w; place++)
        for (int64_t window = 0; window < z.n * z.out_h * z.out_w; window++) {
            int64_t row = window / z.out_w % z.out_h * z.stride - z.pad_h + place / z.side_w;
            int64_t column = window % z.out_w * z.stride - z.pad_w + place % z.side_w;
            if (!inside(z, row, column)) continue;
            const real *from = dy + window * z.c, *value = pixel(x, z, window / (z.out_h * z.out_w), row, column);
            real *to = dw + place * z.c;
            for (int64_t c = 0; c < z.c; c++) to[c] += from[c] * value[c];
        }
}

static void depthwise_bwd(real *dx, real *dw, const real *dy, const real *x, const real *w, window_sizes z)
{
    if (dx) depthwise_data_bwd(dx, dy, w, z);
    if (dw) depthwise_weight_bwd(dw, dy, x, z);
}

static void relu_fwd(real *y, const real *x, int64_t count)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

static void relu_bwd(real *dx, const real *dy, const real *x, int64_t count)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) dx[i] += x[i] > 0 ? dy[i] : 0;
}

void CPU_FN(cpu_register_conv)(engine *e)
{
    e->max_pool_fwd = max_pool_fwd;
    e->max_pool_bwd = max_pool_bwd;
    e->average_pool_fwd = average_pool_fwd;
    e->average_pool_bwd = average_pool_bwd;
    e->depthwise_fwd = depthwise_fwd;
    e->depthwise_bwd = depthwise_bwd;
    e->relu_fwd = relu_fwd;
    e->relu_bwd = relu_bwd;
}
