/* What a denoiser is told beside x_t and t, and the shape of x. */
#ifndef DIFFUSION_CONDITION_H
#define DIFFUSION_CONDITION_H

#include "tensor/tensor.h"

/* Of one sample x[C,H,W]. */
typedef struct sample_shape {
    int64_t channels, height, width;
} sample_shape;

static inline int64_t sample_values(sample_shape s)
{
    return s.channels * s.height * s.width;
}

static inline bool sample_shape_same(sample_shape a, sample_shape b)
{
    return a.channels == b.channels && a.height == b.height && a.width == b.width;
}

/* For N samples; a member is NULL where the network does not take it. */
typedef struct condition {
    const int32_t *label;  /* [N], the host's */
    tensor *context;       /* [N,S,W], e.g. an encoded prompt */
    tensor *control;       /* [N,C,H,W] in [0,1], e.g. an edge picture */
    const bool *null_time; /* [N], the host's: which samples are not told t (denoiser.null_time); NULL: all are told */
} condition;

enum { CONDITION_PARTS_MAX = 4 };

/* The conditions of count * N samples, part behind part, in the step arena. All have the same members, but for null_time: who has
 * none is told the time. count: 1 to CONDITION_PARTS_MAX. */
condition condition_join(ctx *c, const condition parts[], int count, int64_t n);

#endif
