/* Ops of networks that are only run, never trained (codecs): they have no backward, which their names say, and abort
 * when they are asked to record one. Images are channels last: x[N,H,W,C]. */
#ifndef OP_FROZEN_H
#define OP_FROZEN_H

#include "tensor/tensor.h"

/* y = (x - mean) / sqrt(variance + epsilon) * weight[C] + bias[C]; mean and variance over all positions and the C/groups
 * channels of a group. */
tensor *frozen_group_norm(ctx *c, tensor *x, const tensor *weight, const tensor *bias, int64_t groups, real epsilon);

/* y[N,H,W,C]: mean over the side x side pixels (side odd) around each one, those outside the image not counted. */
tensor *frozen_average_pool(ctx *c, tensor *x, int64_t side);

/* y[N,2H,2W,C]: nearest neighbour. */
tensor *frozen_upsample(ctx *c, tensor *x);

/* y[N,H+1,W+1,C]: a row of zeros below and a column to the right. */
tensor *frozen_pad_end(ctx *c, tensor *x);

/* y = limit tanh(x / limit) */
tensor *frozen_soft_clamp(ctx *c, tensor *x, real limit);

#endif
