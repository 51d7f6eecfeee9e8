/* Kernels that treat every element alike, and the column sums of a bias. The formulas are those of cpu/elementwise.c.
 *
 * All of them are bound by memory: a thread moves 16 bytes at a time where the addresses allow it, else a number at a
 * time (W = 1), and has several loads under way before it needs the first. */
#include "cuda/pack.cuh"

/* ---- every element alike ---- */

enum { EACH = 16 }; /* elements of a thread */

/* A work has read<W>(i), which loads what elements i to i + W - 1 need, and write<W>(i, inputs), which finishes them. A
 * thread's packs are a block's width apart; all are read before the first is written. The elements behind the last
 * whole pack go to threads of the first block. */
template <int W, class Work> static __global__ void on_all(Work work, int64_t count)
{
    const int64_t whole = count - count % W, first = (int64_t)blockIdx.x * EACH * CUDA_THREADS + threadIdx.x * W;
    typename Work::template inputs<W> in[EACH / W];
#pragma unroll
    for (int k = 0; k < EACH / W; k++) {
        int64_t i = first + k * CUDA_THREADS * W;
        if (i < whole) in[k] = work.template read<W>(i);
    }
#pragma unroll
    for (int k = 0; k < EACH / W; k++) {
        int64_t i = first + k * CUDA_THREADS * W;
        if (i < whole) work.template write<W>(i, in[k]);
    }
    const int64_t rest = whole + threadIdx.x;
    if (blockIdx.x == 0 && rest < count) work.template write<1>(rest, work.template read<1>(rest));
}

/* W is that of 16 bytes when all arrays lie on them. */
template <int W, class Work> static void launch_on_all(Work work, int64_t count, bool aligned, const char *what)
{
    const unsigned blocks = cuda_blocks(count, EACH * CUDA_THREADS);
    if (count <= 0) return;
    if (aligned)
        on_all<W><<<blocks, CUDA_THREADS, 0, cuda_stream>>>(work, count);
    else
        on_all<1><<<blocks, CUDA_THREADS, 0, cuda_stream>>>(work, count);
    CUDA_LAUNCHED(what);
}

/* ---- sums ---- */

struct addition {
    real *y;
    const real *a, *b;

    template <int W> struct inputs {
        pack<W> a, b;
    };
    template <int W> __device__ inputs<W> read(int64_t i) const
    {
        return {load<W>(a + i), load<W>(b + i)};
    }
    template <int W> __device__ void write(int64_t i, inputs<W> in) const
    {
        for (int u = 0; u < W; u++) in.a.v[u] += in.b.v[u];
        store<W>(y + i, in.a);
    }
};

static void add_fwd(real *y, const real *a, const real *b, int64_t count)
{
    launch_on_all<4>(addition{y, a, b}, count, on_16_bytes(y, a, b), "add");
}

static void accumulate(real *dst, const real *src, int64_t count)
{
    add_fwd(dst, dst, src, count);
}

struct difference {
    real *y;
    const real *a, *b;
    real factor;

    template <int W> struct inputs {
        pack<W> y, a, b;
    };
    template <int W> __device__ inputs<W> read(int64_t i) const
    {
        return {load<W>(y + i), load<W>(a + i), load<W>(b + i)};
    }
    template <int W> __device__ void write(int64_t i, inputs<W> in) const
    {
        for (int u = 0; u < W; u++) in.y.v[u] += factor * (in.a.v[u] - in.b.v[u]);
        store<W>(y + i, in.y);
    }
};

static void add_difference(real *dst, const real *a, const real *b, real factor, int64_t count)
{
    launch_on_all<4>(difference{dst, a, b, factor}, count, on_16_bytes(dst, a, b), "difference");
}

enum { BIAS_LANES = 32, BIAS_ROWS = 8, BIAS_CHUNK_MIN = 64, BIAS_CHUNKS_MAX = 256, BIAS_GROUPS_MAX = 1024 };

/* Of each group of columns: how many of its chunks are summed. The last one sets it back to 0. */
static __device__ unsigned bias_chunks_done[BIAS_GROUPS_MAX];

/* The sum of rows first to end - 1 of columns j to j + W - 1: thread row y adds every BIAS_ROWS-th row from y on, then
 * thread rows are added in order. Thread row 0 has the result. */
template <int W, class T>
static __device__ pack<W> column_sums(const T *from, int64_t n, int64_t j, int64_t first, int64_t end)
{
    __shared__ pack<W> parts[BIAS_ROWS][BIAS_LANES];
    pack<W> sum = {};
#pragma unroll 8
    for (int64_t i = first + threadIdx.y; i < end; i += BIAS_ROWS) {
        pack<W> p = load<W>(from + i * n + j);
        for (int u = 0; u < W; u++) sum.v[u] += p.v[u];
    }
    parts[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    for (int row = 1; threadIdx.y == 0 && row < BIAS_ROWS; row++)
        for (int u = 0; u < W; u++) sum.v[u] += parts[row][threadIdx.x].v[u];
    return sum;
}

/* Whether all other chunks of the group have left their sums, which this block can read then. */
static __device__ bool last_of_group(int group, unsigned chunks)
{
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        last = atomicInc(&bias_chunks_done[group], chunks - 1) == chunks - 1;
        __threadfence();
    }
    __syncthreads();
    return last;
}

/* db += the column sums of dy[m,n]. A block has a group of BIAS_LANES packs of columns and one chunk of rows. It leaves
 * its sums in a row of sums[chunks,n]; the block of a group that is the last to do so adds these rows in order. With
 * one chunk there is no need for them. */
template <int W, class T>
static __global__ void add_columns(real *db, real *sums, const T *dy, int64_t m, int64_t n, int64_t chunk,
                                   unsigned chunks)
{
    const unsigned group = blockIdx.x / chunks, q = blockIdx.x % chunks;
    const int64_t j = ((int64_t)group * BIAS_LANES + threadIdx.x) * W;
    pack<W> sum = column_sums<W>(dy, n, j, q * chunk, j < n ? min((q + 1) * chunk, m) : 0);
    const bool writes = threadIdx.y == 0 && j < n;
    if (chunks > 1) {
        if (writes) store<W>(sums + q * n + j, sum);
        if (!last_of_group(group, chunks)) return;
        sum = column_sums<W>((const real *)sums, n, j, 0, j < n ? chunks : 0);
    }
    for (int u = 0; writes && u < W; u++) db[j + u] += sum.v[u];
}

template <int W, class T> static void launch_add_columns(real *db, const T *dy, int64_t m, int64_t n)
{
    const unsigned groups = cuda_blocks(n, BIAS_LANES * W);
    int64_t chunk = max((m + BIAS_CHUNKS_MAX - 1) / BIAS_CHUNKS_MAX, (int64_t)BIAS_CHUNK_MIN);
    if (groups > BIAS_GROUPS_MAX) chunk = m; /* so many columns are work enough */
    const unsigned chunks = cuda_blocks(m, chunk);
    real *sums = chunks > 1 ? (real *)cuda_room(chunks * (size_t)n * sizeof(real)) : NULL;
    if (chunks > 1 && !sums) return;
    add_columns<W><<<groups * chunks, dim3(BIAS_LANES, BIAS_ROWS), 0, cuda_stream>>>(db, sums, dy, m, n, chunk, chunks);
    CUDA_LAUNCHED("bias backward");
}

template <class T> static void bias_bwd_of(real *db, const T *dy, int64_t m, int64_t n)
{
    enum { WIDE = 16 / sizeof(T) };
    if (m <= 0 || n <= 0) return;
    if (n % WIDE == 0 && on_16_bytes(dy))
        launch_add_columns<WIDE>(db, dy, m, n);
    else
        launch_add_columns<1>(db, dy, m, n);
}

static void bias_bwd(real *db, const real *dy, int64_t m, int64_t n, int flags)
{
    if (flags & NARROW)
        bias_bwd_of(db, (const bf16 *)dy, m, n);
    else
        bias_bwd_of(db, dy, m, n);
}

/* ---- activations ---- */

/* 1 / (1 + e^-x), the exponent bounded as in cpu/vector.h: it never overflows, so that -infinity times a sigmoid is no
 * NaN. A NaN passes the comparison. The quick exponential and division are a few units in the last place off; with the
 * exact ones a kernel of bfloat16 would be bound by arithmetic. */
static __device__ real sigmoid(real x)
{
    return __fdividef(1, 1 + __expf(x < -87 ? 87 : -x));
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

struct quick_gelu {
    static __device__ real value(real x)
    {
        return x * sigmoid((real)1.702 * x);
    }
    static __device__ real slope(real x)
    {
        real s = sigmoid((real)1.702 * x);
        return s * (1 + (real)1.702 * x * (1 - s));
    }
};

/* GELU as it is defined: x F(x), F the normal distribution function. */
struct exact_gelu {
    static __device__ real value(real x)
    {
        return x * normcdff(x);
    }
    static __device__ real slope(real x)
    {
        real density = (real)0.398942280 * expf((real)-0.5 * x * x);
        return normcdff(x) + x * density;
    }
};

template <class F, class Y, class X> struct activation {
    Y *y;
    const X *x;

    template <int W> struct inputs {
        pack<W> x;
    };
    template <int W> __device__ inputs<W> read(int64_t i) const
    {
        return {load<W>(x + i)};
    }
    template <int W> __device__ void write(int64_t i, inputs<W> in) const
    {
        for (int u = 0; u < W; u++) in.x.v[u] = F::value(in.x.v[u]);
        store<W>(y + i, in.x);
    }
};

template <class F, class Y, class X> static void activation_fwd(Y *y, const X *x, int64_t count)
{
    launch_on_all<16 / sizeof(X)>(activation<F, Y, X>{y, x}, count, on_16_bytes(y, x), "activation forward");
}

static void silu_fwd(real *y, const real *x, int64_t count, int flags)
{
    if (flags & NARROW)
        activation_fwd<silu>((bf16 *)y, x, count);
    else
        activation_fwd<silu>(y, x, count);
}

template <class F> static void gelu_fwd(real *y, const real *x, int64_t count, int flags)
{
    if (flags & NARROW)
        activation_fwd<F>((bf16 *)y, (const bf16 *)x, count);
    else
        activation_fwd<F>(y, x, count);
}

/* dx may be dy or x: a thread reads all it needs before it writes. */
template <class F, class X, class Y> struct activation_slope {
    X *dx;
    const Y *dy;
    const X *x;
    bool add;

    template <int W> struct inputs {
        pack<W> dy, x, old;
    };
    template <int W> __device__ inputs<W> read(int64_t i) const
    {
        return {load<W>(dy + i), load<W>(x + i), add ? load<W>(dx + i) : pack<W>{}};
    }
    template <int W> __device__ void write(int64_t i, inputs<W> in) const
    {
        for (int u = 0; u < W; u++) in.old.v[u] += in.dy.v[u] * F::slope(in.x.v[u]);
        store<W>(dx + i, in.old);
    }
};

template <class F, class X, class Y> static void activation_bwd(X *dx, const Y *dy, const X *x, int64_t count, bool add)
{
    launch_on_all<16 / sizeof(X)>(activation_slope<F, X, Y>{dx, dy, x, add}, count, on_16_bytes(dx, dy, x),
                                  "activation backward");
}

static void silu_bwd(real *dx, const real *dy, const real *x, int64_t count, bool add, int flags)
{
    if (flags & NARROW)
        activation_bwd<silu>(dx, (const bf16 *)dy, x, count, add);
    else
        activation_bwd<silu>(dx, dy, x, count, add);
}

template <class F> static void gelu_bwd(real *dx, const real *dy, const real *x, int64_t count, bool add, int flags)
{
    if (flags & NARROW)
        activation_bwd<F>((bf16 *)dx, (const bf16 *)dy, (const bf16 *)x, count, add);
    else
        activation_bwd<F>(dx, dy, x, count, add);
}

/* ---- GELU as a gate, and the soft clamp: a thread has a number ---- */

template <class T> static __global__ void geglu(T *y, const T *x, int64_t count, int64_t d)
{
    int64_t i = thread_of_grid();
    if (i >= count) return;
    const T *row = x + i / d * 2 * d + i % d;
    y[i] = (T)((real)row[0] * exact_gelu::value((real)row[d]));
}

template <class T> static void geglu_fwd_of(T *y, const T *x, int64_t m, int64_t d)
{
    if (m * d <= 0) return;
    geglu<<<cuda_blocks(m * d, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(y, x, m * d, d);
    CUDA_LAUNCHED("geglu");
}

static void geglu_fwd(real *y, const real *x, int64_t m, int64_t d, int flags)
{
    if (flags & NARROW)
        geglu_fwd_of((bf16 *)y, (const bf16 *)x, m, d);
    else
        geglu_fwd_of(y, x, m, d);
}

template <class T> static __global__ void geglu_back(T *dx, const T *dy, const T *x, int64_t count, int64_t d, bool add)
{
    int64_t i = thread_of_grid();
    if (i >= count) return;
    const int64_t at = i / d * 2 * d + i % d;
    real a = (real)x[at], b = (real)x[at + d], g = (real)dy[i];
    real da = g * exact_gelu::value(b), db = g * a * exact_gelu::slope(b);
    dx[at] = (T)(add ? (real)dx[at] + da : da);
    dx[at + d] = (T)(add ? (real)dx[at + d] + db : db);
}

template <class T> static void geglu_bwd_of(T *dx, const T *dy, const T *x, int64_t m, int64_t d, bool add)
{
    if (m * d <= 0) return;
    geglu_back<<<cuda_blocks(m * d, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dx, dy, x, m * d, d, add);
    CUDA_LAUNCHED("geglu_back");
}

static void geglu_bwd(real *dx, const real *dy, const real *x, int64_t m, int64_t d, bool add, int flags)
{
    if (flags & NARROW)
        geglu_bwd_of((bf16 *)dx, (const bf16 *)dy, (const bf16 *)x, m, d, add);
    else
        geglu_bwd_of(dx, dy, x, m, d, add);
}

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

static __global__ void soft_clamp_back(real *dx, const real *dy, const real *x, real limit, int64_t count)
{
    int64_t i = thread_of_grid();
    if (i >= count) return;
    real t = tanhf(x[i] / limit);
    dx[i] += dy[i] * (1 - t * t);
}

static void soft_clamp_bwd(real *dx, const real *dy, const real *x, real limit, int64_t count)
{
    if (count <= 0) return;
    soft_clamp_back<<<cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dx, dy, x, limit, count);
    CUDA_LAUNCHED("soft_clamp_back");
}

void cuda_register_elementwise(engine *e)
{
    e->add_fwd = add_fwd;
    e->accumulate = accumulate;
    e->add_difference = add_difference;
    e->bias_bwd = bias_bwd;
    e->silu_fwd = silu_fwd;
    e->silu_bwd = silu_bwd;
    e->gelu_fwd = gelu_fwd<gelu>;
    e->gelu_bwd = gelu_bwd<gelu>;
    e->quick_gelu_fwd = gelu_fwd<quick_gelu>;
    e->quick_gelu_bwd = gelu_bwd<quick_gelu>;
    e->geglu_fwd = geglu_fwd;
    e->geglu_bwd = geglu_bwd;
    e->exact_gelu_fwd = gelu_fwd<exact_gelu>;
    e->exact_gelu_bwd = gelu_bwd<exact_gelu>;
    e->soft_clamp_fwd = soft_clamp_fwd;
    e->soft_clamp_bwd = soft_clamp_bwd;
}
