/* The engine table: one function pointer per kernel and direction. Ops call the table and nothing else; an engine is
 * a way of filling it. The CPU engine fills it with portable C first and overwrites entries with the versions compiled
 * for the instruction sets the machine has (cpu/engine_cpu.c).
 *
 * Sizes legend (used everywhere): N batch, C channels, H W height and width, S tokens, D model width, K heads, E head
 * width, P patch side, O I outputs and inputs of a linear map.
 *
 * Argument order: outputs, inputs, sizes, scalars. All arrays are contiguous and row-major unless a leading dimension
 * is given. Kernels named *_bwd add into their outputs (the caller clears), those with an `add` overwrite when it is
 * false; an output that is NULL is not wanted.
 * A narrow array holds bfloat16 numbers, two bytes each, one after another, whatever its pointer's type says; arithmetic on
 * them is f32. Only an engine that says so is handed any. Rows of those that products take are multiples of 8 numbers long.
 * Arrays lie in the engine's own memory, index, coef and weight too; what a kernel returns as its value is the host's.
 * Kernels do the same additions in the same order for any number of threads: no sum is split between threads. */
#ifndef TENSOR_ENGINE_H
#define TENSOR_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/real.h"

enum {
    GEMM_TRANS_A = 1,    /* A is stored [K,M] */
    GEMM_TRANS_B = 2,    /* B is stored [N,K] */
    GEMM_ACCUMULATE = 4, /* C += instead of C = */
    GEMM_BF16 = 8,       /* operands are rounded to bfloat16, sums stay f32 (see below) */
    GEMM_NARROW_A = 16,  /* A, B, C hold bfloat16 already; with GEMM_BF16 */
    GEMM_NARROW_B = 32,
    GEMM_NARROW_C = 64,
    GEMM_NARROW_BIAS = 128,
    NARROW = 256, /* of other kernels: the arrays that their comment names hold bfloat16 */
};
/* GEMM_BF16 rounds to nearest even. Subnormal numbers (below 2^-126) may count as 0: operands before they are rounded, whatever
 * they would round to, products, and sums on their way to C. Processors that multiply bfloat16 do so, and no engine promises
 * more. */

enum { ATTENTION_WIDTH_MAX = 2048 }; /* of a head */

/* Where a vector per sample lies inside a packed modulation m [N,count*D]: entry d of sample n is
 * m[n*stride + index*D + d]. */
typedef struct modulation_sizes {
    int64_t n, s, d;
    int64_t stride; /* row length of m, count*D */
} modulation_sizes;

/* A window of side_h rows and side_w columns moved over images [N,H,W,C]: window (i, j) starts at row i*stride - pad_h,
 * column j*stride - pad_w, and there are [OH,OW] of them. The last ones may reach over the edge; each holds at least one
 * pixel. */
typedef struct window_sizes {
    int64_t n, h, w, c;
    int64_t side_h, side_w, stride, pad_h, pad_w;
    int64_t out_h, out_w;
} window_sizes;

/* S queries of each of N samples and K heads of width E, and the keys and values they meet. A row of q holds its heads one
 * after another; rows are q_stride numbers apart, those of k and of v kv_stride, also from sample to sample: slices of one
 * packed array [N,S,3,K,E] are q, k = q + K*E and v = k + K*E with strides of 3*K*E. */
typedef struct attention_sizes {
    int64_t n, s, keys, k, e;
    int64_t q_stride, kv_stride;
    bool causal; /* query i meets keys 0 to i only; as many keys as queries */
} attention_sizes;

/* Samples [N,S,C] whose channels are normalised in G groups of neighbours. */
typedef struct group_sizes {
    int64_t n, s, c;
    int64_t groups;
} group_sizes;

/* Per-sample constants of the diffusion loss at that sample's t; diffusion/schedule.h fills them. */
typedef struct loss_coefficients {
    real sqrt_recip_abar, sqrt_recipm1_abar;   /* x0 = a*x_t - b*eps */
    real posterior_mean_x0, posterior_mean_xt; /* mean of q(x_{t-1} | x_t, x0) */
    real posterior_log_variance, log_beta;     /* clipped posterior log variance; log beta */
    bool at_zero;                              /* t == 0: discretised likelihood in place of the KL */
} loss_coefficients;

typedef struct adamw_coefficients {
    real learning_rate, beta1, beta2, epsilon, weight_decay;
    real bias1, bias2; /* 1 - beta^step */
    real ema_decay;    /* ema = ema_decay*ema + (1-ema_decay)*w */
    real grad_scale;   /* clipping factor */
} adamw_coefficients;

/* An array that AdamW updates, or a part of one. */
typedef struct adamw_row {
    real *w;
    const real *g;
    void *m, *v;  /* moments, narrow with NARROW */
    real *ema;    /* NULL: none */
    void *narrow; /* w once more, narrow; NULL: not wanted */
    int64_t count;
    int64_t first;  /* so many values of the whole array stand before these */
    uint32_t noise; /* of narrow moments: another one for each update of each array */
} adamw_row;

/* Where an engine's numbers lie. Work on them is done in the order of the calls; download and finish wait for it. */
typedef struct engine_memory {
    const arena_backing *backing; /* NULL: in this process's memory, which the host reads and writes itself */
    void (*enter)(void);          /* the calling thread is to work with the engine; NULL: any may */
    void (*clear)(void *numbers, size_t bytes);
    void (*copy)(void *to, const void *from, size_t bytes); /* within the engine's memory */
    void (*upload)(void *to, const void *host, size_t bytes);
    dt_status (*download)(void *host, const void *from, size_t bytes, dt_error *err);
    dt_status (*finish)(dt_error *err); /* waits; a failure of any earlier work is reported here or by a download */
    void (*sizes)(size_t *total, size_t *available); /* bytes; with a backing */
    void *(*shared)(size_t bytes); /* with a backing, for tests: memory that the host reaches too; NULL: none */
    size_t (*beside)(
        void); /* bytes that the kernels may yet take of this process's memory for themselves; NULL: none */
} engine_memory;

typedef struct engine {
    char name[64]; /* e.g. "cpu avx2" */
    engine_memory memory;
    bool narrow;         /* takes narrow arrays */
    bool narrow_weights; /* reads weights faster from narrow copies (nn/params.h): takes GEMM_NARROW_BIAS too */
    bool remakes;        /* making a cheap value again costs less than its way to memory and back */

    /* u = x[M,I] w[O,I]^T + bias[O], y[M,O] = gelu(u): gemm and gelu_fwd in one, x, u and y narrow; u is NULL where it is
     * not wanted. Flags: GEMM_BF16, GEMM_NARROW_B (w), GEMM_NARROW_BIAS. NULL where narrow arrays are not taken. */
    void (*gemm_gelu)(real *y, real *u, const real *x, const real *w, const real *bias, int64_t m, int64_t o, int64_t i,
                      int flags);

    /* narrow[i] = x[i], rounded to nearest even; x[i] = narrow[i] */
    void (*round)(void *narrow, const real *x, int64_t count);
    void (*widen)(real *x, const void *narrow, int64_t count);

    /* C[M,N] = op(A)[M,K] op(B)[K,N] (+ C) (+ bias[N]); lda, ldb, ldc are the stored row lengths. bias may be NULL. */
    void (*gemm)(real *c, const real *a, const real *b, const real *bias, int64_t m, int64_t n, int64_t k, int64_t lda,
                 int64_t ldb, int64_t ldc, int flags);
    /* db[n] += sum over rows of dy[M,N]; NARROW: dy */
    void (*bias_bwd)(real *db, const real *dy, int64_t m, int64_t n, int flags);

    /* y = a + b */
    void (*add_fwd)(real *y, const real *a, const real *b, int64_t count);
    /* dst += src: the backward of everything that passes a gradient through */
    void (*accumulate)(real *dst, const real *src, int64_t count);
    /* dst += factor (a - b) */
    void (*add_difference)(real *dst, const real *a, const real *b, real factor, int64_t count);
    /* y[N,R] = x[N,R] + r[R] */
    void (*add_row_fwd)(real *y, const real *x, const real *r, int64_t n, int64_t r_count);
    /* minus[o] = -n and inverse[o] = 1/n, or 0 where n is 0: n is the length (2-norm) of row o of w[O,I] + s b[O,R] a[R,I]. With
     * R = 0 the row is that of w, to the same bits as with b = 0. */
    void (*row_lengths)(real *minus, real *inverse, const real *w, const real *b, const real *a, real s, int64_t o,
                        int64_t i, int64_t r);

    /* y = x * sigmoid(x); NARROW: y and dy */
    void (*silu_fwd)(real *y, const real *x, int64_t count, int flags);
    void (*silu_bwd)(real *dx, const real *dy, const real *x, int64_t count, bool add,
                     int flags); /* dx may be a wide dy, or x */
    /* y = 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); NARROW: all */
    void (*gelu_fwd)(real *y, const real *x, int64_t count, int flags);
    void (*gelu_bwd)(real *dx, const real *dy, const real *x, int64_t count, bool add, int flags); /* dx may be dy */

    /* y = x * sigmoid(1.702 x), CLIP's approximation of GELU; NARROW: all */
    void (*quick_gelu_fwd)(real *y, const real *x, int64_t count, int flags);
    void (*quick_gelu_bwd)(real *dx, const real *dy, const real *x, int64_t count, bool add,
                           int flags); /* dx may be dy */
    /* y[M,D] = a b F(b), where a row of x[M,2D] is a beside b and F is the normal distribution function: GELU as it is defined,
     * as a gate; NARROW: all */
    void (*geglu_fwd)(real *y, const real *x, int64_t m, int64_t d, int flags);
    void (*geglu_bwd)(real *dx, const real *dy, const real *x, int64_t m, int64_t d, bool add, int flags);
    /* y = x F(x): GELU as it is defined; NARROW: all */
    void (*exact_gelu_fwd)(real *y, const real *x, int64_t count, int flags);
    void (*exact_gelu_bwd)(real *dx, const real *dy, const real *x, int64_t count, bool add,
                           int flags); /* dx may be dy */
    /* y = limit tanh(x / limit) */
    void (*soft_clamp_fwd)(real *y, const real *x, real limit, int64_t count);
    void (*soft_clamp_bwd)(real *dx, const real *dy, const real *x, real limit, int64_t count);

    /* y = (x - mean) * rstd * weight + bias, per row of x[M,D]; mean, rstd: [M] kept for backward; NARROW: y and dy */
    void (*layer_norm_fwd)(real *y, real *mean, real *rstd, const real *x, const real *weight, const real *bias,
                           int64_t m, int64_t d, real epsilon, int flags);
    void (*layer_norm_bwd)(real *dx, real *dweight, real *dbias, const real *dy, const real *x, const real *mean,
                           const real *rstd, const real *weight, int64_t m, int64_t d, int flags);
    /* y = (x - mean) factor + bias of x[N,S,C]: mean and rstd over the S positions and C/G channels of a group, factor =
     * rstd weight. mean, rstd, factor: [N,C], the first two kept for backward */
    void (*group_norm_fwd)(real *y, real *mean, real *rstd, real *factor, const real *x, const real *weight,
                           const real *bias, group_sizes z, real epsilon);
    /* room: [2,N,C], for sums */
    void (*group_norm_bwd)(real *dx, real *dweight, real *dbias, real *room, const real *dy, const real *x,
                           const real *mean, const real *rstd, const real *weight, group_sizes z);
    /* y = (x - mean) * rstd * (1 + scale) + shift, per token; mean, rstd: [N*S] kept for backward; NARROW: y and dy */
    void (*norm_modulate_fwd)(real *y, real *mean, real *rstd, const real *x, const real *m, modulation_sizes z,
                              int64_t shift, int64_t scale, real epsilon, int flags);
    void (*norm_modulate_bwd)(real *dx, real *dm, const real *dy, const real *x, const real *mean, const real *rstd,
                              const real *m, modulation_sizes z, int64_t shift, int64_t scale, int flags);
    /* y = x + gate * h; NARROW: h and dh */
    void (*gated_add_fwd)(real *y, const real *x, const real *h, const real *m, modulation_sizes z, int64_t gate,
                          int flags);
    /* dh (+)= gate * dy, dm's slice += sum over tokens of h * dy; x receives dy itself. `add` is about dh. */
    void (*gated_add_bwd)(real *dh, real *dm, const real *dy, const real *h, const real *m, modulation_sizes z,
                          int64_t gate, bool add, int flags);

    /* y[N,S,K*E] = softmax(q k^T / sqrt(E)) v; lse[N,K,S] = log of the row sums, for backward. E is at most
     * ATTENTION_WIDTH_MAX. Gradients of q, k, v lie as these do. Flags: GEMM_BF16 is about the operands of all its products;
     * NARROW: q, k, v, y and their gradients, only with GEMM_BF16; GEMM_ACCUMULATE: dq, dk, dv += instead of =. */
    void (*attention_fwd)(real *y, real *lse, const real *q, const real *k, const real *v, attention_sizes z,
                          int flags);
    void (*attention_bwd)(real *dq, real *dk, real *dv, const real *dy, const real *y, const real *lse, const real *q,
                          const real *k, const real *v, attention_sizes z, int flags);

    /* y[N,D] = table[index[n]] */
    void (*embedding_fwd)(real *y, const real *table, const int32_t *index, int64_t n, int64_t d);
    void (*embedding_bwd)(real *dtable, const real *dy, const int32_t *index, int64_t n, int64_t d);
    /* y[N,D] = mean over tokens of x[N,S,D] */
    void (*mean_tokens_fwd)(real *y, const real *x, int64_t n, int64_t s, int64_t d);
    void (*mean_tokens_bwd)(real *dx, const real *dy, int64_t n, int64_t s, int64_t d);

    /* tokens[N,S,C*P*P] (channel-major) from x[N,C,H,W]; S = (H/P)(W/P), row-major */
    void (*patchify_fwd)(real *y, const real *x, int64_t n, int64_t c, int64_t h, int64_t w, int64_t p);
    void (*patchify_bwd)(real *dx, const real *dy, int64_t n, int64_t c, int64_t h, int64_t w, int64_t p);
    /* y[N,C,H,W] from tokens[N,S,P*P*C] (channel fastest) */
    void (*unpatchify_fwd)(real *y, const real *x, int64_t n, int64_t c, int64_t h, int64_t w, int64_t p);
    void (*unpatchify_bwd)(real *dx, const real *dy, int64_t n, int64_t c, int64_t h, int64_t w, int64_t p);

    /* mse[n], vb[n] of out[N,C or 2C,R] against noise[N,C,R] (R = H*W); vb only when out has 2C channels */
    void (*diffusion_loss_fwd)(real *mse, real *vb, const real *out, const real *noise, const real *x0, const real *xt,
                               const loss_coefficients *coef, int64_t n, int64_t c, int64_t r, bool learned_variance);
    /* dout += dloss[0] * weight[n] * d(mse[n] + vb[n])/dout; the noise part is detached inside vb */
    void (*diffusion_loss_bwd)(real *dout, const real *dloss, const real *weight, const real *out, const real *noise,
                               const real *x0, const real *xt, const loss_coefficients *coef, int64_t n, int64_t c,
                               int64_t r, bool learned_variance);

    /* One pass over each row: AdamW update of w from g, of the moments, of the average and of the narrow copy. The list is the host's.
     * NARROW: the moments of all rows, which w is made of before they are rounded: up or down at random, the nearer the
     * likelier, so that what is rounded off is made up for in the mean (moment_bits). */
    void (*adamw)(const adamw_row row[], int64_t rows, adamw_coefficients k, int flags);
    /* y += share (x - y), share from 0 to 1: with 1 y becomes x */
    void (*average)(real *y, const real *x, int64_t count, real share);
    /* sum of the squares of all arrays in double, in blocks of fixed size; non-finite when any element is. The list and the
     * counts are the host's. */
    double (*sum_squares)(const real *const x[], const int64_t count[], int64_t arrays);

    /* images, channels last */
    /* y[N,OH,OW,O] = correlation of x[N,H,W,C], 0 outside the image, with w[O,side_h,side_w,C], + bias[O], which may be NULL.
     * Flags: GEMM_BF16; GEMM_NARROW_A: x; GEMM_NARROW_B, here and for dx, without memory.backing: w; GEMM_NARROW_C: y. */
    void (*conv_fwd)(real *y, const real *x, const real *w, const real *bias, window_sizes z, int64_t o, int flags);
    /* The gradients, overwritten without GEMM_ACCUMULATE. GEMM_NARROW_A: dy; of dx GEMM_NARROW_C: dx; of dw GEMM_NARROW_B: x. */
    void (*conv_bwd_x)(real *dx, const real *dy, const real *w, window_sizes z, int64_t o, int flags);
    void (*conv_bwd_w)(real *dw, const real *dy, const real *x, window_sizes z, int64_t o, int flags);
    /* y[N,OH,OW,C] = greatest of x under each window, what lies outside the image left out; NaN wins. The gradient goes
     * to the first greatest pixel in row-major order. */
    void (*max_pool_fwd)(real *y, const real *x, window_sizes z);
    void (*max_pool_bwd)(real *dx, const real *dy, const real *x, window_sizes z);
    /* y = max(x, 0); NaN stays NaN; the gradient at 0 is 0 */
    void (*relu_fwd)(real *y, const real *x, int64_t count);
    void (*relu_bwd)(real *dx, const real *dy, const real *x, int64_t count);
    /* y[N,OH,OW,C] = mean of x under each window, what lies outside the image left out of sum and number */
    void (*average_pool_fwd)(real *y, const real *x, window_sizes z);
    void (*average_pool_bwd)(real *dx, const real *dy, window_sizes z);
    /* y[N,OH,OW,C] = correlation of each channel of x with its own w[side_h,side_w,C], plus bias[C] (may be NULL); 0 outside the
     * image */
    void (*depthwise_fwd)(real *y, const real *x, const real *w, const real *bias, window_sizes z);
    void (*depthwise_bwd)(real *dx, real *dw, const real *dy, const real *x, const real *w, window_sizes z);
    /* y[N,2H,2W,C]: each pixel of x[N,H,W,C] four times */
    void (*upsample_fwd)(real *y, const real *x, int64_t n, int64_t h, int64_t w, int64_t c);
    void (*upsample_bwd)(real *dx, const real *dy, int64_t n, int64_t h, int64_t w, int64_t c);
    /* y[N,H+1,W+1,C]: x[N,H,W,C] with zeros below and to the right */
    void (*pad_end_fwd)(real *y, const real *x, int64_t n, int64_t h, int64_t w, int64_t c);
    void (*pad_end_bwd)(real *dx, const real *dy, int64_t n, int64_t h, int64_t w, int64_t c);

    /* rows side by side */
    /* y[M,A+B] = a[M,A] beside b[M,B] */
    void (*concat_fwd)(real *y, const real *a, const real *b, int64_t m, int64_t a_count, int64_t b_count);
    void (*concat_bwd)(real *da, real *db, const real *dy, int64_t m, int64_t a_count, int64_t b_count);
    /* y[M,A] = columns first to first + A - 1 of x[M,X] */
    void (*slice_fwd)(real *y, const real *x, int64_t m, int64_t x_count, int64_t first, int64_t a_count);
    void (*slice_bwd)(real *dx, const real *dy, int64_t m, int64_t x_count, int64_t first, int64_t a_count);
} engine;

/* Aborts with the entry's position if an entry is NULL: a missing kernel is found here, never in the middle of a run. */
void engine_check_complete(const engine *e);

#endif
