/* Normals of a depth picture, as ControlNet's demo makes them of MiDaS' inverse depth (lllyasviel/ControlNet,
 * annotator/midas/__init__.py): the slopes by Sobel's 3x3 filters of the depth as it comes from the network beside a third
 * part of 2 pi, made 1 long. In the background, where the depth is below 0.4 of its range, there are no slopes.
 *
 * A map's first channel is the third part, its second the slope downwards, its last the slope to the right: the demo turns the
 * order of channels round before the network sees them, and a map here is what a network is told. */
#ifndef ANNOTATE_NORMAL_H
#define ANNOTATE_NORMAL_H

#include "model/annotate/midas.h"

#define NORMAL_SETTINGS MIDAS_SETTINGS ", Sobel 3x3, third part 2 pi, background 0.4, channels turned round"

/* map[height,width,3] of depth[height,width], which is finite: to the pixel what OpenCV and NumPy give. */
void normal_of_depth(uint8_t *map, const float *depth, int64_t height, int64_t width);

/* The same of a picture; `net` is that of midas_open. */
dt_status normal_annotate(ctx *c, const void *net, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width);

#endif
