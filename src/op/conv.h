/* Ops on images, channels last: x[N,H,W,C]. The rules of op/op.h hold here as well. */
#ifndef OP_CONV_H
#define OP_CONV_H

#include "tensor/tensor.h"

/* y[N,OH,OW,O] = correlation of x, which may be narrow, with w[O,side_h,side_w,C], plus bias[O] (may be NULL), over a border
 * of `pad` zeros; OH = (H + 2 pad - side_h) / stride + 1, rounded down. Files keep such weights as [O,C,side_h,side_w]: permute once. */
tensor *op_conv2d(ctx *c, tensor *x, tensor *w, tensor *bias, int64_t stride, int64_t pad);
/* The same over pad_h zeros above and below, pad_w left and right. */
tensor *op_conv2d_pads(ctx *c, tensor *x, tensor *w, tensor *bias, int64_t stride, int64_t pad_h, int64_t pad_w);

/* Greatest value under each window of side x side, of which the first starts `pad` outside. OH is rounded up (Caffe's
 * rule, "ceil mode" elsewhere): the last window may reach over the edge. What lies outside does not count. side <= H, W
 * and stride + pad <= side. */
tensor *op_max_pool(ctx *c, tensor *x, int64_t side, int64_t stride, int64_t pad);

/* y[N,H,W,C]: mean over the side x side pixels (side odd) around each one, those outside the image not counted. */
tensor *op_average_pool(ctx *c, tensor *x, int64_t side);

/* y[N,OH,OW,C]: each channel of x correlated with its own weights w[side_h,side_w,C], plus bias[C] (may be NULL), over a border of
 * `pad` zeros; OH as of op_conv2d. */
tensor *op_depthwise(ctx *c, tensor *x, tensor *w, tensor *bias, int64_t stride, int64_t pad);

/* y[N,2H,2W,C]: nearest neighbour. */
tensor *op_upsample(ctx *c, tensor *x);

/* y[N,OH,OW,C]: each row of pixels a sum of x's rows by rows[OH,H], then each column one of columns by columns[OW,W]; the two take
 * no gradient. Bilinear resizing and pooling into a fixed number of cells are of this kind. Always in f32. */
tensor *op_mix_pixels(ctx *c, tensor *x, const tensor *rows, const tensor *columns);

/* y[N,H+1,W+1,C]: a row of zeros below and a column to the right. */
tensor *op_pad_end(ctx *c, tensor *x);

/* y[N,..,C] = x[N,..,C] + e[N,C] at every position */
tensor *op_add_channels(ctx *c, tensor *x, tensor *e);

/* y = max(x, 0) */
tensor *op_relu(ctx *c, tensor *x);

/* y = limit tanh(x / limit) */
tensor *op_soft_clamp(ctx *c, tensor *x, real limit);

/* y = (x - mean) / sqrt(variance + epsilon) * weight[C] + bias[C] for x[N,..,C]; mean and variance over all positions of a
 * sample and the C/groups channels of a group. */
tensor *op_group_norm(ctx *c, tensor *x, tensor *weight, tensor *bias, int64_t groups, real epsilon);

/* op_silu of op_group_norm, inside a residual branch: y is narrow there (tensor_branch_is_narrow), and the norm's result, on which
 * the gradient depends, is computed again in the backward pass. */
tensor *op_group_norm_silu(ctx *c, tensor *x, tensor *weight, tensor *bias, int64_t groups, real epsilon);

#endif
