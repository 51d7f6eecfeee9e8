/* Attention in float32, after the formulas of attention.cu.
 *
 * Blocks of 64 rows against tiles of 64 rows, 4 x 4 scores a thread, operands in slices through shared
 * memory. A block gives at most 128 columns of the result; a wider head has several blocks, which all compute the
 * scores. T is what q, k, v, y and their gradients hold: float, or bf16 (NARROW), rounded where a result is stored. */
#include "cuda/attention.cuh"

enum {
    SIDE = 64,        /* rows of a block, and of a tile it is multiplied with */
    SLICE = 32,       /* columns of two operands, or rows of one, that are in shared memory together */
    PITCH = SIDE + 4, /* from row to row there: a multiple of 4, and columns of a slice in different banks */
    EACH = 4,         /* rows, and columns, of the scores of a thread */
    ACROSS = SIDE / EACH,
    WIDE_MAX = 8, /* most columns of the result of a thread, ACROSS apart */
};
static_assert(ACROSS * ACROSS == CUDA_THREADS, "a thread for each part of the scores");
static_assert(SLICE * ACROSS * WIDE_MAX <= 2 * SLICE * PITCH, "a slice of wide rows fits the room of two operands");

/* Thread (down, across) has rows EACH down + 0.. of the block; of the scores, columns EACH across + 0.. */
static __device__ int thread_down(void)
{
    return threadIdx.x / ACROSS;
}

static __device__ int thread_across(void)
{
    return threadIdx.x % ACROSS;
}

/* to[SLICE][PITCH] = the slice's columns of SIDE rows of `from`, turned round; 0 outside `rows` and `columns`. A warp
 * brings 8 columns of 4 rows: whole sectors of global memory to different banks. */
template <class T> static __device__ void load_turned(float *to, const T *from, int64_t stride, int rows, int columns)
{
    for (int i = threadIdx.x; i < SIDE * SLICE; i += CUDA_THREADS) {
        int column = i % 8 + i / 32 % (SLICE / 8) * 8, row = i / 8 % 4 + i / (4 * SLICE) * 4;
        to[column * PITCH + row] = row < rows && column < columns ? (float)from[row * stride + column] : 0;
    }
}

/* c = a b^T of a_rows and b_rows rows, at most SIDE each, of e columns. */
template <class T>
static __device__ void multiply_rows(float c[EACH][EACH], float *slices, const T *a, int64_t a_stride, int a_rows,
                                     const T *b, int64_t b_stride, int b_rows, int e)
{
    float *left = slices, *right = slices + SLICE * PITCH;
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++) c[i][j] = 0;
    for (int at = 0; at < e; at += SLICE) {
        __syncthreads();
        load_turned(left, a + at, a_stride, a_rows, e - at);
        load_turned(right, b + at, b_stride, b_rows, e - at);
        __syncthreads();
#pragma unroll 8
        for (int l = 0; l < SLICE; l++) {
            float4 x = *(const float4 *)(left + l * PITCH + EACH * thread_down());
            float4 y = *(const float4 *)(right + l * PITCH + EACH * thread_across());
            float xs[EACH] = {x.x, x.y, x.z, x.w}, ys[EACH] = {y.x, y.y, y.z, y.w};
            for (int i = 0; i < EACH; i++)
                for (int j = 0; j < EACH; j++) c[i][j] += xs[i] * ys[j];
        }
    }
}

/* weights[SIDE][PITCH] = c, turned round, once every thread is done with what was there. */
static __device__ void put_weights(float *weights, const float c[EACH][EACH])
{
    __syncthreads();
    for (int j = 0; j < EACH; j++) {
        float *to = weights + (EACH * thread_across() + j) * PITCH + EACH * thread_down();
        *(float4 *)to = make_float4(c[0][j], c[1][j], c[2][j], c[3][j]);
    }
}

/* sum += (weights turned back) x, for `rows` rows of x and `columns` columns, of which a thread has every ACROSS-th. */
template <int WIDE, class T>
static __device__ void add_weighted(float sum[EACH][WIDE], float *slices, const float *weights, const T *x,
                                    int64_t stride, int rows, int columns)
{
    const int width = ACROSS * WIDE;
    for (int at = 0; at < rows; at += SLICE) {
        __syncthreads();
        for (int i = threadIdx.x; i < SLICE * width; i += CUDA_THREADS) {
            int row = at + i / width, column = i % width;
            slices[i] = row < rows && column < columns ? (float)x[row * stride + column] : 0;
        }
        __syncthreads();
#pragma unroll 4
        for (int l = 0; l < SLICE; l++) {
            float4 p = *(const float4 *)(weights + (at + l) * PITCH + EACH * thread_down());
            float ps[EACH] = {p.x, p.y, p.z, p.w};
            for (int j = 0; j < WIDE; j++) {
                float value = slices[l * width + thread_across() + ACROSS * j];
                for (int i = 0; i < EACH; i++) sum[i][j] += ps[i] * value;
            }
        }
    }
}

/* The rows of a gradient that a thread has summed, or with `add` what they are to grow by. */
template <int WIDE, class T>
static __device__ void put_rows(T *to, int64_t stride, const float sum[EACH][WIDE], int rows, int columns, bool add)
{
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < WIDE; j++) {
            int row = EACH * thread_down() + i, column = thread_across() + ACROSS * j;
            if (row >= rows || column >= columns) continue;
            float before = add ? (float)to[row * stride + column] : 0;
            to[row * stride + column] = (T)(before + sum[i][j]);
        }
}

/* A query's scores over the threads that share its row. */
static __device__ float row_greatest(float x)
{
    for (int far = ACROSS / 2; far > 0; far /= 2) x = fmaxf(x, __shfl_xor_sync(~0U, x, far));
    return x;
}

static __device__ float row_sum(float x)
{
    for (int far = ACROSS / 2; far > 0; far /= 2) x += __shfl_xor_sync(~0U, x, far);
    return x;
}

/* How many of the keys from number `key` on a query sees. */
static __device__ int keys_seen(int query, int key, sizes z)
{
    return min(SIDE, (z.causal ? query + 1 : z.keys) - key);
}

/* Products with the keys from number `key` on become exponentials relative to the greatest score so far; the first row is that
 * of query number `query`. A NaN is found by the sum. */
template <int WIDE>
static __device__ void exp_tile(float c[EACH][EACH], float sum[EACH][WIDE], float *tops, float *totals, int query,
                                int key, sizes z)
{
    const float scale = z.scale;
    for (int i = 0; i < EACH; i++) {
        float greatest = -INFINITY, total = 0;
        const int seen = keys_seen(query + i, key, z);
        for (int j = 0; j < EACH; j++) {
            if (EACH * thread_across() + j >= seen) c[i][j] = -INFINITY;
            greatest = fmaxf(greatest, c[i][j]);
        }
        float top = fmaxf(tops[i], row_greatest(greatest) * scale), kept = expf(tops[i] - top);
        for (int j = 0; j < EACH; j++) total += c[i][j] = expf(fmaf(c[i][j], scale, -top));
        totals[i] = totals[i] * kept + row_sum(total);
        tops[i] = top;
        for (int j = 0; j < WIDE; j++) sum[i][j] *= kept;
    }
}

/* Behind the last key that a block of queries from number `query` on sees. */
static __device__ int keys_end(int query, sizes z)
{
    return z.causal ? min(z.keys, query + SIDE) : z.keys;
}

template <int WIDE, class T>
static __global__ void __launch_bounds__(CUDA_THREADS) forward_f32(T *y, float *lse, operands<const T> x, sizes z)
{
    __shared__ __align__(16) float slices[2 * SLICE * PITCH], weights[SIDE * PITCH];
    const job &b = *share_job(z, z.s, SIDE, ACROSS * WIDE);
    const head &h = b.h;
    int rows = min(SIDE, z.s - b.row), columns = z.e - b.column;
    float sum[EACH][WIDE] = {}, totals[EACH] = {}, tops[EACH], c[EACH][EACH];
    for (int i = 0; i < EACH; i++) tops[i] = -INFINITY;
    for (int key = 0; key < keys_end(b.row, z); key += SIDE) {
        int keys = min(SIDE, z.keys - key);
        const T *k = x.k + h.kv + key * h.kv_stride, *v = x.v + h.kv + key * h.kv_stride;
        multiply_rows(c, slices, x.q + h.q + b.row * h.q_stride, h.q_stride, rows, k, h.kv_stride, keys, z.e);
        exp_tile<WIDE>(c, sum, tops, totals, b.row + EACH * thread_down(), key, z);
        put_weights(weights, c);
        add_weighted<WIDE>(sum, slices, weights, v + b.column, h.kv_stride, keys, columns);
    }
    for (int i = 0; i < EACH; i++) {
        int row = b.row + EACH * thread_down() + i;
        if (row >= z.s) continue;
        if (b.column == 0 && thread_across() == 0) lse[h.lse + row] = tops[i] + logf(totals[i]);
        T *to = y + h.y + row * h.y_stride + b.column;
        for (int j = 0; j < WIDE; j++) {
            int column = thread_across() + ACROSS * j;
            if (column < columns) to[column] = (T)(sum[i][j] / totals[i]);
        }
    }
}

/* A product of query and key becomes its probability p, that of dy and value the gradient of the scores; 0 outside the tile
 * and where the query does not see the key. */
static __device__ inline void find_slope(float *p, float *slope, bool inside, float log_sum, float mean, float scale)
{
    *p = inside ? expf(fmaf(*p, scale, -log_sum)) : 0;
    *slope = inside ? *p * (*slope - mean) * scale : 0;
}

/* The scores of a block of keys (rows) and a tile of queries, over all queries: gradients of keys and values. */
template <int WIDE, class T>
static __global__ void __launch_bounds__(CUDA_THREADS)
    backward_keys_f32(operands<T> d, const T *dy, const float *lse, const float *means, operands<const T> x, sizes z,
                      bool add)
{
    __shared__ __align__(16) float slices[2 * SLICE * PITCH], weights[SIDE * PITCH];
    const job &b = *share_job(z, z.keys, SIDE, ACROSS * WIDE);
    const head &h = b.h;
    int rows = min(SIDE, z.keys - b.row), columns = z.e - b.column;
    const T *k = x.k + h.kv + b.row * h.kv_stride, *v = x.v + h.kv + b.row * h.kv_stride;
    float dk[EACH][WIDE] = {}, dv[EACH][WIDE] = {}, p[EACH][EACH], slope[EACH][EACH];
    for (int query = z.causal ? b.row : 0; query < z.s; query += SIDE) {
        int queries = min(SIDE, z.s - query);
        const T *q = x.q + h.q + query * h.q_stride, *dy_rows = dy + h.y + query * h.y_stride;
        multiply_rows(p, slices, k, h.kv_stride, rows, q, h.q_stride, queries, z.e);
        multiply_rows(slope, slices, v, h.kv_stride, rows, dy_rows, h.y_stride, queries, z.e);
        for (int j = 0; j < EACH; j++) {
            int column = EACH * thread_across() + j;
            bool inside = column < queries;
            float log_sum = inside ? lse[h.lse + query + column] : 0, mean = inside ? means[h.lse + query + column] : 0;
            for (int i = 0; i < EACH; i++) {
                bool seen = inside && EACH * thread_down() + i < keys_seen(query + column, b.row, z);
                find_slope(&p[i][j], &slope[i][j], seen, log_sum, mean, z.scale);
            }
        }
        put_weights(weights, p);
        add_weighted<WIDE>(dv, slices, weights, dy_rows + b.column, h.y_stride, queries, columns);
        put_weights(weights, slope);
        add_weighted<WIDE>(dk, slices, weights, q + b.column, h.q_stride, queries, columns);
    }
    int64_t at = h.kv + b.row * h.kv_stride + b.column;
    if (d.k) put_rows<WIDE>(d.k + at, h.kv_stride, dk, rows, columns, add);
    if (d.v) put_rows<WIDE>(d.v + at, h.kv_stride, dv, rows, columns, add);
}

/* The scores of a block of queries (rows) and a tile of keys, over all keys: the gradient of the queries. */
template <int WIDE, class T>
static __global__ void __launch_bounds__(CUDA_THREADS, WIDE < WIDE_MAX ? 2 : 1)
    backward_queries_f32(T *dq_rows, const T *dy, const float *lse, const float *means, operands<const T> x, sizes z,
                         bool add)
{
    __shared__ __align__(16) float slices[2 * SLICE * PITCH], weights[SIDE * PITCH];
    const job &b = *share_job(z, z.s, SIDE, ACROSS * WIDE);
    const head &h = b.h;
    int rows = min(SIDE, z.s - b.row), columns = z.e - b.column;
    const T *q = x.q + h.q + b.row * h.q_stride, *dy_rows = dy + h.y + b.row * h.y_stride;
    float dq[EACH][WIDE] = {}, log_sums[EACH], row_means[EACH], p[EACH][EACH], slope[EACH][EACH];
    for (int i = 0; i < EACH; i++) {
        int row = EACH * thread_down() + i;
        log_sums[i] = row < rows ? lse[h.lse + b.row + row] : 0;
        row_means[i] = row < rows ? means[h.lse + b.row + row] : 0;
    }
    for (int key = 0; key < keys_end(b.row, z); key += SIDE) {
        int keys = min(SIDE, z.keys - key);
        const T *k = x.k + h.kv + key * h.kv_stride, *v = x.v + h.kv + key * h.kv_stride;
        multiply_rows(p, slices, q, h.q_stride, rows, k, h.kv_stride, keys, z.e);
        multiply_rows(slope, slices, dy_rows, h.y_stride, rows, v, h.kv_stride, keys, z.e);
        for (int i = 0; i < EACH; i++) {
            int seen = keys_seen(b.row + EACH * thread_down() + i, key, z);
            for (int j = 0; j < EACH; j++) {
                bool inside = EACH * thread_across() + j < seen;
                find_slope(&p[i][j], &slope[i][j], inside, log_sums[i], row_means[i], z.scale);
            }
        }
        put_weights(weights, slope);
        add_weighted<WIDE>(dq, slices, weights, k + b.column, h.kv_stride, keys, columns);
    }
    put_rows<WIDE>(dq_rows + h.q + b.row * h.q_stride + b.column, h.q_stride, dq, rows, columns, add);
}

template <int WIDE, class T>
static void start_forward_f32(T *y, float *lse, operands<const T> x, int64_t pairs, sizes z)
{
    forward_f32<WIDE><<<job_count(pairs, z, z.s, SIDE, ACROSS * WIDE), CUDA_THREADS, 0, cuda_stream>>>(y, lse, x, z);
    CUDA_LAUNCHED("attention_fwd");
}

template <int WIDE, class T>
static void start_backward_f32(operands<T> d, const T *dy, const T *y, const float *lse, operands<const T> x,
                               int64_t pairs, sizes z, bool add)
{
    const float *means = find_means(dy, y, pairs * z.s, z);
    if (!means) return;
    if (d.k || d.v) {
        unsigned blocks = job_count(pairs, z, z.keys, SIDE, ACROSS * WIDE);
        backward_keys_f32<WIDE><<<blocks, CUDA_THREADS, 0, cuda_stream>>>(d, dy, lse, means, x, z, add);
        CUDA_LAUNCHED("attention_bwd, keys and values");
    }
    if (d.q) {
        unsigned blocks = job_count(pairs, z, z.s, SIDE, ACROSS * WIDE);
        backward_queries_f32<WIDE><<<blocks, CUDA_THREADS, 0, cuda_stream>>>(d.q, dy, lse, means, x, z, add);
        CUDA_LAUNCHED("attention_bwd, queries");
    }
}

/* The function whose blocks give e columns at once, or 128 where there are more than 96. */
#define START_F32(function, e, ...)                                                                                    \
    ((e) <= 64   ? function<4>(__VA_ARGS__)                                                                            \
     : (e) <= 80 ? function<5>(__VA_ARGS__)                                                                            \
     : (e) <= 96 ? function<6>(__VA_ARGS__)                                                                            \
                 : function<WIDE_MAX>(__VA_ARGS__))

template <class T> void attention_f32_fwd(T *y, float *lse, operands<const T> x, int64_t pairs, sizes z)
{
    START_F32(start_forward_f32, z.e, y, lse, x, pairs, z);
}

template <class T>
void attention_f32_bwd(operands<T> d, const T *dy, const T *y, const float *lse, operands<const T> x, int64_t pairs,
                       sizes z, bool add)
{
    START_F32(start_backward_f32, z.e, d, dy, y, lse, x, pairs, z, add);
}

template void attention_f32_fwd(float *, float *, operands<const float>, int64_t, sizes);
template void attention_f32_bwd(operands<float>, const float *, const float *, const float *, operands<const float>,
                                int64_t, sizes, bool);
template void attention_f32_fwd(bf16 *, float *, operands<const bf16>, int64_t, sizes);
template void attention_f32_bwd(operands<bf16>, const bf16 *, const bf16 *, const float *, operands<const bf16>,
                                int64_t, sizes, bool);
