/* The ops. Each checks shapes (a mismatch is our own bug and aborts), runs its kernel through the engine table, and
 * records its backward when something it was given needs a gradient. Results live in the step arena. After a failure
 * of the context every op returns NULL. Sizes legend: tensor/engine.h. */
#ifndef OP_OP_H
#define OP_OP_H

#include "tensor/tensor.h"

/* y[..,O] = x[..,I] w[O,I]^T + b[O]; b may be NULL. All leading dimensions are rows. */
tensor *op_linear(ctx *c, tensor *x, tensor *w, tensor *b);
/* The same for a result that stays inside a residual branch: it may be kept narrow. Only attention, the
 * forms of GELU, op_gated_add (as h) and op_linear take one that is. */
tensor *op_linear_branch(ctx *c, tensor *x, tensor *w, tensor *b);

/* y + x w^T in y's place: the numbers of y[..,O], which may be narrow, are changed, so nothing else may use them. */
tensor *op_linear_add(ctx *c, tensor *y, tensor *x, tensor *w);

tensor *op_add(ctx *c, tensor *a, tensor *b);
/* y[N,..] = x[N,..] + r[..]; the gradient reaches x only (r is a fixed table such as the position embedding). */
tensor *op_add_row(ctx *c, tensor *x, const tensor *r);
tensor *op_silu(ctx *c, tensor *x);
/* The tanh form of GELU. */
tensor *op_gelu(ctx *c, tensor *x);

/* x sigmoid(1.702 x): CLIP's approximation of GELU. */
tensor *op_quick_gelu(ctx *c, tensor *x);
/* GELU as it is defined, without an approximation. */
tensor *op_exact_gelu(ctx *c, tensor *x);
/* y[..,D] of x[..,2D], whose rows are a beside b: a times the GELU of b as it is defined, without an approximation. */
tensor *op_geglu(ctx *c, tensor *x);

/* op_gelu of op_linear_branch. */
tensor *op_linear_gelu(ctx *c, tensor *x, tensor *w, tensor *b);

/* y = layernorm(x) * weight[D] + bias[D] for x[..,D]; like op_norm_modulate's the result is the start of a residual branch and
 * may be narrow. */
tensor *op_layer_norm(ctx *c, tensor *x, tensor *weight, tensor *bias, real epsilon);
/* y = layernorm(x) * (1 + scale) + shift for x[N,S,D]; shift and scale are slices number `shift`, `scale` of the packed
 * m[N,count*D]. Layer norm has no weights of its own. */
tensor *op_norm_modulate(ctx *c, tensor *x, tensor *m, int shift, int scale, real epsilon);
/* y = x + gate * h, gate = slice number `gate` of m. */
tensor *op_gated_add(ctx *c, tensor *x, tensor *h, tensor *m, int gate);

/* Self-attention of packed qkv[N,S,3D] with `heads` heads: y[N,S,D]. */
tensor *op_attention(ctx *c, tensor *qkv, int64_t heads);
/* Attention of q[N,S,D] to k and v [N,T,D], three tensors: y[N,S,D]. causal: query i sees keys 0 to i only, and S = T. */
tensor *op_attention_apart(ctx *c, tensor *q, tensor *k, tensor *v, int64_t heads, bool causal);

/* y[N,D] = table[index[n],:]. The indices are copied. */
tensor *op_embedding(ctx *c, tensor *table, const int32_t index[], int64_t n);
/* y[N,D] = mean over S of x[N,S,D] */
tensor *op_mean_tokens(ctx *c, tensor *x);
/* a and then b along dimension `dim` (from 0), in which alone they may differ: 1 of [N,S,D] appends tokens, the last one
 * channels. */
tensor *op_concat(ctx *c, tensor *a, tensor *b, int dim);
/* Entries first to first + count - 1 of x along dimension `dim`. */
tensor *op_slice(ctx *c, tensor *x, int dim, int64_t first, int64_t count);
/* tokens[N,S,C*P*P] of x[N,C,H,W], channel-major inside a token, as a convolution with stride P sees it. */
tensor *op_patchify(ctx *c, tensor *x, int64_t patch);
/* y[N,C,H,W] of tokens[N,S,P*P*C], channel fastest inside a token (DiT's unpatchify). */
tensor *op_unpatchify(ctx *c, tensor *x, int64_t patch, int64_t channels, int64_t height, int64_t width);

/* Scalar [1]: sum over n of weight[n] * (mse[n] + vb[n]). out[N,C,H,W] or [N,2C,H,W] (learned variance: vb in bits, the
 * noise part detached); noise, x0, xt [N,C,H,W] take no gradient. coef, weight have N entries and are copied. mse and
 * vb receive the N terms (vb zero without learned variance). */
tensor *op_diffusion_loss(ctx *c, real mse[], real vb[], tensor *out, const tensor *noise, const tensor *x0,
                          const tensor *xt, const loss_coefficients coef[], const real weight[]);

/* Scalar [1]: sum over n of weight[n] * mse[n], where mse[n] is that of the first C channels of out[N,C,H,W] or [N,2C,H,W] from
 * target[N,C,H,W], which takes no gradient: a learned variance is not looked at. weight is copied; mse receives the N terms. */
tensor *op_prediction_loss(ctx *c, real mse[], tensor *out, const tensor *target, const real weight[]);

#endif
