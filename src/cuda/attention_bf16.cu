/* Attention in bfloat16, after the formulas of attention.cu.
 *
 * Operands are rounded when they are brought to shared memory, P and dS when they become operands; sums, P, dS and
 * statistics are float32. A block is 4 warps of 16 or 32 rows each against tiles of 64 rows. All products are of 16 x
 * 16 by 16 x 8 matrices (mma.m16n8k16). Where lane 4 g + t of a warp holds what:
 *     left  16 x 16   register 0: row g, columns 2t, 2t+1;  1: row g+8;  2, 3: the same rows, columns 2t+8, 2t+9
 *     right 16 x 8    register 0: rows 2t, 2t+1 of column g;  1: rows 2t+8, 2t+9
 *     sum   16 x 8    number 0, 1: row g, columns 2t, 2t+1;  2, 3: row g+8
 * so that two sums side by side, rounded, are a left operand without any exchange between lanes.
 * Arrays begin at multiples of 16 bytes, as all blocks of an arena do.
 *
 * T is what qkv, y and their gradients hold: float, or bf16 (NARROW), which is rounded once more where a result is
 * stored. Rows of bf16 go to shared memory as they are, without a way through registers. */
#include "cuda/attention.cuh"

enum {
    WARPS = 4,
    THREADS = 32 * WARPS,
    AT_ONCE = THREADS / 4, /* rows that they bring to shared memory at a time */
    TILE = 64,             /* rows that a block's rows are multiplied with at a time */
};

/* What follows from the width of a head, TILES times 8 columns. */
template <int TILES> struct plan {
    enum {
        WIDTH = 8 * TILES, /* of a row in shared memory */
        PITCH =
            WIDTH / 16 * 16 + 8, /* from row to row: an odd number of 16 bytes, so that 8 rows are in different banks */
        HEIGHT = TILES > 10 ? 1 : 2, /* of a warp's rows, in 16: as many as its registers hold */
        PART = TILES > 8 ? 16 : 32,  /* rows of a tile at a time in backward_keys_bf16, as many as registers hold */
        ROWS = 16 * HEIGHT * WARPS,  /* of a block */
        FORWARD_ROWS = ROWS + 2 * TILE,
        BACKWARD_ROWS = 2 * ROWS + 2 * TILE,
        FORWARD_BYTES = FORWARD_ROWS * PITCH * (int)sizeof(bf16),
        BACKWARD_BYTES = BACKWARD_ROWS * PITCH * (int)sizeof(bf16),
        STATISTICS_BYTES = 2 * TILE * (int)sizeof(float),
    };
};

/* ln 2 and its inverse: exponentials are powers of 2 here. */
static const float LN_2 = 0.693147180559945F, LOG2_E = 1.44269504088896F;

static __device__ int lane(void)
{
    return threadIdx.x % 32;
}

static __device__ float power_of_2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

static __device__ uint32_t round_pair(float low, float high)
{
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *(const uint32_t *)&pair;
}

/* Four matrices of 8 x 8, or two; lanes 8 i to 8 i + 7 say where the rows of matrix i are. Lane 4 g + t receives columns 2t,
 * 2t+1 of row g of each, or turned round rows 2t, 2t+1 of column g. */
#define LOAD_FOUR(name, turned)                                                                                        \
    static __device__ void name(uint32_t to[4], const bf16 *row)                                                       \
    {                                                                                                                  \
        uint32_t at = (uint32_t)__cvta_generic_to_shared(row);                                                         \
        asm volatile("ldmatrix.sync.aligned.m8n8.x4" turned ".shared.b16 {%0, %1, %2, %3}, [%4];"                      \
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])                                              \
                     : "r"(at)                                                                                         \
                     : "memory");                                                                                      \
    }
#define LOAD_TWO(name, turned)                                                                                         \
    static __device__ void name(uint32_t to[2], const bf16 *row)                                                       \
    {                                                                                                                  \
        uint32_t at = (uint32_t)__cvta_generic_to_shared(row);                                                         \
        asm volatile("ldmatrix.sync.aligned.m8n8.x2" turned ".shared.b16 {%0, %1}, [%2];"                              \
                     : "=r"(to[0]), "=r"(to[1])                                                                        \
                     : "r"(at)                                                                                         \
                     : "memory");                                                                                      \
    }
LOAD_FOUR(load_matrices, "")
LOAD_FOUR(load_turned_matrices, ".trans")
LOAD_TWO(load_two_matrices, "")
LOAD_TWO(load_two_turned_matrices, ".trans")

/* sum += left right */
static __device__ void multiply(float sum[4], const uint32_t left[4], uint32_t right0, uint32_t right1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right0), "r"(right1));
}

/* sum += the left half of left times the upper half of right: 8 columns and rows. */
static __device__ void multiply_half(float sum[4], const uint32_t left[2], uint32_t right0)
{
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(left[0]), "r"(left[1]), "r"(right0));
}

/* 16 bytes on their way from global memory to shared memory, or zeros there; see wait_for_copies. */
static __device__ void copy_16_bytes(bf16 *to, const bf16 *from, bool inside)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(at), "l"(__cvta_generic_to_global(from)), "r"(inside ? 16 : 0)
                 : "memory");
}

/* Until the thread's own copies are there. */
static __device__ void wait_for_copies(void)
{
    asm volatile("cp.async.wait_all;" : : : "memory");
}

/* Behind load_rows: until those of all threads are there. */
static __device__ void wait_for_rows(void)
{
    wait_for_copies();
    __syncthreads();
}

/* to[][PITCH] = rounded rows of e columns, `rows` of them; 0 outside. Four threads bring a row, 16 columns at a time:
 * TURNS times as many rows as a quarter of the threads. Each has all its numbers of HEIGHT rows on the way before it
 * stores the first. */
template <int TILES, int TURNS>
static __device__ void load_rows(bf16 *to, const float *from, int64_t stride, int rows, int e)
{
    enum { WIDTH = plan<TILES>::WIDTH, STEPS = (WIDTH + 15) / 16, HEIGHT = plan<TILES>::HEIGHT };
    static_assert(TURNS % HEIGHT == 0, "whole turns");
    const int column = threadIdx.x % 4 * 4, apart = blockDim.x / 4;
#pragma unroll 1
    for (int first = threadIdx.x / 4; first < TURNS * apart; first += HEIGHT * apart) {
        float4 x[HEIGHT][STEPS];
#pragma unroll
        for (int turn = 0; turn < HEIGHT; turn++)
#pragma unroll
            for (int step = 0; step < STEPS; step++) {
                int row = first + turn * apart;
                const float *at = from + row * stride + column + 16 * step;
                bool inside = row < rows && column + 16 * step < e;
                x[turn][step] = inside ? *(const float4 *)at : make_float4(0, 0, 0, 0);
            }
#pragma unroll
        for (int turn = 0; turn < HEIGHT; turn++)
#pragma unroll
            for (int step = 0; step < STEPS; step++) {
                float4 y = x[turn][step];
                bf16 *at = to + (first + turn * apart) * plan<TILES>::PITCH + column + 16 * step;
                if (column + 16 * step < WIDTH) *(uint2 *)at = make_uint2(round_pair(y.x, y.y), round_pair(y.z, y.w));
            }
    }
}

/* The same from rows that hold bf16, 8 columns at a time. They arrive while the threads go on. */
template <int TILES, int TURNS>
static __device__ void load_rows(bf16 *to, const bf16 *from, int64_t stride, int rows, int e)
{
    enum { WIDTH = plan<TILES>::WIDTH };
    const int column = threadIdx.x % 4 * 8;
#pragma unroll
    for (int turn = 0; turn < TURNS; turn++) {
        int row = threadIdx.x / 4 + turn * (blockDim.x / 4);
#pragma unroll
        for (int at = column; at < column + WIDTH; at += 32)
            if (at < WIDTH)
                copy_16_bytes(to + row * plan<TILES>::PITCH + at, from + row * stride + at, row < rows && at < e);
    }
}

/* c = a b^T, of a warp's rows of a and 8 COUNT rows of b, both in shared memory. */
template <int TILES, int COUNT>
static __device__ void multiply_tile(float c[plan<TILES>::HEIGHT][COUNT][4], const bf16 *a, const bf16 *b)
{
    enum { HEIGHT = plan<TILES>::HEIGHT, PITCH = plan<TILES>::PITCH };
    const int rows_of_16 = lane() % 16 * PITCH + lane() / 16 * 8, end = 8 * (TILES - 1);
    const bf16 *last_b = b + rows_of_16 + end;
    a += rows_of_16;
    b += (lane() % 8 + lane() / 16 * 8) * PITCH + lane() / 8 % 2 * 8;
    for (int m = 0; m < HEIGHT; m++)
        for (int j = 0; j < COUNT; j++)
            for (int i = 0; i < 4; i++) c[m][j][i] = 0;
#pragma unroll
    for (int step = 0; step < TILES / 2; step++) {
        uint32_t left[HEIGHT][4], right[4];
        for (int m = 0; m < HEIGHT; m++) load_matrices(left[m], a + 16 * m * PITCH + 16 * step);
#pragma unroll
        for (int j = 0; j < COUNT; j += 2) {
            load_matrices(right, b + 8 * j * PITCH + 16 * step);
            for (int m = 0; m < HEIGHT; m++) {
                multiply(c[m][j], left[m], right[0], right[1]);
                multiply(c[m][j + 1], left[m], right[2], right[3]);
            }
        }
    }
    if constexpr (TILES % 2 == 1) {
        uint32_t left[HEIGHT][2], right[2];
        for (int m = 0; m < HEIGHT; m++) load_two_matrices(left[m], a + 16 * m * PITCH + end);
#pragma unroll
        for (int j = 0; j < COUNT; j += 2) {
            load_two_matrices(right, last_b + 8 * j * PITCH);
            for (int m = 0; m < HEIGHT; m++) {
                multiply_half(c[m][j], left[m], right[0]);
                multiply_half(c[m][j + 1], left[m], right[1]);
            }
        }
    }
}

/* sum += left x, of 16 columns of left and as many rows of x, which begin at the lane's row: see load_turned_matrices. */
template <int HEIGHT, int COUNT>
static __device__ void add_16_rows(float sum[HEIGHT][COUNT][4], const uint32_t left[HEIGHT][4], const bf16 *x)
{
    uint32_t right[4];
#pragma unroll
    for (int t = 0; t < COUNT; t += 2) {
        if (t + 1 < COUNT)
            load_turned_matrices(right, x + 8 * t);
        else
            load_two_turned_matrices(right, x + 8 * t);
        for (int m = 0; m < HEIGHT; m++) {
            multiply(sum[m][t], left[m], right[0], right[1]);
            if (t + 1 < COUNT) multiply(sum[m][t + 1], left[m], right[2], right[3]);
        }
    }
}

/* sum += c x, where c, rounded, has a warp's rows and 8 COUNT columns, and x as many rows in shared memory. */
template <int TILES, int COUNT>
static __device__ void add_weighted_tile(float sum[plan<TILES>::HEIGHT][TILES][4],
                                         const float c[plan<TILES>::HEIGHT][COUNT][4], const bf16 *x)
{
    enum { HEIGHT = plan<TILES>::HEIGHT, PITCH = plan<TILES>::PITCH };
    x += lane() % 16 * PITCH + lane() / 16 * 8;
#pragma unroll
    for (int j = 0; j < COUNT; j += 2) {
        uint32_t left[HEIGHT][4];
        for (int m = 0; m < HEIGHT; m++)
            for (int i = 0; i < 4; i++)
                left[m][i] = round_pair(c[m][j + i / 2][i % 2 * 2], c[m][j + i / 2][i % 2 * 2 + 1]);
        add_16_rows<HEIGHT, TILES>(sum, left, x + 8 * j * PITCH);
    }
}

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

/* 16 queries' products with a tile's keys become powers of 2 relative to the greatest so far; `factor` is scale
 * log2(e). A total is that of the lane's own columns. A NaN is found by the sum. */
template <int TILES>
static __device__ void exp_warp_rows(float c[TILE / 8][4], float sum[TILES][4], float tops[2], float totals[2],
                                     float factor)
{
    for (int half = 0; half < 2; half++) {
        float greatest = -INFINITY, total = 0;
        for (int j = 0; j < TILE / 8; j++) greatest = fmaxf(greatest, fmaxf(c[j][2 * half], c[j][2 * half + 1]));
        greatest = fmaxf(greatest, __shfl_xor_sync(~0U, greatest, 1));
        greatest = fmaxf(greatest, __shfl_xor_sync(~0U, greatest, 2));
        float top = fmaxf(tops[half], greatest * factor), kept = power_of_2(tops[half] - top);
        for (int j = 0; j < TILE / 8; j++)
            for (int i = 2 * half; i < 2 * half + 2; i++) total += c[j][i] = power_of_2(fmaf(c[j][i], factor, -top));
        totals[half] = totals[half] * kept + total;
        tops[half] = top;
        for (int t = 0; t < TILES; t++)
            for (int i = 2 * half; i < 2 * half + 2; i++) sum[t][i] *= kept;
    }
}

/* A tile's products with what lies behind its last key become those of keys that weigh nothing. */
template <int HEIGHT, int COUNT> static __device__ void mask_keys(float c[HEIGHT][COUNT][4], int keys)
{
    for (int m = 0; m < HEIGHT; m++)
        for (int j = 0; j < COUNT; j++)
            for (int i = 0; i < 4; i++)
                if (8 * j + lane() % 4 * 2 + i % 2 >= keys) c[m][j][i] = -INFINITY;
}

/* Writes a warp's rows of the result, of which there are `rows`, and the logs of their sums. */
template <int TILES, class T>
static __device__ void put_warp_rows(T *y, int64_t stride, float *lse, const float sum[plan<TILES>::HEIGHT][TILES][4],
                                     const float tops[][2], const float totals[][2], int rows, int e)
{
#pragma unroll
    for (int m = 0; m < plan<TILES>::HEIGHT; m++)
        for (int half = 0; half < 2; half++) {
            int row = 16 * m + 8 * half + lane() / 4;
            float total = totals[m][half];
            total += __shfl_xor_sync(~0U, total, 1);
            total += __shfl_xor_sync(~0U, total, 2);
            if (row >= rows) continue;
            if (lane() % 4 == 0) lse[row] = (tops[m][half] + log2f(total)) * LN_2;
            float factor = 1 / total;
            T *to = y + row * stride + lane() % 4 * 2;
            for (int t = 0; t < TILES; t++)
                if (8 * t < e) store<2>(to + 8 * t, {sum[m][t][2 * half] * factor, sum[m][t][2 * half + 1] * factor});
        }
}

template <int TILES, class T>
static __global__ void __launch_bounds__(THREADS, 2) forward_bf16(T *y, float *lse, const T *qkv, sizes z)
{
    enum { HEIGHT = plan<TILES>::HEIGHT, PITCH = plan<TILES>::PITCH, ROWS = plan<TILES>::ROWS };
    extern __shared__ __align__(16) bf16 tiles[];
    bf16 *q = tiles, *k = q + ROWS * PITCH, *v = k + TILE * PITCH;
    const job &b = *share_job(z, ROWS, z.e);
    const head &h = b.h;
    int warp_row = threadIdx.x / 32 * 16 * HEIGHT, warp_rows = z.s - b.row - warp_row;
    float sum[HEIGHT][TILES][4] = {}, tops[HEIGHT][2], totals[HEIGHT][2] = {};
    for (int m = 0; m < HEIGHT; m++) tops[m][0] = tops[m][1] = -INFINITY;
    load_rows<TILES, ROWS / AT_ONCE>(q, qkv + h.q + b.row * h.stride, h.stride, z.s - b.row, z.e);
    load_rows<TILES, TILE / AT_ONCE>(k, qkv + h.k, h.stride, z.s, z.e);
#pragma unroll 1
    for (int key = 0; key < z.s; key += TILE) { /* v comes while k is used, the next k while v is */
        float c[HEIGHT][TILE / 8][4];
        wait_for_rows();
        load_rows<TILES, TILE / AT_ONCE>(v, qkv + h.v + key * h.stride, h.stride, z.s - key, z.e);
        if (warp_rows > 0) multiply_tile<TILES, TILE / 8>(c, q + warp_row * PITCH, k);
        wait_for_rows();
        if (key + TILE < z.s)
            load_rows<TILES, TILE / AT_ONCE>(k, qkv + h.k + (key + TILE) * h.stride, h.stride, z.s - key - TILE, z.e);
        if (warp_rows <= 0) continue;
        if (z.s - key < TILE) mask_keys<HEIGHT, TILE / 8>(c, z.s - key);
#pragma unroll
        for (int m = 0; m < HEIGHT; m++) exp_warp_rows<TILES>(c[m], sum[m], tops[m], totals[m], z.scale * LOG2_E);
        add_weighted_tile<TILES, TILE / 8>(sum, c, v);
    }
    int row = b.row + warp_row;
    put_warp_rows<TILES>(y + h.y + row * h.y_stride, h.y_stride, lse + h.lse + row, sum, tops, totals, warp_rows, z.e);
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
    backward_keys_bf16(T *dqkv, const T *dy, const float *lse, const float *means, const T *qkv, sizes z, bool add)
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
    const job &b = *share_job(z, ROWS, z.e);
    const head &h = b.h;
    int warp_row = threadIdx.x / 32 * 16 * HEIGHT, warp_rows = z.s - b.row - warp_row;
    float dk[HEIGHT][TILES][4] = {}, dv[HEIGHT][TILES][4] = {}, factor = z.scale * LOG2_E;
    load_rows<TILES, ROWS / AT_ONCE>(k, qkv + h.k + b.row * h.stride, h.stride, z.s - b.row, z.e);
    load_rows<TILES, ROWS / AT_ONCE>(v, qkv + h.v + b.row * h.stride, h.stride, z.s - b.row, z.e);
#pragma unroll 1
    for (int query = 0; query < z.s; query += TILE) {
        __syncthreads();
        load_rows<TILES, TILE / AT_ONCE>(q, qkv + h.q + query * h.stride, h.stride, z.s - query, z.e);
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
    int64_t at = (b.row + warp_row) * h.stride;
    put_warp_gradient<HEIGHT, TILES>(dqkv + h.k + at, h.stride, dk, warp_rows, z.e, add);
    put_warp_gradient<HEIGHT, TILES>(dqkv + h.v + at, h.stride, dv, warp_rows, z.e, add);
}

/* A block of queries (rows) against tiles of keys: the gradient of the queries. */
template <int TILES, class T>
static __global__ void __launch_bounds__(THREADS, 2)
    backward_queries_bf16(T *dqkv, const T *dy, const float *lse, const float *means, const T *qkv, sizes z, bool add)
{
    enum { HEIGHT = plan<TILES>::HEIGHT, PITCH = plan<TILES>::PITCH, ROWS = plan<TILES>::ROWS, PART = TILE / 2 };
    extern __shared__ __align__(16) bf16 tiles[];
    bf16 *q = tiles, *slope_y = q + ROWS * PITCH, *k = slope_y + ROWS * PITCH, *v = k + TILE * PITCH;
    const job &b = *share_job(z, ROWS, z.e);
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
    load_rows<TILES, ROWS / AT_ONCE>(q, qkv + h.q + b.row * h.stride, h.stride, z.s - b.row, z.e);
    load_rows<TILES, ROWS / AT_ONCE>(slope_y, dy + h.y + b.row * h.y_stride, h.y_stride, z.s - b.row, z.e);
#pragma unroll 1
    for (int key = 0; key < z.s; key += TILE) {
        __syncthreads();
        load_rows<TILES, TILE / AT_ONCE>(k, qkv + h.k + key * h.stride, h.stride, z.s - key, z.e);
        load_rows<TILES, TILE / AT_ONCE>(v, qkv + h.v + key * h.stride, h.stride, z.s - key, z.e);
        wait_for_rows();
        if (warp_rows <= 0) continue;
#pragma unroll 1
        for (int part = 0; part < TILE && key + part < z.s; part += PART) {
            float p[HEIGHT][PART / 8][4], slope[HEIGHT][PART / 8][4];
            multiply_tile<TILES, PART / 8>(p, q + warp_row * PITCH, k + part * PITCH);
            multiply_tile<TILES, PART / 8>(slope, slope_y + warp_row * PITCH, v + part * PITCH);
            if (z.s - key - part < PART) mask_keys<HEIGHT, PART / 8>(p, z.s - key - part);
            for (int m = 0; m < HEIGHT; m++)
                for (int j = 0; j < PART / 8; j++)
                    for (int i = 0; i < 4; i++)
                        slope[m][j][i] = power_of_2(fmaf(p[m][j][i], factor, -logs[m][i / 2])) *
                                         fmaf(slope[m][j][i], z.scale, -scaled_means[m][i / 2]);
            add_weighted_tile<TILES, PART / 8>(dq, slope, k + part * PITCH);
        }
    }
    put_warp_gradient<HEIGHT, TILES>(dqkv + h.q + (b.row + warp_row) * h.stride, h.stride, dq, warp_rows, z.e, add);
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

template <int TILES, class T> static __device__ void load_keys(bf16 *to, const T *qkv, const head &h, sizes z)
{
    load_rows<TILES, 4>(to, qkv + h.k, h.stride, z.s, z.e);
}

/* V, Q and dY of a head, one behind the other. */
template <int TILES, class T>
static __device__ void load_all_but_keys(bf16 *to, const T *dy, const T *qkv, const head &h, sizes z)
{
    const int size = blockDim.x * plan<TILES>::PITCH;
    load_rows<TILES, 4>(to, qkv + h.v, h.stride, z.s, z.e);
    load_rows<TILES, 4>(to + size, qkv + h.q, h.stride, z.s, z.e);
    load_rows<TILES, 4>(to + 2 * size, dy + h.y, h.y_stride, z.s, z.e);
}

/* All gradients of a head of at most WHOLE_ROWS rows by one block, with 5 products for the 7 of the two kernels above.
 * The head is in shared memory whole. A warp has 32 keys and goes over half of the queries for dK and dV, and leaves
 * dS^T of its keys in shared memory; then it has 32 of these queries and half of the columns, and finds dQ from all
 * keys. A block goes from head to head, and what a head has no more use for gives its room to the next one. */
template <int TILES>
static __global__ void __launch_bounds__(WHOLE_ROWS, 1)
    backward_whole_bf16(bf16 *dqkv, const bf16 *dy, const bf16 *y, const float *lse, const bf16 *qkv, int pairs,
                        sizes z, bool add)
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
            load_keys<TILES>(k, qkv, find_head(pair, z), z);
            load_all_but_keys<TILES>(v, dy, qkv, find_head(pair, z), z);
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
            if (first + half >= z.s && next < pairs) load_all_but_keys<TILES>(v, dy, qkv, find_head(next, z), z);
            /* Neighbouring warps, and those 4 apart, which share a tensor core, have the two halves of the columns. */
            const int query = warp / 2 * 32, queries = z.s - first - query;
            const head h = find_head(pair, z);
            bf16 *dq = dqkv + h.q + (first + query) * h.stride;
            if ((warp ^ warp / 4) % 2)
                put_query_gradient<TILES, MIDDLE, TILES>(dq, h.stride, slopes + query, pitch, k, queries, z, add);
            else
                put_query_gradient<TILES, 0, MIDDLE>(dq, h.stride, slopes + query, pitch, k, queries, z, add);
            __syncthreads();
        }
        const head h = find_head(pair, z);
        bf16 *at = dqkv + 32 * warp * h.stride;
        if (next < pairs) load_keys<TILES>(k, qkv, find_head(next, z), z);
        put_warp_gradient<2, TILES>(at + h.k, h.stride, dk, keys, z.e, add);
        put_warp_gradient<2, TILES>(at + h.v, h.stride, dv, keys, z.e, add);
    }
}

/* A kernel may have 48 KiB of shared memory without asking. */
static void allow_shared(const void *kernel, int bytes)
{
    cuda_note(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
              "attention's shared memory");
}

template <int TILES, class T> static void start_forward_bf16(T *y, float *lse, const T *qkv, int64_t pairs, sizes z)
{
    const int bytes = plan<TILES>::FORWARD_BYTES;
    allow_shared((const void *)forward_bf16<TILES, T>, bytes);
    unsigned blocks = job_count(pairs, z, plan<TILES>::ROWS, z.e);
    forward_bf16<TILES><<<blocks, THREADS, bytes, cuda_stream>>>(y, lse, qkv, z);
    CUDA_LAUNCHED("attention_fwd in bfloat16");
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
static bool start_whole_bf16(T *dqkv, const T *dy, const T *y, const float *lse, const T *qkv, int64_t pairs, sizes z,
                             bool add)
{
    if constexpr (plan<TILES>::HEIGHT == 2 && sizeof(T) == sizeof(bf16)) {
        static const int most_bytes = device_has(cudaDevAttrMaxSharedMemoryPerBlockOptin),
                         processors = device_has(cudaDevAttrMultiProcessorCount);
        if (z.s > WHOLE_ROWS || pairs > INT32_MAX / 2) return false;
        const int rows = pieces(z.s, 64) * 64, bytes = whole_bytes<TILES>(rows);
        if (bytes > most_bytes) return false;
        const void *kernel = (const void *)backward_whole_bf16<TILES>;
        int at_once = 1;
        allow_shared(kernel, bytes);
        cuda_note(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&at_once, kernel, rows, bytes), "attention's blocks");
        int blocks = min((int)pairs, processors * at_once);
        backward_whole_bf16<TILES><<<blocks, rows, bytes, cuda_stream>>>(dqkv, dy, y, lse, qkv, (int)pairs, z, add);
        CUDA_LAUNCHED("attention_bwd in bfloat16, whole heads");
        return true;
    }
    return false;
}

template <int TILES, class T>
static void start_backward_bf16(T *dqkv, const T *dy, const T *y, const float *lse, const T *qkv, int64_t pairs,
                                sizes z, bool add)
{
    const int of_keys = plan<TILES>::BACKWARD_BYTES + plan<TILES>::STATISTICS_BYTES,
              of_queries = plan<TILES>::BACKWARD_BYTES;
    static_assert(plan<TILES>::BACKWARD_BYTES + plan<TILES>::STATISTICS_BYTES <= 99 * 1024, "what every device has");
    if (start_whole_bf16<TILES>(dqkv, dy, y, lse, qkv, pairs, z, add)) return;
    const float *means = find_means(dy, y, pairs * z.s, z);
    if (!means) return;
    allow_shared((const void *)backward_keys_bf16<TILES, T>, of_keys);
    allow_shared((const void *)backward_queries_bf16<TILES, T>, of_queries);
    unsigned blocks = job_count(pairs, z, plan<TILES>::ROWS, z.e);
    backward_keys_bf16<TILES><<<blocks, THREADS, of_keys, cuda_stream>>>(dqkv, dy, lse, means, qkv, z, add);
    CUDA_LAUNCHED("attention_bwd in bfloat16, keys and values");
    backward_queries_bf16<TILES><<<blocks, THREADS, of_queries, cuda_stream>>>(dqkv, dy, lse, means, qkv, z, add);
    CUDA_LAUNCHED("attention_bwd in bfloat16, queries");
}

/* The function of the least width that holds e columns: of multiples of 16 columns, and 72, DiT-XL's. */
#define START_BF16(function, e, ...)                                                                                   \
    ((e) == 72    ? function<9>(__VA_ARGS__)                                                                           \
     : (e) <= 16  ? function<2>(__VA_ARGS__)                                                                           \
     : (e) <= 32  ? function<4>(__VA_ARGS__)                                                                           \
     : (e) <= 48  ? function<6>(__VA_ARGS__)                                                                           \
     : (e) <= 64  ? function<8>(__VA_ARGS__)                                                                           \
     : (e) <= 80  ? function<10>(__VA_ARGS__)                                                                          \
     : (e) <= 96  ? function<12>(__VA_ARGS__)                                                                          \
     : (e) <= 112 ? function<14>(__VA_ARGS__)                                                                          \
                  : function<16>(__VA_ARGS__))

template <class T> void attention_bf16_fwd(T *y, float *lse, const T *qkv, int64_t pairs, sizes z)
{
    START_BF16(start_forward_bf16, z.e, y, lse, qkv, pairs, z);
}

template <class T>
void attention_bf16_bwd(T *dqkv, const T *dy, const T *y, const float *lse, const T *qkv, int64_t pairs, sizes z,
                        bool add)
{
    START_BF16(start_backward_bf16, z.e, dqkv, dy, y, lse, qkv, pairs, z, add);
}

template void attention_bf16_fwd(float *, float *, const float *, int64_t, sizes);
template void attention_bf16_bwd(float *, const float *, const float *, const float *, const float *, int64_t, sizes,
                                 bool);
template void attention_bf16_fwd(bf16 *, float *, const bf16 *, int64_t, sizes);
template void attention_bf16_bwd(bf16 *, const bf16 *, const bf16 *, const float *, const bf16 *, int64_t, sizes, bool);
