/* Which decoder a file is for, and what all of them leave to be done. */
#include <string.h>

#include "file/file.h"
#include "image/image_codec.h"

const char *image_format_name(image_format format)
{
    static const char *const name[IMAGE_FORMAT_COUNT] = {"jpeg", "png", "webp"};
    return name[format];
}

bool image_has_extension(const char *path)
{
    static const char *const known[] = {"jpg", "jpeg", "png", "webp"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (file_has_extension(path, known[i])) return true;
    return false;
}

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
    const uint8_t *p = job->data;
    if (job->size >= 3 && memcmp(p, "\xff\xd8\xff", 3) == 0) return image_decode_jpeg(job);
    if (job->size >= 8 && memcmp(p, "\x89PNG\r\n\x1a\n", 8) == 0) return image_decode_png(job);
    if (job->size >= 12 && memcmp(p, "RIFF", 4) == 0 && memcmp(p + 8, "WEBP", 4) == 0) return image_decode_webp(job);
    const char *other = file_stands_for(p, job->size);
    if (other) return error_set(job->err, DT_ERR_FORMAT, "%s: is %s", job->name, other);
    return error_set(job->err, DT_ERR_FORMAT, "%s: is neither JPEG nor PNG nor WebP", job->name);
}

dt_status image_decode(image *out, image_origin *origin, const uint8_t *data, size_t size, const char *name,
                       const image_options *options, dt_error *err)
{
    image_origin unwanted;
    if (!origin) origin = &unwanted;
    *origin = (image_origin){.orientation = 1};
    *out = (image){0};
    image_job job = {out, origin, data, size, name, options, err};
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
