/* Self-attention: P = softmax(Q K^T / sqrt(E)) row by row, Y = P V, for each sample and head.
 *
 * Backward, with D_i = sum_e dY_ie Y_ie:  dV = P^T dY,  dS = P (dY V^T - D),  dQ = dS K / sqrt(E),  dK = dS^T Q / sqrt(E).
 * The forward keeps only the log of each softmax row's sum; P is computed again (Dao et al. 2022, algorithm 4). */
#include "op/op.h"

typedef struct attention_saved {
    int64_t n, s, k, e;
    real *lse; /* [N,K,S] */
} attention_saved;

static int flags_of(const ctx *c, const tensor *qkv)
{
    return c->gemm_flags | (qkv->narrow ? NARROW : 0);
}

static void attention_bwd(ctx *c, const tape_record *r)
{
    const attention_saved *s = r->saved;
    tensor *qkv = r->in[0];
    bool add = false;
    real *dqkv = tensor_grad_write(c, qkv, &add);
    if (!dqkv) return;
    c->engine.attention_bwd(dqkv, r->out->grad, r->out->data, s->lse, qkv->data, s->n, s->s, s->k, s->e,
                            flags_of(c, qkv) | (add ? GEMM_ACCUMULATE : 0));
}

tensor *op_attention(ctx *c, tensor *qkv, int64_t heads)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(qkv->dim_count == 3 && qkv->dim[2] % (3 * heads) == 0, qkv);
    TENSOR_CHECK(qkv->dim[2] / (3 * heads) <= ATTENTION_WIDTH_MAX, qkv);
    int64_t width = qkv->dim[2] / 3;
    attention_saved s = {.n = qkv->dim[0], .s = qkv->dim[1], .k = heads, .e = width / heads};
    tensor *y = tensor_new_result(c, 3, (int64_t[]){s.n, s.s, width}, qkv->narrow);
    s.lse = numbers_alloc(c, &c->step, (size_t)(s.n * s.k * s.s) * sizeof(real));
    if (ctx_failed(c)) return NULL;
    c->engine.attention_fwd(y->data, s.lse, qkv->data, s.n, s.s, s.k, s.e, flags_of(c, qkv));
    if (tape_wants(c, y, &qkv, 1)) tape_push(c, attention_bwd, y, &qkv, 1, &s, sizeof s);
    return y;
}
