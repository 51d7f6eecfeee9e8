#include "image/image_codec.h"

#include <stdlib.h>
#include <string.h>

#include <libexif/exif-data.h>

static const char exif_prefix[6] = "Exif\0"; /* two zero bytes with the literal's own */

dt_status image_job_alloc(const image_job *job, int64_t width, int64_t height)
{
    int64_t limit = job->options->pixel_limit;
    if (limit <= 0 || limit > IMAGE_PIXEL_LIMIT) limit = IMAGE_PIXEL_LIMIT;
    if (width < 1 || height < 1 || width > limit / height) {
        return error_set(job->err, DT_ERR_FORMAT, "%s: has %lld x %lld pixels, 1 to %lld pixels are read", job->name,
                         (long long)width, (long long)height, (long long)limit);
    }
    return image_alloc(job->out, width, height, job->err);
}

int image_exif_orientation(const uint8_t *exif, size_t size)
{
    enum { EXIF_BYTES_MAX = 1 << 20 };
    if (size < sizeof exif_prefix || size > EXIF_BYTES_MAX) return 1;
    bool bare = memcmp(exif, exif_prefix, sizeof exif_prefix) != 0; /* libexif wants the prefix that JPEG has */
    uint8_t *block = malloc(size + sizeof exif_prefix);
    if (!block) return 1;
    size_t at = bare ? sizeof exif_prefix : 0;
    memcpy(block, exif_prefix, sizeof exif_prefix);
    memcpy(block + at, exif, size);
    ExifData *data = exif_data_new_from_data(block, (unsigned)(size + at));
    ExifEntry *entry = data ? exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION) : NULL;
    int orientation = 1;
    if (entry && entry->format == EXIF_FORMAT_SHORT && entry->size >= 2) {
        orientation = exif_get_short(entry->data, exif_data_get_byte_order(data));
    }
    if (data) exif_data_unref(data);
    free(block);
    return orientation >= 1 && orientation <= 8 ? orientation : 1;
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
