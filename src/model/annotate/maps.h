/* What the networks of annotators share: pictures as tensors, maps as numbers of the host. */
#ifndef ANNOTATE_MAPS_H
#define ANNOTATE_MAPS_H

#include "tensor/tensor.h"

/* x[1,height,width,3] in the step arena: scale[k] * (channel from[k] of the picture - offset[k]); NULL after a failure. */
typedef struct picture_scaling {
    int from[3];
    float offset[3], scale[3];
} picture_scaling;
tensor *maps_picture(ctx *c, const uint8_t *rgb, int64_t height, int64_t width, const picture_scaling *how);

/* y[N,H/2,W/2,C]: the greatest of each 2x2 pixels of x; a last row or column that has no partner is dropped, as by
 * PyTorch's max_pool2d(2). H, W >= 2. */
tensor *maps_halve(ctx *c, tensor *x);

/* The numbers of x for the host, in the step arena; NULL after a failure. */
const float *maps_fetch(ctx *c, const tensor *x);

/* out[height,width] of in[in_height,in_width] between the middles of pixels, in float: cv2.resize with INTER_LINEAR to the
 * bit (products and sums fused, places in double) and PyTorch's bilinear without align_corners within rounding. */
void maps_enlarge(float *out, const float *in, int64_t in_height, int64_t in_width, int64_t height, int64_t width);

/* A value cut to a whole number in 0..255; what is no number is 0. */
static inline uint8_t maps_byte(double value)
{
    return value > 0 ? value < 255 ? (uint8_t)value : 255 : 0;
}

#endif
