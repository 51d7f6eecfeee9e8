/* The optimiser's pass over the weights, averages of them, and the sum of squares its clipping needs; the formulas are those of
 * cpu/adamw.c. A thread moves 16 bytes at a time (W = 4) where the addresses allow it, else a number at a time
 * (W = 1). */
#include <math.h>

#include "cuda/block_sum.cuh"
#include "cuda/pack.cuh"

#define MOMENT_FN static __device__ inline
#include "tensor/moment.h"

/* Of arrays whose blocks of a launch follow each other the one that this block belongs to: the last whose first block is not behind it. */
template <class T> static __device__ const T &array_of_block(const T *list, int count)
{
    int low = 0, high = count - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (list[middle].first_block <= blockIdx.x)
            low = middle;
        else
            high = middle - 1;
    }
    return list[low];
}

/* ---- update ---- */

enum { UPDATE_BLOCK = 4 * CUDA_THREADS, UPDATE_ROWS = 40 };

/* A row whose moments are kept in M; its first block's number among those of a launch; whether four numbers are moved at a time. */
template <class M> struct updated_row {
    real *w;
    M *m, *v;
    real *ema;
    bf16 *narrow;
    const real *g;
    int64_t count, first, first_block;
    uint32_t noise;
    bool wide;
};

/* What one launch updates; an argument of the kernel, of which a device may take 4 KB. */
template <class M> struct update_list {
    updated_row<M> row[UPDATE_ROWS];
    int rows;
};

/* What the update multiplies by beside the coefficients themselves. */
typedef struct factors {
    real step, root, decay;
} factors;

template <int W> static __device__ void keep_moments(real *m, real *v, pack<W> first, pack<W> second, uint32_t, int64_t)
{
    store<W>(m, first);
    store<W>(v, second);
}

/* Bits of bfloat16 numbers, which storing them leaves as they are. */
template <int W>
static __device__ void keep_moments(bf16 *m, bf16 *v, pack<W> first, pack<W> second, uint32_t key, int64_t at)
{
    for (int u = 0; u < W; u++) {
        const uint32_t noise = moment_noise(key, (uint32_t)(at + u));
        first.v[u] = __uint_as_float((uint32_t)moment_bits(first.v[u], noise & 0xffff) << 16);
        second.v[u] = __uint_as_float((uint32_t)moment_bits(second.v[u], noise >> 16) << 16);
    }
    store<W>(m, first);
    store<W>(v, second);
}

template <int W, class M>
static __device__ void update_at(const updated_row<M> &r, int64_t i, const adamw_coefficients &k, factors f)
{
    pack<W> w = load<W>(r.w + i), m = load<W>(r.m + i), v = load<W>(r.v + i), g = load<W>(r.g + i), ema = {};
    if (r.ema) ema = load<W>(r.ema + i);
    for (int u = 0; u < W; u++) {
        real grad = g.v[u] * k.grad_scale;
        m.v[u] = k.beta1 * m.v[u] + (1 - k.beta1) * grad;
        v.v[u] = k.beta2 * v.v[u] + (1 - k.beta2) * grad * grad;
        w.v[u] = f.decay * w.v[u] - f.step * m.v[u] / (sqrtf(v.v[u]) * f.root + k.epsilon);
        ema.v[u] = k.ema_decay * ema.v[u] + (1 - k.ema_decay) * w.v[u];
    }
    store<W>(r.w + i, w);
    keep_moments<W>(r.m + i, r.v + i, m, v, r.noise, r.first + i);
    if (r.ema) store<W>(r.ema + i, ema);
    if (r.narrow) store<W>(r.narrow + i, w);
}

/* A block has UPDATE_BLOCK elements of its row. */
template <class M>
static __global__ void update(const __grid_constant__ update_list<M> list, adamw_coefficients k, factors f)
{
    const updated_row<M> &r = array_of_block(list.row, list.rows);
    const int64_t begin = (blockIdx.x - r.first_block) * UPDATE_BLOCK, end = min(begin + UPDATE_BLOCK, r.count);
    if (!r.wide) {
        for (int64_t i = begin + threadIdx.x; i < end; i += CUDA_THREADS) update_at<1>(r, i, k, f);
        return;
    }
    int64_t i = begin + 4 * threadIdx.x;
    if (i + 4 <= end)
        update_at<4>(r, i, k, f);
    else
        for (; i < end; i++) update_at<1>(r, i, k, f);
}

/* At most UPDATE_ROWS rows with one launch. A row of no elements has no block. */
template <class M> static void update_rows(const adamw_row row[], int64_t rows, const adamw_coefficients &k, factors f)
{
    update_list<M> list;
    int64_t blocks = 0;
    list.rows = (int)rows;
    for (int64_t i = 0; i < rows; i++) {
        const adamw_row &r = row[i];
        const bool wide = on_16_bytes(r.w, (real *)r.m, (real *)r.v, r.ema, r.g, (real *)r.narrow);
        list.row[i] = {r.w, (M *)r.m, (M *)r.v, r.ema, (bf16 *)r.narrow, r.g, r.count, r.first, blocks, r.noise, wide};
        blocks += cuda_blocks(r.count, UPDATE_BLOCK);
    }
    if (blocks == 0) return;
    update<<<(unsigned)blocks, CUDA_THREADS, 0, cuda_stream>>>(list, k, f);
    CUDA_LAUNCHED("adamw");
}

static void adamw(const adamw_row row[], int64_t rows, adamw_coefficients k, int flags)
{
    const factors f = {k.learning_rate / k.bias1, 1 / sqrtf(k.bias2), 1 - k.learning_rate * k.weight_decay};
    for (int64_t i = 0; i < rows; i += UPDATE_ROWS) {
        const int64_t count = min(rows - i, (int64_t)UPDATE_ROWS);
        if (flags & NARROW)
            update_rows<bf16>(row + i, count, k, f);
        else
            update_rows<real>(row + i, count, k, f);
    }
}

static __global__ void widen_numbers(real *x, const bf16 *narrow, int64_t count)
{
    const int64_t i = thread_of_grid();
    if (i < count) x[i] = __bfloat162float(narrow[i]);
}

static void widen(real *x, const void *narrow, int64_t count)
{
    if (count <= 0) return;
    widen_numbers<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(x, (const bf16 *)narrow, count);
    CUDA_LAUNCHED("widening");
}

/* ---- averages ---- */

/* From the nearer end, as in cpu/adamw.c; `part` is the share of the other one. */
template <int W> static __device__ void average_at(real *y, const real *x, int64_t i, real part, bool near_x)
{
    pack<W> a = load<W>(y + i), b = load<W>(x + i);
    for (int u = 0; u < W; u++) a.v[u] = near_x ? b.v[u] - part * (b.v[u] - a.v[u]) : a.v[u] + part * (b.v[u] - a.v[u]);
    store<W>(y + i, a);
}

/* Threads have elements as in `update`. */
template <int W> static __global__ void update_average(real *y, const real *x, int64_t count, real part, bool near_x)
{
    int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * W;
    if (i + W <= count) {
        average_at<W>(y, x, i, part, near_x);
        return;
    }
    for (; i < count; i++) average_at<1>(y, x, i, part, near_x);
}

static void average(real *y, const real *x, int64_t count, real share)
{
    if (count <= 0) return;
    const bool near_x = share >= (real)0.5;
    const real part = near_x ? 1 - share : share;
    if (on_16_bytes(y, x))
        update_average<4>
            <<<cuda_blocks(count, 4 * CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, count, part, near_x);
    else
        update_average<1>
            <<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, count, part, near_x);
    CUDA_LAUNCHED("average");
}

/* ---- sum of squares ---- */

enum { SQUARES_BLOCK = 8192, SUMMANDS = 256 };

/* One of the arrays; its first block's number among those of a launch. */
typedef struct summand {
    const real *x;
    int64_t count, first_block;
} summand;

/* A thread's share of the squares of x's elements first to end - 1. */
template <int W> static __device__ double add_squares(const real *x, int64_t first, int64_t end)
{
    double sum = 0;
#pragma unroll 8
    for (int64_t i = first + threadIdx.x * W; i + W <= end; i += CUDA_THREADS * W) {
        pack<W> p = load<W>(x + i);
        for (int u = 0; u < W; u++) sum += (double)p.v[u] * (double)p.v[u];
    }
    int64_t rest = end - (end - first) % W + threadIdx.x;
    if (rest < end) sum += (double)x[rest] * (double)x[rest];
    return sum;
}

/* sums[b] for block b, which has SQUARES_BLOCK elements of the array it belongs to. */
static __global__ void sum_blocks(double *sums, const summand *list, int arrays)
{
    const summand a = array_of_block(list, arrays);
    const int64_t first = (blockIdx.x - a.first_block) * SQUARES_BLOCK, end = min(first + SQUARES_BLOCK, a.count);
    double sum = (uintptr_t)a.x % 16 ? add_squares<1>(a.x, first, end) : add_squares<4>(a.x, first, end);
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

/* One block. */
static __global__ void sum_of_sums(double *total, const double *sums, int64_t count)
{
    double sum = 0;
#pragma unroll 8
    for (int64_t i = threadIdx.x; i < count; i += CUDA_THREADS) sum += sums[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *total = sum;
}

/* At most SUMMANDS arrays with one launch; returns how many sums they have. An array of no elements has no block. */
static int64_t sum_arrays(double *sums, summand *list, const real *const x[], const int64_t count[], int64_t arrays)
{
    summand prepared[SUMMANDS];
    int64_t blocks = 0;
    for (int64_t i = 0; i < arrays; i++) {
        prepared[i] = {x[i], count[i], blocks};
        blocks += cuda_blocks(count[i], SQUARES_BLOCK);
    }
    if (blocks == 0) return 0;
    cuda_note(cudaMemcpyAsync(list, prepared, arrays * sizeof *list, cudaMemcpyHostToDevice, cuda_stream),
              "sum of squares");
    sum_blocks<<<(unsigned)blocks, CUDA_THREADS, 0, cuda_stream>>>(sums, list, (int)arrays);
    CUDA_LAUNCHED("sum of squares");
    return blocks;
}

/* The sums of all arrays one behind the other, then their sum: the host waits once. */
static double sum_squares(const real *const x[], const int64_t count[], int64_t arrays)
{
    int64_t blocks = 0, done = 0;
    for (int64_t i = 0; i < arrays; i++) blocks += cuda_blocks(count[i], SQUARES_BLOCK);
    summand *list = (summand *)cuda_room(SUMMANDS * sizeof *list + (size_t)(blocks + 1) * sizeof(double));
    if (!list) return NAN;
    double result = NAN, *total = (double *)(list + SUMMANDS), *sums = total + 1;
    for (int64_t i = 0; i < arrays; i += SUMMANDS)
        done += sum_arrays(sums + done, list, x + i, count + i, min(arrays - i, (int64_t)SUMMANDS));
    sum_of_sums<<<1, CUDA_THREADS, 0, cuda_stream>>>(total, sums, blocks);
    CUDA_LAUNCHED("sum of squares");
    cudaError_t status = cudaMemcpyAsync(&result, total, sizeof result, cudaMemcpyDeviceToHost, cuda_stream);
    if (status == cudaSuccess) status = cudaStreamSynchronize(cuda_stream);
    cuda_note(status, "sum of squares");
    return status == cudaSuccess ? result : (double)NAN;
}

void cuda_register_adamw(engine *e)
{
    e->widen = widen;
    e->adamw = adamw;
    e->average = average;
    e->sum_squares = sum_squares;
}
