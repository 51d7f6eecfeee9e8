/* Sizes of images inside the annotators' networks, as PyTorch changes them, and of bytes before them, as OpenCV does. */
#ifndef ANNOTATE_BILINEAR_H
#define ANNOTATE_BILINEAR_H

#include "tensor/tensor.h"

/* Which places of the old image a new pixel lies between: those of the middles (torch's interpolate without align_corners), or with
 * the corners of both on each other (with it). Nothing is widened when shrinking. */
typedef enum bilinear_way { BILINEAR_MIDDLES, BILINEAR_CORNERS } bilinear_way;

/* A new position is weight[0] of the old one at[0] and weight[1] of at[1]. */
typedef struct bilinear_tap {
    int64_t at[2];
    float weight[2];
} bilinear_tap;

/* The taps of position `to` of a side of `size` that was one of `old`; in float, as PyTorch counts. */
bilinear_tap bilinear_tap_of(int64_t to, int64_t size, int64_t old, bilinear_way way);

/* y[N,height,width,C] of x[N,H,W,C]. */
tensor *bilinear_resize(ctx *c, tensor *x, int64_t height, int64_t width, bilinear_way way);

/* y[N,cells,cells,C]: means over cells that cover x[N,H,W,C], as torch's adaptive_avg_pool2d has them: cell i has rows
 * floor(i H / cells) to ceil((i+1) H / cells) - 1. */
tensor *bilinear_pool(ctx *c, tensor *x, int64_t cells);

/* out[height,width,3] of in[old_height,old_width,3], both bytes: cv2.resize(INTER_LINEAR) to the pixel. The memory is taken from the
 * scratch arena. */
dt_status bilinear_bytes(ctx *c, uint8_t *out, int64_t height, int64_t width, const uint8_t *in, int64_t old_height,
                         int64_t old_width);

#endif
