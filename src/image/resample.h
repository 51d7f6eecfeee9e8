/* Resizing of RGB. To 8 bits it is the same to the last bit as Pillow's Image.resize up to Pillow 12. (Pillow 13 filters columns
 * before rows where the height shrinks much more than the width, python-pillow/Pillow #9549, which moves last bits.)
 *
 * The published DiT models saw their pictures through it, and a different resize is a different data set: the filter
 * widens with the shrink factor, weights are normalised in double and rounded to 22 fractional bits, the horizontal
 * pass comes first and is rounded to 8 bits, and a side that keeps its size is not filtered. */
#ifndef IMAGE_RESAMPLE_H
#define IMAGE_RESAMPLE_H

#include "image/image.h"

typedef enum resample_filter { RESAMPLE_BOX, RESAMPLE_BILINEAR, RESAMPLE_BICUBIC } resample_filter;

/* Resizes `in` to width x height. *out may not be `in`; free it with image_close. */
dt_status resample_image(image *out, const image *in, int64_t width, int64_t height, resample_filter filter,
                         dt_error *err);

typedef enum resample_float_way {
    RESAMPLE_TF1_BILINEAR, /* tf.image.resize_bilinear of TensorFlow 1: corners compared, no wider filter when shrinking */
    RESAMPLE_TORCH_BILINEAR, /* torch's interpolate without align_corners: middles compared, no wider filter */
    RESAMPLE_PILLOW_BICUBIC, /* Pillow's bicubic on images of mode F: widened when shrinking, may leave 0..255 */
} resample_float_way;

/* out[height,width,3] of 8-bit `in`, values 0..255 that are not rounded. */
dt_status resample_float(float *out, const image *in, int64_t width, int64_t height, resample_float_way way,
                         dt_error *err);

/* DiT's center_crop_arr (from ADM): the picture is halved by BOX while its short side is at least twice `size`, brought
 * to a short side of `size` by BICUBIC, and *out is the middle square, size x size. Of the second step only the middle is
 * computed, so that a strip of 1 x 100,000 pixels costs no more than a square. Free it with image_close. */
dt_status resample_centre_crop(image *out, const image *in, int64_t size, dt_error *err);

#endif
