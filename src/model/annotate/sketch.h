/* The "fake scribble" of ControlNet: the soft edge of HED (model/annotate/hed.h) thinned to its ridges and drawn as with a broad
 * pen. To the pixel what the demo makes of the same soft edge with OpenCV's GaussianBlur and dilate. */
#ifndef ANNOTATE_SKETCH_H
#define ANNOTATE_SKETCH_H

#include "model/annotate/hed.h"

#define SKETCH_SETTINGS "ControlNetHED, ridges of sigma 3 above 127, pen of sigma 3 above 4"

/* map[height,width], 255 on strokes, else 0, of the bytes soft[height,width]:
 *  - blurred (Gaussian, sigma 3, 25 wide, in float);
 *  - kept where a pixel is not less than both neighbours along a row, a column or one of the diagonals, and above 127; those are 255;
 *  - blurred again (sigma 3, 19 wide, in bytes), above 4: 255.
 * The two may be the same array. Works in the scratch arena. */
dt_status sketch_of_soft_edge(ctx *c, uint8_t *map, const uint8_t *soft, int64_t height, int64_t width);

/* The same of a picture; `net` is that of hed_open. */
dt_status sketch_annotate(ctx *c, const void *net, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width);

#endif
