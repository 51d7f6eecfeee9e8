/* Which decoder a file is for, and what all of them leave to be done. */
#include <errno.h>
#include <string.h>

#include "file/content.h"
#include "file/path.h"
#include "image/image_codec.h"

/* ---- the formats ---- */

static bool is_jpeg(const uint8_t *data, size_t size)
{
    return size >= 3 && !memcmp(data, "\xff\xd8\xff", 3);
}

static bool is_png(const uint8_t *data, size_t size)
{
    return size >= 8 && !memcmp(data, "\x89PNG\r\n\x1a\n", 8);
}

static bool is_webp(const uint8_t *data, size_t size)
{
    return size >= 12 && !memcmp(data, "RIFF", 4) && !memcmp(data + 8, "WEBP", 4);
}

static bool is_gif(const uint8_t *data, size_t size)
{
    return size >= 6 && (!memcmp(data, "GIF87a", 6) || !memcmp(data, "GIF89a", 6));
}

typedef struct format_row {
    const char *name;
    const char *extension[3];
    bool (*is)(const uint8_t *data, size_t size);
    dt_status (*decode)(const image_job *job);
} format_row;

static const format_row formats[IMAGE_FORMAT_COUNT] = {
    [IMAGE_JPEG] = {"jpeg", {"jpg", "jpeg", "jfif"}, is_jpeg, image_decode_jpeg},
    [IMAGE_PNG] = {"png", {"png"}, is_png, image_decode_png},
    [IMAGE_WEBP] = {"webp", {"webp"}, is_webp, image_decode_webp},
    [IMAGE_BMP] = {"bmp", {"bmp"}, image_is_bmp, image_decode_bmp},
    [IMAGE_GIF] = {"gif", {"gif"}, is_gif, image_decode_gif},
    [IMAGE_TIFF] = {"tiff", {"tif", "tiff"}, image_is_tiff, image_decode_tiff},
    [IMAGE_AVIF] = {"avif", {"avif"}, image_is_avif, image_decode_avif},
};

const char *image_format_name(image_format format)
{
    return formats[format].name;
}

bool image_has_extension(const char *path)
{
    for (int i = 0; i < IMAGE_FORMAT_COUNT; i++)
        for (int k = 0; k < 3 && formats[i].extension[k]; k++)
            if (file_has_extension(path, formats[i].extension[k])) return true;
    return false;
}

/* ---- decoding ---- */

/* Turns the picture upright. EXIF says where the stored row 0 and column 0 are seen: 5..8 swap rows and columns; in
 * 2, 3, 7, 8 the stored columns and in 3, 4, 6, 7 the stored rows run backwards. */
static dt_status turn_upright(image *im, int orientation, dt_error *err)
{
    if (orientation == 1) return DT_OK;
    bool swap = orientation >= 5;
    bool back_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool back_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    image turned;
    dt_status status = image_alloc(&turned, swap ? im->height : im->width, swap ? im->width : im->height, err);
    if (status != DT_OK) return status;
    for (int64_t y = 0; y < turned.height; y++) {
        for (int64_t x = 0; x < turned.width; x++) {
            int64_t from_x = swap ? y : x, from_y = swap ? x : y;
            if (back_x) from_x = im->width - 1 - from_x;
            if (back_y) from_y = im->height - 1 - from_y;
            memcpy(turned.rgb + 3 * (y * turned.width + x), im->rgb + 3 * (from_y * im->width + from_x), 3);
        }
    }
    image_close(im);
    *im = turned;
    return DT_OK;
}

static dt_status decode_by_magic(const image_job *job)
{
    for (int i = 0; i < IMAGE_FORMAT_COUNT; i++)
        if (formats[i].is(job->data, job->size)) return formats[i].decode(job);
    const char *other = file_stands_for(job->data, job->size);
    if (other) return error_set(job->err, DT_ERR_FORMAT, "%s: is %s", job->name, other);
    return error_set(job->err, DT_ERR_FORMAT, "%s: is none of " IMAGE_FORMATS, job->name);
}

dt_status image_decode(image *out, image_origin *origin, const uint8_t *data, size_t size, const char *name,
                       const image_options *options, dt_error *err)
{
    image_origin unwanted;
    if (!origin) origin = &unwanted;
    *origin = (image_origin){.orientation = 1};
    *out = (image){0};
    image_job job = {out, origin, data, size, name, options, err};
    errno = 0;
    dt_status status = decode_by_magic(&job);
    if (status == DT_OK) status = turn_upright(out, origin->orientation, err);
    if (status != DT_OK) image_close(out);
    return status;
}

/* A limit of one pixel stops every decoder behind the header. */
int64_t image_pixels(const uint8_t *data, size_t size)
{
    const image_options header_only = {.pixel_limit = 1};
    image_origin origin;
    dt_error ignored = {0};
    image one;
    image_decode(&one, &origin, data, size, "", &header_only, &ignored);
    image_close(&one);
    return origin.pixels;
}
