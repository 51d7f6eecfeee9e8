/* Attention: P = softmax(Q K^T / sqrt(E)) row by row, Y = P V, for each sample and head. With a causal mask the scores of
 * later keys are -infinity.
 *
 * Backward, with D_i = sum_e dY_ie Y_ie:  dV = P^T dY,  dS = P (dY V^T - D),  dQ = dS K / sqrt(E),  dK = dS^T Q / sqrt(E).
 * The forward keeps only the log of each softmax row's sum; P is computed again (Dao et al. 2022, algorithm 4). */
#include "op/op.h"

typedef struct attention_saved {
    attention_sizes sizes;
    real *lse; /* [N,K,S] */
} attention_saved;

/* Queries, keys and values, or their gradients. */
typedef struct operands {
    real *q, *k, *v;
} operands;

static operands packed_in(const tensor *qkv, real *numbers)
{
    const size_t part = tensor_bytes(qkv) / (size_t)(3 * qkv->dim[0] * qkv->dim[1]);
    char *q = (char *)numbers;
    return (operands){numbers, (real *)(q + part), (real *)(q + 2 * part)};
}

static int flags_of(const ctx *c, bool narrow)
{
    return c->gemm_flags | (narrow ? NARROW : 0);
}

static void walk_back(ctx *c, const tape_record *r, operands gradient, operands x, bool add)
{
    const attention_saved *s = r->saved;
    c->engine.attention_bwd(gradient.q, gradient.k, gradient.v, r->out->grad, r->out->data, s->lse, x.q, x.k, x.v,
                            s->sizes, flags_of(c, r->out->narrow) | (add ? GEMM_ACCUMULATE : 0));
}

static void attention_bwd(ctx *c, const tape_record *r)
{
    tensor *qkv = r->in[0];
    bool add = false;
    real *dqkv = tensor_grad_write(c, qkv, &add);
    if (dqkv) walk_back(c, r, packed_in(qkv, dqkv), packed_in(qkv, qkv->data), add);
}

/* The kernel adds to all of its gradients or to none: where some hold something already, new ones are cleared. */
static void attention_apart_bwd(ctx *c, const tape_record *r)
{
    bool add[3] = {false};
    real *d[3];
    for (int i = 0; i < 3; i++) d[i] = tensor_grad_write(c, r->in[i], &add[i]);
    if (ctx_failed(c)) return;
    const bool any = add[0] || add[1] || add[2];
    for (int i = 0; i < 3; i++)
        if (d[i] && any && !add[i]) c->engine.memory.clear(d[i], tensor_bytes(r->in[i]));
    walk_back(c, r, (operands){d[0], d[1], d[2]}, (operands){r->in[0]->data, r->in[1]->data, r->in[2]->data}, any);
}

static tensor *attend(ctx *c, operands x, attention_sizes z, tensor *const in[], int in_count,
                      void (*backward)(ctx *, const tape_record *))
{
    TENSOR_CHECK(z.e <= ATTENTION_WIDTH_MAX, in[0]);
    attention_saved s = {.sizes = z};
    tensor *y = tensor_new_result(c, 3, (int64_t[]){z.n, z.s, z.k * z.e}, in[0]->narrow);
    s.lse = numbers_alloc(c, &c->step, (size_t)(z.n * z.k * z.s) * sizeof(real));
    if (ctx_failed(c)) return NULL;
    c->engine.attention_fwd(y->data, s.lse, x.q, x.k, x.v, z, flags_of(c, y->narrow));
    if (tape_wants(c, y, in, in_count)) tape_push(c, backward, y, in, in_count, &s, sizeof s);
    return y;
}

tensor *op_attention(ctx *c, tensor *qkv, int64_t heads)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(qkv->dim_count == 3 && qkv->dim[2] % (3 * heads) == 0, qkv);
    const int64_t width = qkv->dim[2] / 3, tokens = qkv->dim[1];
    attention_sizes z = {.n = qkv->dim[0], .s = tokens, .keys = tokens, .k = heads, .e = width / heads};
    z.q_stride = z.kv_stride = 3 * width;
    return attend(c, packed_in(qkv, qkv->data), z, &qkv, 1, attention_bwd);
}

tensor *op_attention_apart(ctx *c, tensor *q, tensor *k, tensor *v, int64_t heads, bool causal)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(q->dim_count == 3 && k->dim_count == 3 && v->dim_count == 3 && q->dim[2] % heads == 0, q, k, v);
    TENSOR_CHECK(q->dim[0] == k->dim[0] && q->dim[2] == k->dim[2] && tensor_bytes(k) == tensor_bytes(v), q, k, v);
    TENSOR_CHECK(k->dim[0] == v->dim[0] && k->dim[1] == v->dim[1] && k->dim[2] == v->dim[2], k, v);
    TENSOR_CHECK(q->narrow == k->narrow && q != k && q != v && k != v, q, k, v);
    TENSOR_CHECK(!causal || q->dim[1] == k->dim[1], q, k);
    const int64_t width = q->dim[2];
    attention_sizes z = {.n = q->dim[0], .s = q->dim[1], .keys = k->dim[1], .k = heads, .e = width / heads};
    z.q_stride = z.kv_stride = width;
    z.causal = causal;
    return attend(c, (operands){q->data, k->data, v->data}, z, (tensor *[]){q, k, v}, 3, attention_apart_bwd);
}
