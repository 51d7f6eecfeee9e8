/* Attention: P = softmax(Q K^T / sqrt(E)) row by row, Y = P V, for each sample and head (a pair), and its derivative.
 * Scores live in registers and shared memory alone.
 *
 * Forward, over tiles of keys, with c = 1 / sqrt(E) and for each query the greatest scaled score so far, top:
 *     p_j = exp(c q.k_j - top),  total = sum_j p_j,  Y = (sum_j p_j v_j) / total,  lse = top + log(total);
 * when a tile raises top, what was summed before is multiplied with exp(old top - new top).
 * Backward, with P computed again as exp(c q.k - lse) and D_i = sum_e dY_ie Y_ie:
 *     dV = P^T dY,  dS = c P (dY V^T - D),  dQ = dS K,  dK = dS^T Q.
 * One kernel finds D; one goes over blocks of keys and adds to dK and dV; one goes over blocks of queries and adds to
 * dQ. Each computes P and dS for itself; short narrow heads take one kernel that does all (backward_whole_bf16). So an
 * element of a result belongs to one thread, which adds it up in a fixed order.
 *
 * attention_f32.cu has the kernels of float32, attention_bf16.cu those of bfloat16 (GEMM_BF16, E a multiple of 8 up to 128;
 * every other E takes float32, nothing rounded). */
#include "cuda/attention.cuh"

static bool takes_bf16(int64_t e, int flags)
{
    return flags & GEMM_BF16 && e % 8 == 0 && e <= 128;
}

static sizes find_sizes(int64_t s, int64_t k, int64_t e)
{
    return {(int)s, (int)k, (int)e, (float)(1 / sqrt((double)e))};
}

template <class T>
static void forward(T *y, float *lse, const T *qkv, int64_t n, int64_t s, int64_t k, int64_t e, int flags)
{
    sizes z = find_sizes(s, k, e);
    if (takes_bf16(e, flags))
        attention_bf16_fwd(y, lse, qkv, n * k, z);
    else
        attention_f32_fwd(y, lse, qkv, n * k, z);
}

template <class T>
static void backward(T *dqkv, const T *dy, const T *y, const float *lse, const T *qkv, int64_t n, int64_t s, int64_t k,
                     int64_t e, int flags)
{
    sizes z = find_sizes(s, k, e);
    bool add = flags & GEMM_ACCUMULATE;
    if (takes_bf16(e, flags))
        attention_bf16_bwd(dqkv, dy, y, lse, qkv, n * k, z, add);
    else
        attention_f32_bwd(dqkv, dy, y, lse, qkv, n * k, z, add);
}

static void attention_fwd(real *y, real *lse, const real *qkv, int64_t n, int64_t s, int64_t k, int64_t e, int flags)
{
    if (flags & NARROW)
        forward((bf16 *)y, lse, (const bf16 *)qkv, n, s, k, e, flags);
    else
        forward(y, lse, qkv, n, s, k, e, flags);
}

static void attention_bwd(real *dqkv, const real *dy, const real *y, const real *lse, const real *qkv, int64_t n,
                          int64_t s, int64_t k, int64_t e, int flags)
{
    if (flags & NARROW)
        backward((bf16 *)dqkv, (const bf16 *)dy, (const bf16 *)y, lse, (const bf16 *)qkv, n, s, k, e, flags);
    else
        backward(dqkv, dy, y, lse, qkv, n, s, k, e, flags);
}

void cuda_register_attention(engine *e)
{
    e->attention_fwd = attention_fwd;
    e->attention_bwd = attention_bwd;
}
