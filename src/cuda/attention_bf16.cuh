/* What the two passes of attention in bfloat16 share; attention.cu has the formulas.
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
 * T is what q, k, v, y and their gradients hold: float, or bf16 (NARROW), which is rounded once more where a result is
 * stored. Rows of bf16 go to shared memory as they are, without a way through registers. */
#ifndef CUDA_ATTENTION_BF16_CUH
#define CUDA_ATTENTION_BF16_CUH

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

/* Exponentials are powers of 2 here. */
static const float LOG2_E = 1.44269504088896F;

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

/* A tile's products with what lies behind its last key become those of keys that weigh nothing. */
template <int HEIGHT, int COUNT> static __device__ void mask_keys(float c[HEIGHT][COUNT][4], int keys)
{
    for (int m = 0; m < HEIGHT; m++)
        for (int j = 0; j < COUNT; j++)
            for (int i = 0; i < 4; i++)
                if (8 * j + lane() % 4 * 2 + i % 2 >= keys) c[m][j][i] = -INFINITY;
}

/* A kernel may have 48 KiB of shared memory without asking. */
static void allow_shared(const void *kernel, int bytes)
{
    cuda_note(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
              "attention's shared memory");
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

#endif
