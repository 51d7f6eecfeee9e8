/* Canny's edges (J. Canny 1986) as OpenCV's cv2.Canny(picture, 100, 200) gives them, to the pixel: what ControlNet's Canny demo
 * draws. The parts that decide pixels: the border is replicated; of three channels a pixel takes the gradient whose L1
 * norm |dx| + |dy| is greatest, the first of equals; directions are told apart by tan 22.5 degrees in 15 fractional bits;
 * along a row or column a maximum must be greater than the neighbour before and not less than the one after, along a
 * diagonal greater than both. */
#ifndef ANNOTATE_CANNY_H
#define ANNOTATE_CANNY_H

#include "tensor/context.h"

enum { CANNY_LOW = 100, CANNY_HIGH = 200 };
#define CANNY_SETTINGS "low 100, high 200, Sobel 3x3, L1"

/* map[height,width] is 255 on edges, else 0. The memory is taken from the scratch arena. `net` is not used: Canny has no weights. */
dt_status canny_annotate(ctx *c, const void *net, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width);

#endif
