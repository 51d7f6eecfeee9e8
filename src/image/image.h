/* Pictures: JPEG, PNG, WebP, BMP, GIF, TIFF and AVIF files to 8-bit RGB, 8-bit RGB to PNG, and float images to 8 bits.
 *
 * Whatever a file holds comes out as upright, opaque RGB: the orientation that it states is applied, transparency is laid over
 * a background colour, grey, palette, CMYK, YCCK and 16-bit samples are converted; of several pages or frames the first is
 * taken. Colour profiles and gamma chunks are ignored, as Pillow's convert("RGB") ignores them, because the published models
 * were trained that way. */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* No image with more pixels than this is decoded or made: at most 768 MiB of RGB. */
#define IMAGE_PIXEL_LIMIT ((int64_t)1 << 28)

/* Nor one with a longer side: what resizes a side keeps numbers for each of its pixels. */
#define IMAGE_SIDE_LIMIT ((int64_t)1 << 20)

typedef struct image {
    int64_t width, height;
    uint8_t *rgb; /* [height, width, 3], rows from the top; owned */
} image;

/* For messages. */
#define IMAGE_FORMATS    "JPEG, PNG, WebP, BMP, GIF, TIFF and AVIF"
#define IMAGE_EXTENSIONS ".jpg, .jpeg, .jfif, .png, .webp, .bmp, .gif, .tif, .tiff or .avif"

/* Their numbers stand in caches of latents. */
typedef enum image_format {
    IMAGE_JPEG,
    IMAGE_PNG,
    IMAGE_WEBP,
    IMAGE_BMP,
    IMAGE_GIF,
    IMAGE_TIFF,
    IMAGE_AVIF,
    IMAGE_FORMAT_COUNT
} image_format;

/* What a file held before it became upright, opaque RGB. */
typedef struct image_origin {
    image_format format;
    bool grey, palette, alpha, cmyk, deep; /* deep: 16 bits a sample */
    int orientation;                       /* as in EXIF, 1..8; 1 where nothing is said */
    int64_t pixels; /* by the header, also where there are too many for pixel_limit; 0: unknown */
} image_origin;

typedef struct image_options {
    uint8_t background[3]; /* colour behind transparent pixels */
    int64_t pixel_limit;   /* 0, or anything above it: IMAGE_PIXEL_LIMIT */
} image_options;

/* Decodes the file held in `data`; its first bytes say what it is, not its name. The size in the header is compared
 * with the limit before memory is taken. Everything that is damaged (cut short, wrong checksum, bad code), of another
 * format, an animated WebP or too large is DT_ERR_FORMAT naming `name`; *out is then empty. `origin` may be NULL.
 * Free with image_close. */
dt_status image_decode(image *out, image_origin *origin, const uint8_t *data, size_t size, const char *name,
                       const image_options *options, dt_error *err);

/* How many pixels a file's header promises, nothing decoded; 0 where it is broken or promises more than IMAGE_PIXEL_LIMIT. */
int64_t image_pixels(const uint8_t *data, size_t size);

/* Memory for width x height pixels, not cleared; DT_ERR_FORMAT when empty or above the limit. */
dt_status image_alloc(image *out, int64_t width, int64_t height, dt_error *err);
void image_close(image *im);

/* Whether a file's name ends in one of IMAGE_EXTENSIONS, in either case. */
bool image_has_extension(const char *path);

/* "jpeg", "png" and so on. */
const char *image_format_name(image_format format);

/* "#rrggbb" to three bytes. DT_ERR_ARG says what is allowed. */
dt_status image_parse_colour(uint8_t rgb[3], const char *text, dt_error *err);

/* A key and a value for a PNG's text: key of 1 to 79 Latin letters, value UTF-8. */
typedef struct image_text {
    const char *key, *value;
} image_text;

/* Encodes [height, width, 3]; *out is malloc'ed and belongs to the caller. */
dt_status image_encode_png(uint8_t **out, size_t *out_size, const uint8_t *rgb, int64_t width, int64_t height,
                           const image_text *texts, int64_t text_count, dt_error *err);

/* The same into a file: written beside, synced, renamed; an older file of that name survives a failure. */
dt_status image_write_png(const char *path, const uint8_t *rgb, int64_t width, int64_t height, const image_text *texts,
                          int64_t text_count, dt_error *err);

/* The value of the first plain text (tEXt) of that key before the pixels of a PNG, of which `data` may be the beginning alone. False
 * where there is none, its checksum is wrong or it takes more than `room` bytes. */
bool image_png_text(char *value, size_t room, const uint8_t *data, size_t size, const char *key);

/* [-1, 1] to 0..255 by DiT's rule (sample_ddp.py): clamp(127.5 x + 128) and cut the fraction off, which rounds
 * 127.5 x + 127.5 half up. NaN becomes 0. */
uint8_t image_from_float(float x);

/* The way back: chw[channels, side, side] in [-1, 1] of rgb[side, side, 3], mirrored left to right where `mirrored`; of one channel the
 * red one. */
void image_to_floats(float *chw, int64_t channels, const uint8_t *rgb, int64_t side, bool mirrored);

/* x[count] becomes what a PNG of it would hold: a few values far outside [-1, 1] must not decide a distance. */
void image_as_shown(float *x, int64_t count);

/* Tiles x [count, channels, height, width] in [-1, 1], row by row, `columns` to a row; places left over are
 * white. One channel is shown grey; other counts than 1 and 3 are DT_ERR_SHAPE. */
dt_status image_grid(image *out, const float *x, int64_t count, int64_t channels, int64_t height, int64_t width,
                     int64_t columns, dt_error *err);

#endif
