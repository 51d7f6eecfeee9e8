/* What networks that stay frozen need beside the kernels of the trained ones: forward only, on images channels last.
 * The formulas are those of cpu/frozen.c. */
#include <math.h>

#include "cuda/device.h"

/* ---- group norm ---- */

enum { CHUNK = 64 }; /* positions that one thread sums */

/* x: sum, y: sum of squares. In double, so that one pass is exact enough for means far from zero. */
typedef double2 moments;

static __device__ moments together(moments a, moments b)
{
    return make_double2(a.x + b.x, a.y + b.y);
}

/* part [N,chunks,C]: the sums of each channel over the positions of each chunk. Threads side by side have channels side
 * by side. */
static __global__ void sum_channels(moments *part, const real *x, group_sizes z, int64_t chunks)
{
    int64_t i = thread_of_grid();
    if (i >= z.n * chunks * z.c) return;
    int64_t c = i % z.c, row = i / z.c, n = row / chunks, first = row % chunks * CHUNK;
    int64_t last = first + CHUNK < z.s ? first + CHUNK : z.s;
    const real *from = x + n * z.s * z.c + c;
    moments sum = {0, 0};
    for (int64_t s = first; s < last; s++) {
        double value = (double)from[s * z.c];
        sum = together(sum, make_double2(value, value * value));
    }
    part[i] = sum;
}

/* A block has a group of a sample. All its threads receive the sums, which are added in an order that the sizes alone
 * decide. */
static __device__ moments group_sums(const moments *part, int64_t width, int64_t channels, int64_t chunks)
{
    __shared__ moments sums[CUDA_THREADS];
    moments sum = {0, 0};
    for (int64_t i = threadIdx.x; i < chunks * width; i += CUDA_THREADS)
        sum = together(sum, part[i / width * channels + i % width]);
    sums[threadIdx.x] = sum;
    for (unsigned half = CUDA_THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] = together(sums[threadIdx.x], sums[threadIdx.x + half]);
    }
    __syncthreads();
    return sums[0];
}

/* Mean and factor of the channels of each group. */
static __global__ void group_moments(real *mean, real *factor, const moments *part, const real *weight, group_sizes z,
                                     int64_t chunks, real epsilon)
{
    int64_t width = z.c / z.groups, n = blockIdx.x / z.groups, first = blockIdx.x % z.groups * width;
    moments sum = group_sums(part + n * chunks * z.c + first, width, z.c, chunks);
    double count = (double)(z.s * width), mu = sum.x / count, variance = sum.y / count - mu * mu;
    double rstd = 1 / sqrt((variance < 0 ? 0 : variance) + (double)epsilon);
    for (int64_t c = first + threadIdx.x; c < first + width; c += CUDA_THREADS) {
        mean[n * z.c + c] = (real)mu;
        factor[n * z.c + c] = (real)(rstd * (double)weight[c]);
    }
}

static __global__ void normalise(real *y, const real *x, const real *mean, const real *factor, const real *bias,
                                 group_sizes z)
{
    int64_t i = thread_of_grid();
    if (i >= z.n * z.s * z.c) return;
    int64_t c = i % z.c, at = i / (z.s * z.c) * z.c + c;
    y[i] = (x[i] - mean[at]) * factor[at] + bias[c];
}

static void group_norm_fwd(real *y, real *mean, real *factor, const real *x, const real *weight, const real *bias,
                           group_sizes z, real epsilon)
{
    int64_t chunks = (z.s + CHUNK - 1) / CHUNK, parts = z.n * chunks * z.c, count = z.n * z.s * z.c;
    if (count <= 0) return;
    moments *part = (moments *)cuda_room((size_t)parts * sizeof *part);
    if (!part) return;
    sum_channels<<<cuda_blocks(parts, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(part, x, z, chunks);
    CUDA_LAUNCHED("sum_channels");
    group_moments<<<cuda_blocks(z.n * z.groups, 1), CUDA_THREADS, 0, cuda_stream>>>(mean, factor, part, weight, z,
                                                                                    chunks, epsilon);
    CUDA_LAUNCHED("group_moments");
    normalise<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, mean, factor, bias, z);
    CUDA_LAUNCHED("normalise");
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

/* ---- range of numbers ---- */

static __global__ void soft_clamp(real *y, const real *x, real limit, int64_t count)
{
    int64_t i = thread_of_grid();
    if (i < count) y[i] = limit * tanhf(x[i] / limit);
}

static void soft_clamp_fwd(real *y, const real *x, real limit, int64_t count)
{
    if (count <= 0) return;
    soft_clamp<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, limit, count);
    CUDA_LAUNCHED("soft_clamp");
}

void cuda_register_frozen(engine *e)
{
    e->group_norm_fwd = group_norm_fwd;
    e->upsample_fwd = upsample_fwd;
    e->pad_end_fwd = pad_end_fwd;
    e->soft_clamp_fwd = soft_clamp_fwd;
}
