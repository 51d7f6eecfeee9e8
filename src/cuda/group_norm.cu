/* Group norm of images, channels last; the formulas are those of cpu/group_norm.c. */
#include <math.h>

#include "cuda/device.h"

/* ---- forward ---- */

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

/* Mean, rstd and factor of the channels of each group. */
static __global__ void group_moments(real *mean, real *rstd, real *factor, const moments *part, const real *weight,
                                     group_sizes z, int64_t chunks, real epsilon)
{
    int64_t width = z.c / z.groups, n = blockIdx.x / z.groups, first = blockIdx.x % z.groups * width;
    moments sum = group_sums(part + n * chunks * z.c + first, width, z.c, chunks);
    double count = (double)(z.s * width), mu = sum.x / count, variance = sum.y / count - mu * mu;
    double scale = 1 / sqrt((variance < 0 ? 0 : variance) + (double)epsilon);
    for (int64_t c = first + threadIdx.x; c < first + width; c += CUDA_THREADS) {
        mean[n * z.c + c] = (real)mu;
        rstd[n * z.c + c] = (real)scale;
        factor[n * z.c + c] = (real)(scale * (double)weight[c]);
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

static int64_t chunks_of(group_sizes z)
{
    return (z.s + CHUNK - 1) / CHUNK;
}

static void group_norm_fwd(real *y, real *mean, real *rstd, real *factor, const real *x, const real *weight,
                           const real *bias, group_sizes z, real epsilon)
{
    int64_t chunks = chunks_of(z), parts = z.n * chunks * z.c, count = z.n * z.s * z.c;
    if (count <= 0) return;
    moments *part = (moments *)cuda_room((size_t)parts * sizeof *part);
    if (!part) return;
    sum_channels<<<cuda_blocks(parts, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(part, x, z, chunks);
    CUDA_LAUNCHED("sum_channels");
    group_moments<<<cuda_blocks(z.n * z.groups, 1), CUDA_THREADS, 0, cuda_stream>>>(mean, rstd, factor, part, weight, z,
                                                                                    chunks, epsilon);
    CUDA_LAUNCHED("group_moments");
    normalise<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, mean, factor, bias, z);
    CUDA_LAUNCHED("normalise");
}

/* ---- backward ---- */

/* part [N,chunks,C]: x: sum of dy, y: of dy xhat, of each channel over the positions of each chunk. */
static __global__ void sum_slopes(moments *part, const real *dy, const real *x, const real *mean, const real *rstd,
                                  group_sizes z, int64_t chunks)
{
    int64_t i = thread_of_grid();
    if (i >= z.n * chunks * z.c) return;
    int64_t c = i % z.c, row = i / z.c, n = row / chunks, first = row % chunks * CHUNK;
    int64_t last = first + CHUNK < z.s ? first + CHUNK : z.s, from = n * z.s * z.c + c;
    const real m = mean[n * z.c + c], r = rstd[n * z.c + c];
    moments sum = {0, 0};
    for (int64_t s = first; s < last; s++) {
        real g = dy[from + s * z.c];
        sum = together(sum, make_double2((double)g, (double)(g * (x[from + s * z.c] - m) * r)));
    }
    part[i] = sum;
}

/* room [2,N,C] = the sums of all chunks, in order. */
static __global__ void join_chunks(real *room, const moments *part, group_sizes z, int64_t chunks)
{
    int64_t i = thread_of_grid(), n = i / z.c, c = i % z.c;
    if (i >= z.n * z.c) return;
    moments sum = {0, 0};
    for (int64_t q = 0; q < chunks; q++) sum = together(sum, part[(n * chunks + q) * z.c + c]);
    room[i] = (real)sum.x;
    room[z.n * z.c + i] = (real)sum.y;
}

/* dbias and dweight (NULL: not wanted) += the sums over samples. */
static __global__ void add_samples(real *dweight, real *dbias, const real *room, group_sizes z)
{
    int64_t c = thread_of_grid();
    if (c >= z.c) return;
    moments sum = {0, 0};
    for (int64_t n = 0; n < z.n; n++)
        sum = together(sum, make_double2((double)room[n * z.c + c], (double)room[(z.n + n) * z.c + c]));
    if (dbias) dbias[c] += (real)sum.x;
    if (dweight) dweight[c] += (real)sum.y;
}

/* The sums of the channels of a group become the group's means of g and g xhat. A thread has a group of a sample. */
static __global__ void share_means(real *room, const real *weight, group_sizes z)
{
    int64_t i = thread_of_grid(), width = z.c / z.groups, first = i % z.groups * width;
    if (i >= z.n * z.groups) return;
    real *sum = room + i / z.groups * z.c + first, *dot = sum + z.n * z.c;
    moments mean = {0, 0};
    for (int64_t c = 0; c < width; c++) {
        double factor = (double)weight[first + c];
        mean = together(mean, make_double2(factor * (double)sum[c], factor * (double)dot[c]));
    }
    for (int64_t c = 0; c < width; c++) {
        sum[c] = (real)(mean.x / (double)(z.s * width));
        dot[c] = (real)(mean.y / (double)(z.s * width));
    }
}

static __global__ void normalise_back(real *dx, const real *room, const real *dy, const real *x, const real *mean,
                                      const real *rstd, const real *weight, group_sizes z)
{
    int64_t i = thread_of_grid();
    if (i >= z.n * z.s * z.c) return;
    int64_t c = i % z.c, at = i / (z.s * z.c) * z.c + c;
    const real r = rstd[at], xhat = (x[i] - mean[at]) * r;
    dx[i] += r * (dy[i] * weight[c] - room[at] - xhat * room[z.n * z.c + at]);
}

static void group_norm_bwd(real *dx, real *dweight, real *dbias, real *room, const real *dy, const real *x,
                           const real *mean, const real *rstd, const real *weight, group_sizes z)
{
    int64_t chunks = chunks_of(z), parts = z.n * chunks * z.c, count = z.n * z.s * z.c;
    if (count <= 0) return;
    moments *part = (moments *)cuda_room((size_t)parts * sizeof *part);
    if (!part) return;
    sum_slopes<<<cuda_blocks(parts, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(part, dy, x, mean, rstd, z, chunks);
    CUDA_LAUNCHED("sum_slopes");
    join_chunks<<<cuda_blocks(z.n * z.c, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(room, part, z, chunks);
    CUDA_LAUNCHED("join_chunks");
    if (dweight || dbias) {
        add_samples<<<cuda_blocks(z.c, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dweight, dbias, room, z);
        CUDA_LAUNCHED("add_samples");
    }
    if (!dx) return;
    share_means<<<cuda_blocks(z.n * z.groups, 32), 32, 0, cuda_stream>>>(room, weight, z);
    CUDA_LAUNCHED("share_means");
    normalise_back<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dx, room, dy, x, mean, rstd,
                                                                                       weight, z);
    CUDA_LAUNCHED("normalise_back");
}

void cuda_register_group_norm(engine *e)
{
    e->group_norm_fwd = group_norm_fwd;
    e->group_norm_bwd = group_norm_bwd;
}
