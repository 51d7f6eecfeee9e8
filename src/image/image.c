#include "image/image.h"

#include <stdlib.h>
#include <string.h>

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

void image_to_floats(float *chw, int64_t channels, const uint8_t *rgb, int64_t side, bool mirrored)
{
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t y = 0; y < side; y++) {
            float *row = chw + (c * side + y) * side;
            const uint8_t *from = rgb + 3 * y * side + c;
            for (int64_t x = 0; x < side; x++) row[x] = (float)from[3 * (mirrored ? side - 1 - x : x)] / 127.5f - 1.0f;
        }
    }
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
