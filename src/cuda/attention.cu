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
 * With a causal mask p_j is 0 for keys behind the query; tiles of which no query sees a key are passed over.
 *
 * attention_f32.cu has the kernels of float32, attention_bf16_*.cu those of bfloat16 (GEMM_BF16, E a multiple of 8 up to 128,
 * no mask; all else takes float32, nothing rounded but what is stored in narrow arrays). */
#include "cuda/attention.cuh"

static bool takes_bf16(attention_sizes z, int flags)
{
    return flags & GEMM_BF16 && z.e % 8 == 0 && z.e <= 128 && z.q_stride % 8 == 0 && z.kv_stride % 8 == 0 && !z.causal;
}

static sizes find_sizes(attention_sizes z)
{
    return {(int)z.s, (int)z.keys, (int)z.k, (int)z.e, z.q_stride, z.kv_stride, (float)(1 / sqrt((double)z.e)),
            z.causal};
}

template <class T>
static void forward(T *y, float *lse, const T *q, const T *k, const T *v, attention_sizes z, int flags)
{
    if (takes_bf16(z, flags))
        attention_bf16_fwd(y, lse, operands<const T>{q, k, v}, z.n * z.k, find_sizes(z));
    else
        attention_f32_fwd(y, lse, operands<const T>{q, k, v}, z.n * z.k, find_sizes(z));
}

template <class T>
static void backward(operands<T> d, const T *dy, const T *y, const float *lse, const T *q, const T *k, const T *v,
                     attention_sizes z, int flags)
{
    const bool add = flags & GEMM_ACCUMULATE;
    if (takes_bf16(z, flags))
        attention_bf16_bwd(d, dy, y, lse, operands<const T>{q, k, v}, z.n * z.k, find_sizes(z), add);
    else
        attention_f32_bwd(d, dy, y, lse, operands<const T>{q, k, v}, z.n * z.k, find_sizes(z), add);
}

static void attention_fwd(real *y, real *lse, const real *q, const real *k, const real *v, attention_sizes z, int flags)
{
    if (flags & NARROW)
        forward((bf16 *)y, lse, (const bf16 *)q, (const bf16 *)k, (const bf16 *)v, z, flags);
    else
        forward(y, lse, q, k, v, z, flags);
}

static void attention_bwd(real *dq, real *dk, real *dv, const real *dy, const real *y, const real *lse, const real *q,
                          const real *k, const real *v, attention_sizes z, int flags)
{
    if (flags & NARROW)
        backward(operands<bf16>{(bf16 *)dq, (bf16 *)dk, (bf16 *)dv}, (const bf16 *)dy, (const bf16 *)y, lse,
                 (const bf16 *)q, (const bf16 *)k, (const bf16 *)v, z, flags);
    else
        backward(operands<real>{dq, dk, dv}, dy, y, lse, q, k, v, z, flags);
}

void cuda_register_attention(engine *e)
{
    e->attention_fwd = attention_fwd;
    e->attention_bwd = attention_bwd;
}
