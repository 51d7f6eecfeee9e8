/* Attention in bfloat16, forward. */
#include "cuda/attention_bf16.cuh"

static const float LN_2 = 0.693147180559945F;

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
static __global__ void __launch_bounds__(THREADS, 2) forward_bf16(T *y, float *lse, operands<const T> x, sizes z)
{
    enum { HEIGHT = plan<TILES>::HEIGHT, PITCH = plan<TILES>::PITCH, ROWS = plan<TILES>::ROWS };
    extern __shared__ __align__(16) bf16 tiles[];
    bf16 *q = tiles, *k = q + ROWS * PITCH, *v = k + TILE * PITCH;
    const job &b = *share_job(z, z.s, ROWS, z.e);
    const head &h = b.h;
    int warp_row = threadIdx.x / 32 * 16 * HEIGHT, warp_rows = z.s - b.row - warp_row;
    float sum[HEIGHT][TILES][4] = {}, tops[HEIGHT][2], totals[HEIGHT][2] = {};
    for (int m = 0; m < HEIGHT; m++) tops[m][0] = tops[m][1] = -INFINITY;
    load_rows<TILES, ROWS / AT_ONCE>(q, x.q + h.q + b.row * h.q_stride, h.q_stride, z.s - b.row, z.e);
    load_rows<TILES, TILE / AT_ONCE>(k, x.k + h.kv, h.kv_stride, z.keys, z.e);
#pragma unroll 1
    for (int key = 0; key < z.keys; key += TILE) { /* v comes while k is used, the next k while v is */
        float c[HEIGHT][TILE / 8][4];
        wait_for_rows();
        load_rows<TILES, TILE / AT_ONCE>(v, x.v + h.kv + key * h.kv_stride, h.kv_stride, z.keys - key, z.e);
        if (warp_rows > 0) multiply_tile<TILES, TILE / 8>(c, q + warp_row * PITCH, k);
        wait_for_rows();
        if (key + TILE < z.keys)
            load_rows<TILES, TILE / AT_ONCE>(k, x.k + h.kv + (key + TILE) * h.kv_stride, h.kv_stride,
                                             z.keys - key - TILE, z.e);
        if (warp_rows <= 0) continue;
        if (z.keys - key < TILE) mask_keys<HEIGHT, TILE / 8>(c, z.keys - key);
#pragma unroll
        for (int m = 0; m < HEIGHT; m++) exp_warp_rows<TILES>(c[m], sum[m], tops[m], totals[m], z.scale * LOG2_E);
        add_weighted_tile<TILES, TILE / 8>(sum, c, v);
    }
    int row = b.row + warp_row;
    put_warp_rows<TILES>(y + h.y + row * h.y_stride, h.y_stride, lse + h.lse + row, sum, tops, totals, warp_rows, z.e);
}

template <int TILES, class T>
static void start_forward_bf16(T *y, float *lse, operands<const T> x, int64_t pairs, sizes z)
{
    const int bytes = plan<TILES>::FORWARD_BYTES;
    allow_shared((const void *)forward_bf16<TILES, T>, bytes);
    unsigned blocks = job_count(pairs, z, z.s, plan<TILES>::ROWS, z.e);
    forward_bf16<TILES><<<blocks, THREADS, bytes, cuda_stream>>>(y, lse, x, z);
    CUDA_LAUNCHED("attention_fwd in bfloat16");
}

template <class T> void attention_bf16_fwd(T *y, float *lse, operands<const T> x, int64_t pairs, sizes z)
{
    START_BF16(start_forward_bf16, z.e, y, lse, x, pairs, z);
}

template void attention_bf16_fwd(float *, float *, operands<const float>, int64_t, sizes);
template void attention_bf16_fwd(bf16 *, float *, operands<const bf16>, int64_t, sizes);
