#include "image/image_codec.h"

#include <errno.h>
#include <string.h>

/* "JPEG", "PNG", "WebP" and so on. */
static const char *image_format_title(image_format format)
{
    static const char *const title[IMAGE_FORMAT_COUNT] = {"JPEG", "PNG", "WebP", "BMP", "GIF", "TIFF", "AVIF"};
    return title[format];
}

dt_status image_job_broken(const image_job *job, const char *why)
{
    if (errno == ENOMEM)
        return error_set(job->err, DT_ERR_MEMORY, "%s: no memory to read a %s", job->name,
                         image_format_title(job->origin->format));
    return error_set(job->err, DT_ERR_FORMAT, "%s: broken %s: %s", job->name, image_format_title(job->origin->format),
                     why);
}

dt_status image_job_alloc(const image_job *job, int64_t width, int64_t height, int64_t pixels_per_byte)
{
    int64_t limit = job->options->pixel_limit;
    if (width >= 1 && height >= 1 && width <= IMAGE_PIXEL_LIMIT / height) job->origin->pixels = width * height;
    if (limit <= 0 || limit > IMAGE_PIXEL_LIMIT) limit = IMAGE_PIXEL_LIMIT;
    if (width > IMAGE_SIDE_LIMIT || height > IMAGE_SIDE_LIMIT)
        return error_set(job->err, DT_ERR_FORMAT, "%s: has %lld x %lld pixels, sides of at most %lld are read",
                         job->name, (long long)width, (long long)height, (long long)IMAGE_SIDE_LIMIT);
    if (width < 1 || height < 1 || width > limit / height) {
        return error_set(job->err, DT_ERR_FORMAT, "%s: has %lld x %lld pixels, 1 to %lld pixels are read", job->name,
                         (long long)width, (long long)height, (long long)limit);
    }
    if (width * height / pixels_per_byte > (int64_t)job->size) {
        return error_set(job->err, DT_ERR_FORMAT, "%s: broken %s: %zu bytes cannot hold %lld x %lld pixels", job->name,
                         image_format_title(job->origin->format), job->size, (long long)width, (long long)height);
    }
    return image_alloc(job->out, width, height, job->err);
}

/* A number of a TIFF block, whose byte order its first letters tell. */
static uint32_t exif_number(const uint8_t *tiff, size_t at, int bytes)
{
    return tiff[0] == 'M' ? image_big_endian(tiff + at, bytes) : image_little_endian(tiff + at, bytes);
}

int image_exif_orientation(const uint8_t *exif, size_t size)
{
    enum { PREFIX = 6, HEADER = 8, ENTRY = 12, ORIENTATION = 0x112, SHORT = 3 };
    const bool prefixed =
        size >= PREFIX && memcmp(exif, "Exif\0", PREFIX) == 0; /* two zero bytes with the literal's own */
    const uint8_t *tiff = exif + (prefixed ? PREFIX : 0);
    if (prefixed) size -= PREFIX;
    if (size < HEADER || (memcmp(tiff, "II*\0", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0)) return 1;
    const size_t first = exif_number(tiff, 4, 4);
    if (first > size || size - first < 2) return 1;
    const size_t stated = exif_number(tiff, first, 2), room = (size - first - 2) / ENTRY;
    for (size_t i = 0; i < stated && i < room; i++) {
        const size_t entry = first + 2 + i * ENTRY; /* tag, type, count, value */
        if (exif_number(tiff, entry, 2) != ORIENTATION) continue;
        const uint32_t value = exif_number(tiff, entry + 8, 2);
        return exif_number(tiff, entry + 2, 2) == SHORT && value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

void image_lay_over(uint8_t *rgb, const uint8_t *rgba, int64_t count, const image_job *job)
{
    const uint8_t *background = job->options->background;
    for (int64_t i = 0; i < count; i++) {
        int alpha = rgba[4 * i + 3];
        if (alpha < 255) job->origin->alpha = true;
        for (int c = 0; c < 3; c++) {
            rgb[3 * i + c] = (uint8_t)image_div255(rgba[4 * i + c] * alpha + background[c] * (255 - alpha));
        }
    }
}

void image_lay_multiplied(uint8_t *rgb, const uint8_t *rgba, int64_t count, const image_job *job)
{
    const uint8_t *background = job->options->background;
    for (int64_t i = 0; i < count; i++) {
        int alpha = rgba[4 * i + 3];
        if (alpha < 255) job->origin->alpha = true;
        for (int c = 0; c < 3; c++) {
            int sum = rgba[4 * i + c] + image_div255(background[c] * (255 - alpha));
            rgb[3 * i + c] = (uint8_t)(sum < 255 ? sum : 255); /* more only where a colour is above its alpha */
        }
    }
}

void image_inks_to_rgb(uint8_t *rgb, const uint8_t *inks, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        int light = inks[4 * i + 3];
        for (int c = 0; c < 3; c++) {
            rgb[3 * i + c] = (uint8_t)(light - image_div255((255 - inks[4 * i + c]) * light));
        }
    }
}
