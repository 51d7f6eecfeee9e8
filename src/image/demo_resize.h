/* The sizes that ControlNet's demos bring pictures to before they annotate them (lllyasviel/ControlNet annotator/util.py, resize_image),
 * the same to the pixel as with OpenCV 4.10 and 5. */
#ifndef IMAGE_DEMO_RESIZE_H
#define IMAGE_DEMO_RESIZE_H

#include "image/image.h"

/* The shorter side becomes `side` and the longer one likewise, each rounded, halves to even, to a multiple of 64: by Lanczos' filter over
 * eight pixels where the shorter side grows, else by areas, which OpenCV makes bilinear where a side grows all the same. *out may not be
 * `in`; free it with image_close. DT_ERR_FORMAT where nothing is left or more than IMAGE_PIXEL_LIMIT is asked for. */
dt_status demo_resize(image *out, const image *in, int64_t side, dt_error *err);

#endif
