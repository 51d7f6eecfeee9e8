/* Attention in bfloat16, backward: a kernel for keys and values and one for queries, or one that does all of a short narrow
 * head. */
#include "cuda/attention_bf16.cuh"

/* 16 HEIGHT rows of a gradient, of which there are `rows`, or with `add` what they are to grow by. What 16 rows were is
 * all on its way before the first number is stored; the compiler would bring and store one by one. */
template <int HEIGHT, int COUNT, class T>
static __device__ void put_warp_gradient(T *to, int64_t stride, const float sum[HEIGHT][COUNT][4], int rows, int e,
                                         bool add)
{
#pragma unroll
    for (int m = 0; m < HEIGHT; m++) {
        int row = 16 * m + lane() / 4;
        T *at = to + row * stride + lane() % 4 * 2;
        pack<2> before[2][COUNT] = {};
        if (add)
            for (int half = 0; half < 2; half++)
                for (int t = 0; t < COUNT; t++)
                    if (row + 8 * half < rows && 8 * t < e) before[half][t] = load<2>(at + 8 * half * stride + 8 * t);
        asm volatile("" : : : "memory");
        for (int half = 0; half < 2; half++)
            for (int t = 0; t < COUNT; t++)
                if (row + 8 * half < rows && 8 * t < e) {
                    const float *more = sum[m][t] + 2 * half;
                    pack<2> old = before[half][t];
                    store<2>(at + 8 * half * stride + 8 * t, {old.v[0] + more[0], old.v[1] + more[1]});
                }
    }
}

/* The statistics of a tile's queries: logs of sums to the base 2 and scaled means. Beyond the last query: P = 0. */
static __device__ void load_statistics(float *logs, float *scaled_means, const float *lse, const float *means,
                                       int queries, float scale)
{
    int i = threadIdx.x;
    if (i >= TILE) return;
    logs[i] = i < queries ? lse[i] * LOG2_E : INFINITY;
    scaled_means[i] = i < queries ? means[i] * scale : 0;
}

/* A block of keys (rows) against tiles of queries: gradients of keys and values. */
template <int TILES, class T>
static __global__ void __launch_bounds__(THREADS, 2)
    backward_keys_bf16(operands<T> d, const T *dy, const float *lse, const float *means, operands<const T> x, sizes z,
                       bool add)
{
    enum {
        HEIGHT = plan<TILES>::HEIGHT,
        PITCH = plan<TILES>::PITCH,
        ROWS = plan<TILES>::ROWS,
        PART = plan<TILES>::PART
    };
    extern __shared__ __align__(16) bf16 tiles[];
    bf16 *k = tiles, *v = k + ROWS * PITCH, *q = v + ROWS * PITCH, *slope_y = q + TILE * PITCH;
    float *logs = (float *)(tiles + plan<TILES>::BACKWARD_ROWS * PITCH), *scaled_means = logs + TILE;
    const job &b = *share_job(z, z.keys, ROWS, z.e);
    const head &h = b.h;
    int warp_row = threadIdx.x / 32 * 16 * HEIGHT, warp_rows = z.keys - b.row - warp_row;
    float dk[HEIGHT][TILES][4] = {}, dv[HEIGHT][TILES][4] = {}, factor = z.scale * LOG2_E;
    load_rows<TILES, ROWS / AT_ONCE>(k, x.k + h.kv + b.row * h.kv_stride, h.kv_stride, z.keys - b.row, z.e);
    load_rows<TILES, ROWS / AT_ONCE>(v, x.v + h.kv + b.row * h.kv_stride, h.kv_stride, z.keys - b.row, z.e);
#pragma unroll 1
    for (int query = 0; query < z.s; query += TILE) {
        __syncthreads();
        load_rows<TILES, TILE / AT_ONCE>(q, x.q + h.q + query * h.q_stride, h.q_stride, z.s - query, z.e);
        load_rows<TILES, TILE / AT_ONCE>(slope_y, dy + h.y + query * h.y_stride, h.y_stride, z.s - query, z.e);
        load_statistics(logs, scaled_means, lse + h.lse + query, means + h.lse + query, z.s - query, z.scale);
        wait_for_rows();
        if (warp_rows <= 0) continue;
#pragma unroll 1
        for (int part = 0; part < TILE && query + part < z.s; part += PART) {
            float p[HEIGHT][PART / 8][4], slope[HEIGHT][PART / 8][4];
            multiply_tile<TILES, PART / 8>(p, k + warp_row * PITCH, q + part * PITCH);
            for (int j = 0; j < PART / 8; j++)
                for (int i = 0; i < 4; i++) {
                    float log = logs[part + 8 * j + lane() % 4 * 2 + i % 2];
                    for (int m = 0; m < HEIGHT; m++) p[m][j][i] = power_of_2(fmaf(p[m][j][i], factor, -log));
                }
            add_weighted_tile<TILES, PART / 8>(dv, p, slope_y + part * PITCH);
            multiply_tile<TILES, PART / 8>(slope, v + warp_row * PITCH, slope_y + part * PITCH);
            for (int j = 0; j < PART / 8; j++)
                for (int i = 0; i < 4; i++) {
                    float mean = scaled_means[part + 8 * j + lane() % 4 * 2 + i % 2];
                    for (int m = 0; m < HEIGHT; m++) slope[m][j][i] = p[m][j][i] * fmaf(slope[m][j][i], z.scale, -mean);
                }
            add_weighted_tile<TILES, PART / 8>(dk, slope, q + part * PITCH);
        }
    }
    int64_t at = h.kv + (b.row + warp_row) * h.kv_stride;
    if (d.k) put_warp_gradient<HEIGHT, TILES>(d.k + at, h.kv_stride, dk, warp_rows, z.e, add);
    if (d.v) put_warp_gradient<HEIGHT, TILES>(d.v + at, h.kv_stride, dv, warp_rows, z.e, add);
}

/* A block of queries (rows) against tiles of keys: the gradient of the queries. */
template <int TILES, class T>
static __global__ void __launch_bounds__(THREADS, 2)
    backward_queries_bf16(T *dq_rows, const T *dy, const float *lse, const float *means, operands<const T> x, sizes z,
                          bool add)
{
    enum { HEIGHT = plan<TILES>::HEIGHT, PITCH = plan<TILES>::PITCH, ROWS = plan<TILES>::ROWS, PART = TILE / 2 };
    extern __shared__ __align__(16) bf16 tiles[];
    bf16 *q = tiles, *slope_y = q + ROWS * PITCH, *k = slope_y + ROWS * PITCH, *v = k + TILE * PITCH;
    const job &b = *share_job(z, z.s, ROWS, z.e);
    const head &h = b.h;
    int warp_row = threadIdx.x / 32 * 16 * HEIGHT, warp_rows = z.s - b.row - warp_row;
    float dq[HEIGHT][TILES][4] = {}, logs[HEIGHT][2], scaled_means[HEIGHT][2], factor = z.scale * LOG2_E;
    for (int m = 0; m < HEIGHT; m++)
        for (int half = 0; half < 2; half++) {
            int row = 16 * m + 8 * half + lane() / 4;
            int64_t at = h.lse + b.row + warp_row + row;
            logs[m][half] = row < warp_rows ? lse[at] * LOG2_E : INFINITY;
            scaled_means[m][half] = row < warp_rows ? means[at] * z.scale : 0;
        }
    load_rows<TILES, ROWS / AT_ONCE>(q, x.q + h.q + b.row * h.q_stride, h.q_stride, z.s - b.row, z.e);
    load_rows<TILES, ROWS / AT_ONCE>(slope_y, dy + h.y + b.row * h.y_stride, h.y_stride, z.s - b.row, z.e);
#pragma unroll 1
    for (int key = 0; key < z.keys; key += TILE) {
        __syncthreads();
        load_rows<TILES, TILE / AT_ONCE>(k, x.k + h.kv + key * h.kv_stride, h.kv_stride, z.keys - key, z.e);
        load_rows<TILES, TILE / AT_ONCE>(v, x.v + h.kv + key * h.kv_stride, h.kv_stride, z.keys - key, z.e);
        wait_for_rows();
        if (warp_rows <= 0) continue;
#pragma unroll 1
        for (int part = 0; part < TILE && key + part < z.keys; part += PART) {
            float p[HEIGHT][PART / 8][4], slope[HEIGHT][PART / 8][4];
            multiply_tile<TILES, PART / 8>(p, q + warp_row * PITCH, k + part * PITCH);
            multiply_tile<TILES, PART / 8>(slope, slope_y + warp_row * PITCH, v + part * PITCH);
            if (z.keys - key - part < PART) mask_keys<HEIGHT, PART / 8>(p, z.keys - key - part);
            for (int m = 0; m < HEIGHT; m++)
                for (int j = 0; j < PART / 8; j++)
                    for (int i = 0; i < 4; i++)
                        slope[m][j][i] = power_of_2(fmaf(p[m][j][i], factor, -logs[m][i / 2])) *
                                         fmaf(slope[m][j][i], z.scale, -scaled_means[m][i / 2]);
            add_weighted_tile<TILES, PART / 8>(dq, slope, k + part * PITCH);
        }
    }
    T *to = dq_rows + h.q + (b.row + warp_row) * h.q_stride;
    put_warp_gradient<HEIGHT, TILES>(to, h.q_stride, dq, warp_rows, z.e, add);
}

enum {
    WHOLE_ROWS = 256, /* most rows of a head that one block holds */
};

/* Shared memory of backward_whole_bf16 with `rows` rows: K, V, Q, dY, dS^T of half the queries, and statistics. */
template <int TILES> static int whole_bytes(int rows)
{
    return rows * (4 * plan<TILES>::PITCH + rows / 2 + 8) * (int)sizeof(bf16) + rows * (int)sizeof(float2);
}

/* What load_statistics finds, side by side and of all queries of a head, and the means themselves. */
template <class T>
static __device__ void find_statistics(float2 *statistics, const float *lse, const T *dy, const T *y, const head &h,
                                       sizes z)
{
#pragma unroll
    for (int turn = 0; turn < 4; turn++) {
        int row = threadIdx.x / 4 + turn * (blockDim.x / 4);
        bool inside = row < z.s;
        int64_t at = h.y + row * h.y_stride;
        float mean = multiply_row<8>(dy + at, y + at, inside ? z.e : 0);
        if (threadIdx.x % 4 == 0)
            statistics[row] = make_float2(inside ? lse[h.lse + row] * LOG2_E : INFINITY, mean * z.scale);
    }
}

/* A warp's products of K and Q, of 32 keys and 8 COUNT queries, become P^T. */
template <int COUNT> static __device__ void find_weights(float p[2][COUNT][4], const float2 *statistics, float factor)
{
    for (int j = 0; j < COUNT; j++) {
        float4 two = *(const float4 *)(statistics + 8 * j + lane() % 4 * 2);
        for (int m = 0; m < 2; m++)
            for (int i = 0; i < 4; i++) p[m][j][i] = power_of_2(fmaf(p[m][j][i], factor, i % 2 ? -two.z : -two.x));
    }
}

/* Products of V and dY, of the same keys and of 16 queries, become dS^T; P^T of these queries begins at tile `from`. */
template <int COUNT>
static __device__ void find_slopes(float slope[2][2][4], const float p[2][COUNT][4], int from, const float2 *statistics,
                                   float scale)
{
    for (int j = 0; j < 2; j++) {
        float4 two = *(const float4 *)(statistics + 8 * j + lane() % 4 * 2);
        for (int m = 0; m < 2; m++)
            for (int i = 0; i < 4; i++)
                slope[m][j][i] = p[m][from + j][i] * fmaf(slope[m][j][i], scale, i % 2 ? -two.w : -two.y);
    }
}

/* to[32][pitch] = a warp's dS^T of 16 queries, rounded. */
static __device__ void put_slopes(bf16 *to, int pitch, const float slope[2][2][4])
{
    to += lane() / 4 * pitch + lane() % 4 * 2;
    for (int m = 0; m < 2; m++)
        for (int half = 0; half < 2; half++)
            for (int j = 0; j < 2; j++)
                *(uint32_t *)(to + (16 * m + 8 * half) * pitch + 8 * j) =
                    round_pair(slope[m][j][2 * half], slope[m][j][2 * half + 1]);
}

/* Rows of keys behind the last one become zeros, for as many queries; each lane clears what it put. */
static __device__ void clear_slopes(bf16 *to, int pitch, int keys, int queries)
{
    for (int row = lane() / 4; row < 32; row += 8)
        for (int column = lane() % 4 * 2; row >= keys && column < queries; column += 8)
            *(uint32_t *)(to + row * pitch + column) = 0;
}

/* Tiles FROM to TO of the columns of dQ = dS K of 32 queries, of which there are `queries`. */
template <int TILES, int FROM, int TO, class T>
static __device__ void put_query_gradient(T *dq, int64_t stride, const bf16 *slopes, int pitch, const bf16 *k,
                                          int queries, sizes z, bool add)
{
    enum { PITCH = plan<TILES>::PITCH, COUNT = TO - FROM };
    float sum[2][COUNT][4] = {};
    slopes += (lane() % 8 + lane() / 16 * 8) * pitch + lane() / 8 % 2 * 8;
    k += lane() % 16 * PITCH + lane() / 16 * 8 + 8 * FROM;
#pragma unroll 2
    for (int key = 0; key < z.s; key += 16) {
        uint32_t left[2][4];
        for (int m = 0; m < 2; m++) load_turned_matrices(left[m], slopes + key * pitch + 16 * m);
        add_16_rows<2, COUNT>(sum, left, k + key * PITCH);
    }
    put_warp_gradient<2, COUNT>(dq + 8 * FROM, stride, sum, queries, z.e - 8 * FROM, add);
}

template <int TILES, class T> static __device__ void load_keys(bf16 *to, const T *k, const head &h, sizes z)
{
    load_rows<TILES, 4>(to, k + h.kv, h.kv_stride, z.s, z.e);
}

/* V, Q and dY of a head, one behind the other. */
template <int TILES, class T>
static __device__ void load_all_but_keys(bf16 *to, const T *dy, operands<const T> x, const head &h, sizes z)
{
    const int size = blockDim.x * plan<TILES>::PITCH;
    load_rows<TILES, 4>(to, x.v + h.kv, h.kv_stride, z.s, z.e);
    load_rows<TILES, 4>(to + size, x.q + h.q, h.q_stride, z.s, z.e);
    load_rows<TILES, 4>(to + 2 * size, dy + h.y, h.y_stride, z.s, z.e);
}

/* All gradients of a head of at most WHOLE_ROWS queries and as many keys by one block, with 5 products for the 7 of the two kernels above.
 * The head is in shared memory whole. A warp has 32 keys and goes over half of the queries for dK and dV, and leaves
 * dS^T of its keys in shared memory; then it has 32 of these queries and half of the columns, and finds dQ from all
 * keys. A block goes from head to head, and what a head has no more use for gives its room to the next one. */
template <int TILES>
static __global__ void __launch_bounds__(WHOLE_ROWS, 1)
    backward_whole_bf16(operands<bf16> d, const bf16 *dy, const bf16 *y, const float *lse, operands<const bf16> x,
                        int pairs, sizes z, bool add)
{
    enum { PITCH = plan<TILES>::PITCH, PART = TILES > 9 ? 16 : 32, MIDDLE = TILES / 2 };
    extern __shared__ __align__(16) bf16 tiles[];
    const int rows = blockDim.x, half = rows / 2, pitch = half + 8, warp = threadIdx.x / 32, keys = z.s - 32 * warp;
    bf16 *k = tiles, *v = k + rows * PITCH, *q = v + rows * PITCH, *slope_y = q + rows * PITCH,
         *slopes = slope_y + rows * PITCH;
    float2 *statistics = (float2 *)(slopes + rows * pitch);
#pragma unroll 1
    for (int pair = blockIdx.x; pair < pairs; pair += gridDim.x) {
        const int next = pair + gridDim.x;
        float dk[2][TILES][4] = {}, dv[2][TILES][4] = {};
        if (pair == blockIdx.x) {
            load_keys<TILES>(k, x.k, find_head(pair, z), z);
            load_all_but_keys<TILES>(v, dy, x, find_head(pair, z), z);
        }
        find_statistics(statistics, lse, dy, y, find_head(pair, z), z);
        wait_for_rows();
#pragma unroll 1
        for (int first = 0; first < z.s; first += half) {
#pragma unroll 1
            for (int query = first; query < min(first + half, z.s) && keys > 0; query += PART) {
                float p[2][PART / 8][4];
                multiply_tile<TILES, PART / 8>(p, k + 32 * warp * PITCH, q + query * PITCH);
                find_weights<PART / 8>(p, statistics + query, z.scale * LOG2_E);
                add_weighted_tile<TILES, PART / 8>(dv, p, slope_y + query * PITCH);
#pragma unroll
                for (int j = 0; j < PART / 16; j++) {
                    float slope[2][2][4];
                    int row = query + 16 * j;
                    multiply_tile<TILES, 2>(slope, v + 32 * warp * PITCH, slope_y + row * PITCH);
                    find_slopes<PART / 8>(slope, p, 2 * j, statistics + row, z.scale);
                    put_slopes(slopes + 32 * warp * pitch + row - first, pitch, slope);
                    add_weighted_tile<TILES, 2>(dk, slope, q + row * PITCH);
                }
            }
            if (0 < keys && keys < 32) clear_slopes(slopes + 32 * warp * pitch, pitch, keys, half);
            __syncthreads();
            if (first + half >= z.s && next < pairs) load_all_but_keys<TILES>(v, dy, x, find_head(next, z), z);
            /* Neighbouring warps, and those 4 apart, which share a tensor core, have the two halves of the columns. */
            const int query = warp / 2 * 32, queries = z.s - first - query;
            const head h = find_head(pair, z);
            bf16 *dq = d.q + h.q + (first + query) * h.q_stride;
            if ((warp ^ warp / 4) % 2)
                put_query_gradient<TILES, MIDDLE, TILES>(dq, h.q_stride, slopes + query, pitch, k, queries, z, add);
            else
                put_query_gradient<TILES, 0, MIDDLE>(dq, h.q_stride, slopes + query, pitch, k, queries, z, add);
            __syncthreads();
        }
        const head h = find_head(pair, z);
        const int64_t at = h.kv + 32 * warp * h.kv_stride;
        if (next < pairs) load_keys<TILES>(k, x.k, find_head(next, z), z);
        put_warp_gradient<2, TILES>(d.k + at, h.kv_stride, dk, keys, z.e, add);
        put_warp_gradient<2, TILES>(d.v + at, h.kv_stride, dv, keys, z.e, add);
    }
}

static int device_has(cudaDeviceAttr what)
{
    int device = 0, count = 0;
    cuda_note(cudaGetDevice(&device), "attention's device");
    cuda_note(cudaDeviceGetAttribute(&count, what, device), "attention's device");
    return count;
}

/* Says whether backward_whole_bf16 takes the work: narrow heads of few rows that fit shared memory, not too wide for the
 * registers. It has as many blocks as run at once. */
template <int TILES, class T>
static bool start_whole_bf16(operands<T> d, const T *dy, const T *y, const float *lse, operands<const T> x,
                             int64_t pairs, sizes z, bool add)
{
    if constexpr (plan<TILES>::HEIGHT == 2 && sizeof(T) == sizeof(bf16)) {
        static const int most_bytes = device_has(cudaDevAttrMaxSharedMemoryPerBlockOptin),
                         processors = device_has(cudaDevAttrMultiProcessorCount);
        if (z.s > WHOLE_ROWS || z.keys != z.s || pairs > INT32_MAX / 2 || !d.q || !d.k || !d.v) return false;
        const int rows = pieces(z.s, 64) * 64, bytes = whole_bytes<TILES>(rows);
        if (bytes > most_bytes) return false;
        const void *kernel = (const void *)backward_whole_bf16<TILES>;
        int at_once = 1;
        allow_shared(kernel, bytes);
        cuda_note(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&at_once, kernel, rows, bytes), "attention's blocks");
        int blocks = min((int)pairs, processors * at_once);
        backward_whole_bf16<TILES><<<blocks, rows, bytes, cuda_stream>>>(d, dy, y, lse, x, (int)pairs, z, add);
        CUDA_LAUNCHED("attention_bwd in bfloat16, whole heads");
        return true;
    }
    return false;
}

template <int TILES, class T>
static void start_backward_bf16(operands<T> d, const T *dy, const T *y, const float *lse, operands<const T> x,
                                int64_t pairs, sizes z, bool add)
{
    const int of_keys = plan<TILES>::BACKWARD_BYTES + plan<TILES>::STATISTICS_BYTES,
              of_queries = plan<TILES>::BACKWARD_BYTES;
    static_assert(plan<TILES>::BACKWARD_BYTES + plan<TILES>::STATISTICS_BYTES <= 99 * 1024, "what every device has");
    if (start_whole_bf16<TILES>(d, dy, y, lse, x, pairs, z, add)) return;
    const float *means = find_means(dy, y, pairs * z.s, z);
    if (!means) return;
    allow_shared((const void *)backward_keys_bf16<TILES, T>, of_keys);
    allow_shared((const void *)backward_queries_bf16<TILES, T>, of_queries);
    if (d.k || d.v) {
        unsigned blocks = job_count(pairs, z, z.keys, plan<TILES>::ROWS, z.e);
        backward_keys_bf16<TILES><<<blocks, THREADS, of_keys, cuda_stream>>>(d, dy, lse, means, x, z, add);
        CUDA_LAUNCHED("attention_bwd in bfloat16, keys and values");
    }
    if (d.q) {
        unsigned blocks = job_count(pairs, z, z.s, plan<TILES>::ROWS, z.e);
        backward_queries_bf16<TILES><<<blocks, THREADS, of_queries, cuda_stream>>>(d.q, dy, lse, means, x, z, add);
        CUDA_LAUNCHED("attention_bwd in bfloat16, queries");
    }
}

template <class T>
void attention_bf16_bwd(operands<T> d, const T *dy, const T *y, const float *lse, operands<const T> x, int64_t pairs,
                        sizes z, bool add)
{
    START_BF16(start_backward_bf16, z.e, d, dy, y, lse, x, pairs, z, add);
}

template void attention_bf16_bwd(operands<float>, const float *, const float *, const float *, operands<const float>,
                                 int64_t, sizes, bool);
template void attention_bf16_bwd(operands<bf16>, const bf16 *, const bf16 *, const float *, operands<const bf16>,
                                 int64_t, sizes, bool);
