/* Kernels that treat every element alike, and the column sums of a bias. The formulas are those of cpu/elementwise.c.
 *
 * All of them are bound by memory: a thread moves 16 bytes at a time (W = 4) where the addresses allow it, else a
 * number at a time (W = 1). */
#include "cuda/device.h"

template <int W> struct alignas(W * sizeof(real)) pack {
    real v[W];
};

template <int W> static __device__ pack<W> load(const real *x)
{
    return *(const pack<W> *)x;
}

template <int W> static __device__ void store(real *y, pack<W> p)
{
    *(pack<W> *)y = p;
}

static bool on_16_bytes(const real *a, const real *b, const real *c)
{
    return (((uintptr_t)a | (uintptr_t)b | (uintptr_t)c) % 16) == 0;
}

static __device__ int64_t thread_of_grid(void)
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

/* ---- sums ---- */

template <int W> static __device__ void add_at(real *y, const real *a, const real *b)
{
    pack<W> p = load<W>(a), q = load<W>(b);
    for (int u = 0; u < W; u++) p.v[u] += q.v[u];
    store<W>(y, p);
}

/* In this and the kernels after it thread i has elements i*W to i*W + W - 1; the last thread may find fewer. */
template <int W> static __global__ void add(real *y, const real *a, const real *b, int64_t count)
{
    int64_t i = thread_of_grid() * W;
    if (i + W <= count) {
        add_at<W>(y + i, a + i, b + i);
        return;
    }
    for (; i < count; i++) add_at<1>(y + i, a + i, b + i);
}

static void add_fwd(real *y, const real *a, const real *b, int64_t count)
{
    if (count <= 0) return;
    if (on_16_bytes(y, a, b))
        add<4><<<cuda_blocks(count, 4 * CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, a, b, count);
    else
        add<1><<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, a, b, count);
    CUDA_LAUNCHED("add");
}

static void accumulate(real *dst, const real *src, int64_t count)
{
    add_fwd(dst, dst, src, count);
}

enum { BIAS_LANES = 32, BIAS_ROWS = 8, BIAS_CHUNK_MIN = 64, BIAS_CHUNKS_MAX = 256 };

/* to[q*n + j] (+)= sum over the rows of chunk q of dy[m,n]. A block has BIAS_LANES packs of columns and one chunk:
 * thread row y adds every BIAS_ROWS-th row from y on, then thread rows are added in order. */
template <int W>
static __global__ void sum_columns(real *to, const real *dy, int64_t m, int64_t n, int64_t chunk, bool add)
{
    __shared__ pack<W> parts[BIAS_ROWS][BIAS_LANES];
    int64_t groups = (n + BIAS_LANES * W - 1) / (BIAS_LANES * W), q = blockIdx.x / groups;
    int64_t j = (blockIdx.x % groups * BIAS_LANES + threadIdx.x) * W;
    int64_t end = j < n ? min((q + 1) * chunk, m) : 0;
    pack<W> sum = {};
#pragma unroll 8
    for (int64_t i = q * chunk + threadIdx.y; i < end; i += BIAS_ROWS) {
        pack<W> p = load<W>(dy + i * n + j);
        for (int u = 0; u < W; u++) sum.v[u] += p.v[u];
    }
    parts[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || j >= n) return;
    for (int row = 1; row < BIAS_ROWS; row++)
        for (int u = 0; u < W; u++) sum.v[u] += parts[row][threadIdx.x].v[u];
    for (int u = 0; u < W; u++) to[q * n + j + u] = add ? to[q * n + j + u] + sum.v[u] : sum.v[u];
}

static void launch_sum_columns(real *to, const real *dy, int64_t m, int64_t n, int64_t chunk, bool add)
{
    dim3 threads(BIAS_LANES, BIAS_ROWS);
    unsigned chunks = cuda_blocks(m, chunk);
    if (n % 4 == 0 && on_16_bytes(dy, dy, dy))
        sum_columns<4><<<chunks * cuda_blocks(n, BIAS_LANES * 4), threads, 0, cuda_stream>>>(to, dy, m, n, chunk, add);
    else
        sum_columns<1><<<chunks * cuda_blocks(n, BIAS_LANES), threads, 0, cuda_stream>>>(to, dy, m, n, chunk, add);
    CUDA_LAUNCHED("bias backward");
}

/* Many rows are first summed chunk by chunk, so that the whole device has work; the chunks depend on m alone. */
static void bias_bwd(real *db, const real *dy, int64_t m, int64_t n)
{
    if (m <= 0 || n <= 0) return;
    int64_t chunk = (m + BIAS_CHUNKS_MAX - 1) / BIAS_CHUNKS_MAX;
    if (chunk < BIAS_CHUNK_MIN) chunk = BIAS_CHUNK_MIN;
    if (m > chunk) {
        int64_t chunks = (m + chunk - 1) / chunk;
        real *sums = (real *)cuda_room((size_t)(chunks * n) * sizeof(real));
        if (!sums) return;
        launch_sum_columns(sums, dy, m, n, chunk, false);
        dy = sums;
        m = chunk = chunks;
    }
    launch_sum_columns(db, dy, m, n, chunk, true);
}

/* ---- activations ---- */

/* 1 / (1 + e^-x), the exponent bounded as in cpu/vector.h: it never overflows, so that -infinity times a sigmoid is no
 * NaN. A NaN passes the comparison. */
static __device__ real sigmoid(real x)
{
    return 1 / (1 + expf(x < -87 ? 87 : -x));
}

struct silu {
    static __device__ real value(real x)
    {
        return x * sigmoid(x);
    }
    static __device__ real slope(real x)
    {
        real s = sigmoid(x);
        return s * (1 + x * (1 - s));
    }
};

/* x sigmoid(2u) with u = sqrt(2/pi) (x + 0.044715 x^3), which is the tanh form without its rounding for negative x. */
#define GELU_ROOT ((real)1.59576912160573071176)
#define GELU_CUBE ((real)0.044715)

struct gelu {
    static __device__ real value(real x)
    {
        return x * sigmoid(GELU_ROOT * x * (1 + GELU_CUBE * x * x));
    }
    static __device__ real slope(real x)
    {
        real square = x * x, s = sigmoid(GELU_ROOT * x * (1 + GELU_CUBE * square));
        return s * (1 + x * (1 - s) * GELU_ROOT * (1 + 3 * GELU_CUBE * square));
    }
};

template <class F, int W> static __device__ void value_at(real *y, const real *x)
{
    pack<W> p = load<W>(x);
    for (int u = 0; u < W; u++) p.v[u] = F::value(p.v[u]);
    store<W>(y, p);
}

template <class F, int W> static __global__ void values(real *y, const real *x, int64_t count)
{
    int64_t i = thread_of_grid() * W;
    if (i + W <= count) {
        value_at<F, W>(y + i, x + i);
        return;
    }
    for (; i < count; i++) value_at<F, 1>(y + i, x + i);
}

template <class F> static void activation_fwd(real *y, const real *x, int64_t count)
{
    if (count <= 0) return;
    if (on_16_bytes(y, x, x))
        values<F, 4><<<cuda_blocks(count, 4 * CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, count);
    else
        values<F, 1><<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, count);
    CUDA_LAUNCHED("activation forward");
}

/* dx may be dy: a thread reads all it needs before it writes. */
template <class F, int W> static __device__ void slope_at(real *dx, const real *dy, const real *x, bool add)
{
    pack<W> p = load<W>(x), up = load<W>(dy), old = {};
    if (add) old = load<W>(dx);
    for (int u = 0; u < W; u++) {
        real step = up.v[u] * F::slope(p.v[u]);
        p.v[u] = add ? old.v[u] + step : step;
    }
    store<W>(dx, p);
}

template <class F, int W>
static __global__ void slopes(real *dx, const real *dy, const real *x, int64_t count, bool add)
{
    int64_t i = thread_of_grid() * W;
    if (i + W <= count) {
        slope_at<F, W>(dx + i, dy + i, x + i, add);
        return;
    }
    for (; i < count; i++) slope_at<F, 1>(dx + i, dy + i, x + i, add);
}

template <class F> static void activation_bwd(real *dx, const real *dy, const real *x, int64_t count, bool add)
{
    if (count <= 0) return;
    if (on_16_bytes(dx, dy, x))
        slopes<F, 4><<<cuda_blocks(count, 4 * CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dx, dy, x, count, add);
    else
        slopes<F, 1><<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dx, dy, x, count, add);
    CUDA_LAUNCHED("activation backward");
}

void cuda_register_elementwise(engine *e)
{
    e->add_fwd = add_fwd;
    e->accumulate = accumulate;
    e->bias_bwd = bias_bwd;
    e->silu_fwd = activation_fwd<silu>;
    e->silu_bwd = activation_bwd<silu>;
    e->gelu_fwd = activation_fwd<gelu>;
    e->gelu_bwd = activation_bwd<gelu>;
}
