/* The decoders, and what they share. Private to image*.c: image_decode.c calls the decoders, they call image_codec.c. */
#ifndef IMAGE_IMAGE_CODEC_H
#define IMAGE_IMAGE_CODEC_H

#include "image/image.h"

/* One decoding: what goes in and what comes out. */
typedef struct image_job {
    image *out;
    image_origin *origin;
    const uint8_t *data;
    size_t size;
    const char *name;
    const image_options *options;
    dt_error *err;
} image_job;

/* Each fills *job->out and job->origin. A half-filled image is left to the caller. */
dt_status image_decode_jpeg(const image_job *job);
dt_status image_decode_png(const image_job *job);
dt_status image_decode_webp(const image_job *job);
dt_status image_decode_bmp(const image_job *job);
dt_status image_decode_gif(const image_job *job);
dt_status image_decode_tiff(const image_job *job);
dt_status image_decode_avif(const image_job *job);

/* Whether a file begins like one of the format, where that is more than one fixed text. */
bool image_is_bmp(const uint8_t *data, size_t size);
bool image_is_tiff(const uint8_t *data, size_t size);
bool image_is_avif(const uint8_t *data, size_t size);

/* "NAME: broken FORMAT: why"; DT_ERR_MEMORY where memory was out, which libraries tell as damage (errno is 0 when decoding begins). */
dt_status image_job_broken(const image_job *job, const char *why);

/* Checks a header's size against the limit and against the file, of which a byte makes at most `pixels_per_byte` pixels
 * (IMAGE_PIXEL_LIMIT: any number), then takes memory for the RGB image. */
dt_status image_job_alloc(const image_job *job, int64_t width, int64_t height, int64_t pixels_per_byte);

/* EXIF orientation, 1..8, of a TIFF block with or without "Exif\0\0" before it; 1 where it says nothing valid. Only the first
 * directory is looked at and nothing is copied: libexif makes a copy of what each entry claims, and a MiB of entries that
 * claim the same MiB would take 90 GiB. */
int image_exif_orientation(const uint8_t *exif, size_t size);

/* Lays [count, 4] RGBA over the background. */
void image_lay_over(uint8_t *rgb, const uint8_t *rgba, int64_t count, const image_job *job);

/* The same for colours that are multiplied by their alpha already. */
void image_lay_multiplied(uint8_t *rgb, const uint8_t *rgba, int64_t count, const image_job *job);

/* [count, 4] of cyan, magenta, yellow and black to RGB, where 255 is no ink. */
void image_inks_to_rgb(uint8_t *rgb, const uint8_t *inks, int64_t count);

static inline uint32_t image_little_endian(const uint8_t *p, int bytes)
{
    uint32_t value = 0;
    for (int i = bytes - 1; i >= 0; i--) value = value << 8 | p[i];
    return value;
}

static inline uint32_t image_big_endian(const uint8_t *p, int bytes)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | p[i];
    return value;
}

/* Rounded x / 255 for x in 0..65025. */
static inline int image_div255(int x)
{
    return (x + 128 + ((x + 128) >> 8)) >> 8;
}

#endif
