/* The ideal denoiser (Zhong et al. 2024, theorem 1 and appendix A; Karras et al. 2022, appendix B.3): what a network would say that had
 * learned a finite set of pictures perfectly. In closed form, for x = alpha x0 + sigma noise,
 *
 *     F(x) = sum_i w_i x_i,   w_i = exp(l_i) / sum_j exp(l_j),   l_i = -|x - alpha x_i|^2 / (2 sigma^2)
 *
 * the mean of the pictures, each weighted by how probable it is that x came from it. Where sigma goes to 0 that is the nearest
 * picture, where alpha goes to 0 their mean. It is a denoiser like any other: what it says of x is the noise, or the velocity,
 * that F(x) stands for. A label narrows the set to the pictures of a class; the null class is all.
 *
 * The set is gone through in blocks: memory does not grow with it but for a number a picture. A block costs two matrix products, by
 * the CPU's kernels in f32. Sums over blocks are kept as exp(l - max l) and scaled anew when the maximum rises, so that nothing
 * overflows and the largest weight is 1. Everything is relative to the mean of the set, which takes the error out of large t. The
 * products' rounding, divided by sigma^2, would decide between pictures at small t: distances that matter are taken again in double
 * there. */
#ifndef MODEL_IDEAL_H
#define MODEL_IDEAL_H

#include "diffusion/denoiser.h"

/* The pictures, from wherever they are; borrowed, and asked for again at every pass. */
typedef struct ideal_source {
    int64_t count; /* 1 at least */
    sample_shape shape;
    int64_t class_count;  /* 0: no labels */
    const int32_t *label; /* [count], 0..class_count-1; NULL where class_count is 0 */
    /* Writes pictures first..first+n-1 to x[n,C,H,W], the same values each time; may run on several threads. */
    void (*get)(const void *user, real *x, int64_t first, int64_t n);
    const void *user;
} ideal_source;

/* Makes *d of the set, with what it needs in the model arena. One pass over it. It has no weights and cannot be written. Also
 * DT_ERR_INTERRUPTED. */
dt_status ideal_open(ctx *c, denoiser *d, const ideal_source *from, process process);

/* F(x) of n rows x[n,..] at times t[n], as a denoiser is told them, into x0[n,..] on the host; label[n] may be NULL: all pictures.
 * nearest[n] (may be NULL) receives the number of the picture with the largest weight. */
dt_status ideal_posterior(ctx *c, const denoiser *d, real *x0, int64_t *nearest, const real *x, const real t[],
                          const int32_t *label, int64_t n);

/* The mean of all pictures, [C,H,W]. */
const real *ideal_mean(const denoiser *d);

/* Bytes that a pass over n rows takes of the scratch arena. */
int64_t ideal_pass_bytes(const denoiser *d, int64_t n);

#endif
