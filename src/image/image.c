#include "image/image.h"

#include <stdlib.h>
#include <string.h>

#include <libexif/exif-data.h>

#include "image/image_codec.h"

static const char exif_prefix[6] = "Exif\0"; /* two zero bytes with the literal's own */

const char *image_format_name(image_format format)
{
    static const char *const name[IMAGE_FORMAT_COUNT] = {"jpeg", "png", "webp"};
    return name[format];
}

dt_status image_alloc(image *out, int64_t width, int64_t height, dt_error *err)
{
    *out = (image){0};
    if (width < 1 || height < 1 || width > IMAGE_PIXEL_LIMIT / height) {
        return error_set(err, DT_ERR_FORMAT,
                         "an image of %lld x %lld pixels was asked for, 1 to %lld pixels are possible",
                         (long long)width, (long long)height, (long long)IMAGE_PIXEL_LIMIT);
    }
    out->rgb = malloc((size_t)(width * height * 3));
    if (!out->rgb) {
        return error_set(err, DT_ERR_MEMORY, "no memory for an image of %lld x %lld pixels", (long long)width,
                         (long long)height);
    }
    out->width = width;
    out->height = height;
    return DT_OK;
}

void image_close(image *im)
{
    free(im->rgb);
    *im = (image){0};
}

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

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

dt_status image_parse_colour(uint8_t rgb[3], const char *text, dt_error *err)
{
    bool good = text[0] == '#' && strlen(text) == 7;
    for (int i = 1; good && i < 7; i++) good = hex_digit(text[i]) >= 0;
    if (!good) return error_set(err, DT_ERR_ARG, "colour \"%s\": expected #rrggbb, for example #ffffff", text);
    for (int c = 0; c < 3; c++) rgb[c] = (uint8_t)(hex_digit(text[1 + 2 * c]) * 16 + hex_digit(text[2 + 2 * c]));
    return DT_OK;
}

uint8_t image_from_float(float x)
{
    float scaled = 127.5f * x + 128.0f;
    if (!(scaled > 0.0f)) return 0; /* also NaN */
    return scaled < 255.0f ? (uint8_t)scaled : 255;
}

void image_as_shown(float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++) x[i] = (float)image_from_float(x[i]) / 127.5f - 1;
}

/* Writes one [channels, height, width] picture with its corner at `rgb`, rows `stride` bytes apart. */
static void put_tile(uint8_t *rgb, const float *chw, int64_t channels, int64_t height, int64_t width, int64_t stride)
{
    for (int64_t y = 0; y < height; y++) {
        for (int64_t x = 0; x < width; x++) {
            for (int64_t c = 0; c < 3; c++) {
                int64_t plane = channels == 3 ? c : 0;
                rgb[y * stride + 3 * x + c] = image_from_float(chw[(plane * height + y) * width + x]);
            }
        }
    }
}

dt_status image_grid(image *out, const float *x, int64_t count, int64_t channels, int64_t height, int64_t width,
                     int64_t columns, dt_error *err)
{
    *out = (image){0};
    if (channels != 1 && channels != 3) {
        return error_set(err, DT_ERR_SHAPE, "a picture grid needs 1 or 3 channels, not %lld", (long long)channels);
    }
    int64_t largest = IMAGE_PIXEL_LIMIT;
    if (count < 1 || columns < 1 || count > largest || height > largest || width > largest) {
        return error_set(err, DT_ERR_SHAPE, "a picture grid of %lld pictures in %lld columns is impossible",
                         (long long)count, (long long)columns);
    }
    if (columns > count) columns = count;
    int64_t rows = (count + columns - 1) / columns;
    dt_status status = image_alloc(out, columns * width, rows * height, err);
    if (status != DT_OK) return status;
    memset(out->rgb, 255, (size_t)(out->width * out->height * 3));
    for (int64_t i = 0; i < count; i++) {
        int64_t left = i % columns * width, top = i / columns * height;
        put_tile(out->rgb + 3 * (top * out->width + left), x + i * channels * height * width, channels, height, width,
                 3 * out->width);
    }
    return DT_OK;
}
