/* What attention in float32 and in bfloat16 share: where heads lie, how blocks find their work, and the means D of the
 * backward pass. attention.cu has the formulas. */
#ifndef CUDA_ATTENTION_CUH
#define CUDA_ATTENTION_CUH

#include "cuda/pack.cuh"

typedef struct sizes {
    int s, keys, k, e;
    int64_t q_stride, kv_stride;
    float scale; /* 1 / sqrt(E) */
    bool causal;
} sizes;

/* Queries, keys and values, or their gradients (NULL: not wanted). */
template <class T> struct operands {
    T *q, *k, *v;
};

/* Where one pair begins in the arrays of queries, of keys and of values, in y and in lse, and how far its rows are apart. */
typedef struct head {
    int64_t q, kv, y, lse;
    int64_t q_stride, kv_stride, y_stride;
} head;

/* What a block works on: the head, its first row there, and its first column of the result. */
typedef struct job {
    head h;
    int row, column;
} job;

static __host__ __device__ inline int pieces(int count, int piece)
{
    return (count + piece - 1) / piece;
}

static __device__ inline head find_head(int64_t pair, sizes z)
{
    int64_t width = (int64_t)z.k * z.e, sample = pair / z.k, column = pair % z.k * z.e;
    return {sample * z.s * z.q_stride + column,
            sample * z.keys * z.kv_stride + column,
            sample * z.s * width + column,
            pair * z.s,
            z.q_stride,
            z.kv_stride,
            width};
}

/* Of blocks of `rows` queries or keys, of which a head has `count`, and `columns` columns. */
static __device__ inline job find_job(sizes z, int count, int rows, int columns)
{
    int across = pieces(z.e, columns), down = pieces(count, rows);
    int64_t block = blockIdx.x / across;
    return {find_head(block / down, z), (int)(block % down) * rows, (int)(blockIdx.x % across) * columns};
}

/* The block's job, in shared memory, where what is used rarely takes no registers. */
static __device__ inline const job *share_job(sizes z, int count, int rows, int columns)
{
    __shared__ job found;
    if (threadIdx.x == 0) found = find_job(z, count, rows, columns);
    __syncthreads();
    return &found;
}

static inline unsigned job_count(int64_t pairs, sizes z, int count, int rows, int columns)
{
    return (unsigned)(pairs * pieces(count, rows) * pieces(z.e, columns));
}

/* ---- the means D of the backward pass ---- */

/* The sum of a b over e columns for each of the 32 / W neighbouring lanes that share a row. */
template <int W, class T> static __device__ float multiply_row(const T *a, const T *b, int e)
{
    enum { LANES = 32 / W };
    float sum = 0;
    for (int i = threadIdx.x % LANES * W; i < e; i += 32) {
        pack<W> x = load<W>(a + i), y = load<W>(b + i);
        for (int u = 0; u < W; u++) sum += x.v[u] * y.v[u];
    }
    for (int far = LANES / 2; far > 0; far /= 2) sum += __shfl_xor_sync(~0U, sum, far);
    return sum;
}

/* means[N,K,S] = sum over a head's columns of dy * y: a row of a head for 32 / W threads, W columns at a time. */
template <int W, class T>
static __global__ void __launch_bounds__(CUDA_THREADS)
    mean_rows(float *means, const T *dy, const T *y, int64_t rows, sizes z)
{
    enum { LANES = 32 / W };
    int64_t row = (int64_t)blockIdx.x * (CUDA_THREADS / LANES) + threadIdx.x / LANES; /* of [N,S,K] */
    float sum = multiply_row<W>(dy + row * z.e, y + row * z.e, row < rows ? z.e : 0);
    if (row >= rows || threadIdx.x % LANES != 0) return;
    int64_t token = row / z.k, pair = token / z.s * z.k + row % z.k;
    means[pair * z.s + token % z.s] = sum;
}

template <int W, class T> static void start_means(float *means, const T *dy, const T *y, int64_t rows, sizes z)
{
    mean_rows<W><<<cuda_blocks(rows, CUDA_THREADS / 32 * W), CUDA_THREADS, 0, cuda_stream>>>(means, dy, y, rows, z);
    CUDA_LAUNCHED("attention_bwd, means");
}

/* The means D of all rows, or null where there is no room for them. */
template <class T> static const float *find_means(const T *dy, const T *y, int64_t rows, sizes z)
{
    float *means = (float *)cuda_room((size_t)rows * sizeof *means);
    if (means && z.e % 8 == 0)
        start_means<8>(means, dy, y, rows, z);
    else if (means)
        start_means<1>(means, dy, y, rows, z);
    return means;
}

/* ---- the two arithmetics: pairs of N samples and K heads, arrays as the engine table has them ---- */

/* Any width. */
template <class T> void attention_f32_fwd(T *y, float *lse, operands<const T> x, int64_t pairs, sizes z);
template <class T>
void attention_f32_bwd(operands<T> d, const T *dy, const T *y, const float *lse, operands<const T> x, int64_t pairs,
                       sizes z, bool add);

/* Widths that are multiples of 8 up to 128, without a mask; rows begin at multiples of 8 numbers. */
template <class T> void attention_bf16_fwd(T *y, float *lse, operands<const T> x, int64_t pairs, sizes z);
template <class T>
void attention_bf16_bwd(operands<T> d, const T *dy, const T *y, const float *lse, operands<const T> x, int64_t pairs,
                        sizes z, bool add);

#endif
