/* Decoding of every kind of picture, hostile files, PNG writing and grids. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "image/image.h"
#include "cheap_picture.h"
#include "picture_files.h"

static const image_options on_white = {.background = {255, 255, 255}};

static image decode(image_origin *origin, bytes file, const image_options *options)
{
    dt_error err = {0};
    image im;
    if (image_decode(&im, origin, file.data, file.size, "a test", options, &err) != DT_OK) fail_msg("%s", err.message);
    free(file.data);
    return im;
}

static void assert_pixel(const image *im, int64_t x, int64_t y, int r, int g, int b, int tolerance)
{
    const uint8_t *p = im->rgb + 3 * (y * im->width + x);
    if (abs(p[0] - r) > tolerance || abs(p[1] - g) > tolerance || abs(p[2] - b) > tolerance) {
        fail_msg("pixel %d,%d is %d %d %d, expected %d %d %d", (int)x, (int)y, p[0], p[1], p[2], r, g, b);
    }
}

/* Something with detail: width x height x channels. */
static uint8_t *busy(int width, int height, int channels)
{
    uint8_t *p = malloc((size_t)(width * height * channels));
    for (int i = 0; i < width * height * channels; i++) p[i] = (uint8_t)(i * 7 + i / 13 * 31 + i / 101 * 57);
    return p;
}

static void a_png_comes_back_with_every_bit_and_its_text(void **state)
{
    (void)state;
    dt_error err = {0};
    uint8_t *rgb = busy(37, 23, 3);
    image_text texts[] = {{"Software", "difftune"}, {"class", "caf\xc3\xa9"}};
    bytes file;
    assert_int_equal(image_encode_png(&file.data, &file.size, rgb, 37, 23, texts, 2, &err), DT_OK);
    assert_non_null(memmem(file.data, file.size, "tEXtSoftware\0difftune", 21));
    assert_non_null(memmem(file.data, file.size, "iTXtclass", 9));
    assert_non_null(memmem(file.data, file.size, "caf\xc3\xa9", 5));
    image_origin origin;
    image im = decode(&origin, file, &on_white);
    assert_int_equal(im.width, 37);
    assert_int_equal(im.height, 23);
    assert_memory_equal(im.rgb, rgb, 37 * 23 * 3);
    assert_int_equal(origin.format, IMAGE_PNG);
    assert_int_equal(origin.orientation, 1);
    assert_false(origin.grey || origin.palette || origin.alpha || origin.cmyk || origin.deep);
    image_close(&im);
    free(rgb);
}

/* A beginning is enough; what is damaged, too long or not there is none. */
static void a_text_of_a_png_is_read_back(void **state)
{
    (void)state;
    dt_error err = {0};
    uint8_t *rgb = busy(8, 8, 3);
    image_text texts[] = {{"Software", "difftune"}, {"picture", "abc"}};
    bytes file;
    char value[8];
    assert_int_equal(image_encode_png(&file.data, &file.size, rgb, 8, 8, texts, 2, &err), DT_OK);
    const uint8_t *text = memmem(file.data, file.size, "tEXtpicture", 11);
    assert_non_null(text);
    const size_t end = (size_t)(text - file.data) + 4 + 11 + 4; /* of the chunk: key, zero byte, value, checksum */
    assert_true(image_png_text(value, sizeof value, file.data, end, "picture"));
    assert_string_equal(value, "abc");
    assert_false(image_png_text(value, sizeof value, file.data, file.size, "Software")); /* takes 9 bytes */
    assert_false(image_png_text(value, sizeof value, file.data, file.size, "pic"));
    for (size_t size = 0; size < end; size++)
        assert_false(image_png_text(value, sizeof value, file.data, size, "picture"));
    file.data[end - 5] ^= 1;
    assert_false(image_png_text(value, sizeof value, file.data, file.size, "picture"));
    free(file.data);
    free(rgb);
}

static void an_interlaced_png_is_the_same_as_a_plain_one(void **state)
{
    (void)state;
    uint8_t *rgb = busy(21, 19, 3);
    png_recipe recipe = {.type = PNG_COLOR_TYPE_RGB, .depth = 8, .interlace = PNG_INTERLACE_ADAM7};
    image im = decode(NULL, make_png(rgb, 63, 21, 19, recipe), &on_white);
    assert_memory_equal(im.rgb, rgb, 21 * 19 * 3);
    image_close(&im);
    free(rgb);
}

static void grey_pngs_of_1_8_and_16_bits_become_rgb(void **state)
{
    (void)state;
    image_origin origin;
    const uint8_t bits[1] = {0xa0}; /* white, black, white */
    image im =
        decode(&origin, make_png(bits, 1, 3, 1, (png_recipe){.type = PNG_COLOR_TYPE_GRAY, .depth = 1}), &on_white);
    assert_pixel(&im, 0, 0, 255, 255, 255, 0);
    assert_pixel(&im, 1, 0, 0, 0, 0, 0);
    assert_true(origin.grey && !origin.deep);
    image_close(&im);
    const uint8_t grey[2] = {7, 200};
    im = decode(&origin, make_png(grey, 2, 2, 1, (png_recipe){.type = PNG_COLOR_TYPE_GRAY, .depth = 8}), &on_white);
    assert_pixel(&im, 1, 0, 200, 200, 200, 0);
    image_close(&im);
    const uint8_t deep[6] = {0x12, 0x34, 0x80, 0xff, 0xff, 0xff}; /* 4660 / 257 = 18.1, 33023 / 257 = 128.5 */
    im = decode(&origin, make_png(deep, 6, 3, 1, (png_recipe){.type = PNG_COLOR_TYPE_GRAY, .depth = 16}), &on_white);
    assert_pixel(&im, 0, 0, 18, 18, 18, 0);
    assert_pixel(&im, 1, 0, 128, 128, 128, 0);
    assert_pixel(&im, 2, 0, 255, 255, 255, 0);
    assert_true(origin.grey && origin.deep);
    image_close(&im);
}

static void transparency_lies_over_the_background(void **state)
{
    (void)state;
    image_origin origin;
    image_options on_colour = {.background = {10, 100, 250}};
    const uint8_t rgba[] = {200, 50, 0, 255, 200, 50, 0, 0, 200, 50, 0, 51};
    image im =
        decode(&origin, make_png(rgba, 12, 3, 1, (png_recipe){.type = PNG_COLOR_TYPE_RGBA, .depth = 8}), &on_colour);
    assert_pixel(&im, 0, 0, 200, 50, 0, 0);
    assert_pixel(&im, 1, 0, 10, 100, 250, 0); /* the hidden colour stays hidden */
    assert_pixel(&im, 2, 0, 48, 90, 200, 0);  /* a fifth of it */
    assert_true(origin.alpha);
    image_close(&im);
    im = decode(&origin, make_webp(rgba, 3, 1, 0), &on_colour);
    assert_pixel(&im, 0, 0, 200, 50, 0, 0);
    assert_pixel(&im, 1, 0, 10, 100, 250, 0);
    assert_int_equal(origin.format, IMAGE_WEBP);
    assert_true(origin.alpha);
    image_close(&im);
}

static void a_palette_with_a_transparent_colour_is_resolved(void **state)
{
    (void)state;
    image_origin origin;
    const png_color palette[3] = {{1, 2, 3}, {250, 0, 10}, {9, 9, 9}};
    const png_byte transparency[3] = {255, 255, 0};
    const uint8_t index[3] = {0, 1, 2};
    png_recipe recipe = {PNG_COLOR_TYPE_PALETTE, 8, 0, 0, palette, transparency, 3};
    image im = decode(&origin, make_png(index, 3, 3, 1, recipe), &on_white);
    assert_pixel(&im, 0, 0, 1, 2, 3, 0);
    assert_pixel(&im, 1, 0, 250, 0, 10, 0);
    assert_pixel(&im, 2, 0, 255, 255, 255, 0);
    assert_true(origin.palette && origin.alpha);
    image_close(&im);
}

static void flat_jpeg(uint8_t *samples, int count, int components, const uint8_t *value)
{
    for (int i = 0; i < count; i++) memcpy(samples + i * components, value, (size_t)components);
}

static void jpegs_of_every_colour_space_become_rgb(void **state)
{
    (void)state;
    image_origin origin;
    uint8_t samples[16 * 16 * 4];
    flat_jpeg(samples, 256, 3, (const uint8_t[]){200, 40, 90});
    image im = decode(&origin, make_jpeg(samples, 16, 16, (jpeg_recipe){JCS_RGB, 3, 0, 0}), &on_white);
    assert_pixel(&im, 7, 7, 200, 40, 90, 2);
    assert_false(origin.grey || origin.cmyk);
    image_close(&im);
    flat_jpeg(samples, 256, 1, (const uint8_t[]){77});
    im = decode(&origin, make_jpeg(samples, 16, 16, (jpeg_recipe){JCS_GRAYSCALE, 1, 1, 0}), &on_white);
    assert_pixel(&im, 3, 9, 77, 77, 77, 1);
    assert_true(origin.grey);
    image_close(&im);
    /* Adobe's inverted inks: 255 is none. Cyan full, half magenta, no yellow, a fifth of black. */
    flat_jpeg(samples, 256, 4, (const uint8_t[]){0, 128, 255, 204});
    im = decode(&origin, make_jpeg(samples, 16, 16, (jpeg_recipe){JCS_CMYK, 4, 0, 0}), &on_white);
    assert_pixel(&im, 0, 15, 0, 102, 204, 2);
    assert_true(origin.cmyk);
    image_close(&im);
}

/* Where EXIF says that the stored left and right upper corners are seen: 0 left up, 1 right up, 2 left down, 3 right
 * down. */
static const int seen_left_corner[9] = {0, 0, 1, 3, 2, 0, 1, 3, 2};
static const int seen_right_corner[9] = {1, 1, 0, 2, 3, 2, 3, 1, 0};

static void assert_upright(const image *im, int orientation)
{
    assert_int_equal(im->width, orientation >= 5 ? 16 : 32);
    assert_int_equal(im->height, orientation >= 5 ? 32 : 16);
    for (int corner = 0; corner < 4; corner++) {
        int64_t x = corner % 2 ? im->width - 3 : 2, y = corner / 2 ? im->height - 3 : 2;
        int red = corner == seen_left_corner[orientation] ? 255 : 0;
        int green = corner == seen_right_corner[orientation] ? 255 : 0;
        assert_pixel(im, x, y, red, green, 0, 24);
    }
}

static void exif_orientation_is_applied_in_all_formats(void **state)
{
    (void)state;
    uint8_t rgb[32 * 16 * 3], rgba[32 * 16 * 4];
    for (int i = 0; i < 32 * 16; i++) {
        int x = i % 32, y = i / 32;
        uint8_t pixel[4] = {y < 8 && x < 16 ? 255 : 0, y < 8 && x >= 16 ? 255 : 0, 0, 255};
        memcpy(rgb + 3 * i, pixel, 3);
        memcpy(rgba + 4 * i, pixel, 4);
    }
    for (int o = 1; o <= 8; o++) {
        image_origin origin[3];
        png_recipe recipe = {.type = PNG_COLOR_TYPE_RGB, .depth = 8, .orientation = o};
        image im[3] = {decode(&origin[0], make_jpeg(rgb, 32, 16, (jpeg_recipe){JCS_RGB, 3, 0, o}), &on_white),
                       decode(&origin[1], make_png(rgb, 96, 32, 16, recipe), &on_white),
                       decode(&origin[2], make_webp(rgba, 32, 16, o), &on_white)};
        for (int i = 0; i < 3; i++) {
            assert_int_equal(origin[i].orientation, o);
            assert_upright(&im[i], o);
            image_close(&im[i]);
        }
    }
    image_origin origin;
    image im = decode(&origin, make_jpeg(rgb, 32, 16, (jpeg_recipe){JCS_RGB, 3, 0, 200}), &on_white);
    assert_int_equal(origin.orientation, 1); /* nonsense is no orientation */
    assert_upright(&im, 1);
    image_close(&im);
}

/* ---- hostile files ---- */

static bytes example_file(int kind)
{
    uint8_t *pixels = busy(60, 50, 4);
    bytes file;
    switch (kind) {
    case 0: file = make_jpeg(pixels, 60, 50, (jpeg_recipe){JCS_RGB, 3, 0, 6}); break;
    case 1: file = make_jpeg(pixels, 60, 50, (jpeg_recipe){JCS_RGB, 3, 1, 6}); break;
    case 2: file = make_jpeg(pixels, 60, 50, (jpeg_recipe){JCS_CMYK, 4, 0, 6}); break;
    case 3: file = make_png(pixels, 240, 60, 50, (png_recipe){.type = PNG_COLOR_TYPE_RGBA, .depth = 8}); break;
    case 4: file = make_png(pixels, 180, 60, 50, (png_recipe){PNG_COLOR_TYPE_RGB, 8, 1, 3, NULL, NULL, 0}); break;
    default: file = make_webp(pixels, 60, 50, 8); break;
    }
    free(pixels);
    return file;
}

enum { EXAMPLE_COUNT = 6 };

static void a_file_cut_short_anywhere_is_an_error_that_names_it(void **state)
{
    (void)state;
    for (int kind = 0; kind < EXAMPLE_COUNT; kind++) {
        bytes file = example_file(kind);
        for (size_t at = 0; at < file.size + 63; at += 64) {
            size_t cut = at < file.size ? at : file.size - 1;
            uint8_t *copy = malloc(cut); /* of the exact size, so that reading past it is found */
            memcpy(copy, file.data, cut);
            dt_error err = {0};
            image im;
            dt_status status = image_decode(&im, NULL, copy, cut, "holiday.xyz", &on_white, &err);
            if (status != DT_ERR_FORMAT) fail_msg("kind %d cut at %zu of %zu was read", kind, cut, file.size);
            assert_non_null(strstr(err.message, "holiday.xyz"));
            assert_null(im.rgb);
            free(copy);
        }
        free(file.data);
    }
}

static void flipped_bits_never_do_harm(void **state)
{
    (void)state;
    for (int kind = 0; kind < EXAMPLE_COUNT; kind++) {
        bytes file = example_file(kind);
        for (size_t at = 0; at < file.size; at += 1 + at / 64) {
            uint8_t kept = file.data[at];
            file.data[at] ^= (uint8_t)(1 << (at % 8));
            dt_error err = {0};
            image im;
            image_options options = {.pixel_limit = 1 << 22}; /* a flipped size would be slow */
            dt_status status = image_decode(&im, NULL, file.data, file.size, "x", &options, &err);
            assert_true(status == DT_OK || status == DT_ERR_FORMAT);
            image_close(&im);
            file.data[at] = kept;
        }
        free(file.data);
    }
}

static void assert_refused(bytes file, const char *why, const image_options *options)
{
    dt_error err = {0};
    image im;
    assert_int_equal(image_decode(&im, NULL, file.data, file.size, "big.bin", options, &err), DT_ERR_FORMAT);
    if (!strstr(err.message, why)) fail_msg("\"%s\" does not say \"%s\"", err.message, why);
    assert_null(im.rgb);
    free(file.data);
}

/* Patches height and width in the frame header. */
static bytes lying_jpeg(int width, int height)
{
    bytes file = example_file(0);
    uint8_t *frame = memmem(file.data, file.size, "\xff\xc0", 2);
    frame[5] = (uint8_t)(height >> 8);
    frame[6] = (uint8_t)height;
    frame[7] = (uint8_t)(width >> 8);
    frame[8] = (uint8_t)width;
    return file;
}

static void sizes_are_checked_before_memory_is_taken(void **state)
{
    (void)state;
    assert_refused(make_lying_png(40000, 40000), "40000 x 40000", &on_white);
    assert_refused(make_lying_png(0x7fffffff, 0x7fffffff), "2147483647 x 2147483647", &on_white);
    assert_refused(lying_jpeg(65000, 65000), "65000 x 65000", &on_white);
    assert_refused(example_file(0), "60 x 50", &(image_options){.pixel_limit = 2999});
    assert_refused(example_file(5), "60 x 50", &(image_options){.pixel_limit = 2999});
    assert_refused(lying_jpeg(3000, 3000), "broken JPEG", &on_white);
    assert_refused(make_lying_png(3000, 3000), "broken PNG", &on_white);
}

static void other_files_and_animations_are_refused(void **state)
{
    (void)state;
    bytes text = {0}, nothing = {0}, animated = {0};
    bytes_add(&text, "<svg xmlns=...>", 15);
    assert_refused(text, "none of JPEG, PNG, WebP", &on_white);
    bytes_add(&nothing, "", 0);
    assert_refused(nothing, "none of JPEG, PNG, WebP", &on_white);
    bytes_add(&animated, "RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x07\0\0\x07\0\0", 30);
    assert_refused(animated, "animated", &on_white);
}

static void a_jpeg_of_a_thousand_scans_is_refused(void **state)
{
    (void)state;
    bytes file = example_file(1), many = {0};
    size_t first = 0, end;
    while (memcmp(file.data + first, "\xff\xda", 2) != 0) first++;
    for (end = first + 2; file.data[end] != 0xff || file.data[end + 1] == 0;) end++;
    bytes_add(&many, file.data, first);
    for (int i = 0; i < 1000; i++) bytes_add(&many, file.data + first, end - first);
    bytes_add(&many, file.data + end, file.size - end);
    free(file.data);
    assert_refused(many, "scans", &on_white);
}

/* ---- memory and time ---- */

/* A chunk that may claim another length than it has. */
static void add_chunk(bytes *out, const char *type, const uint8_t *data, size_t size, size_t claimed)
{
    const uint32_t sum = (uint32_t)crc32(crc32(0, (const uint8_t *)type, 4), data, (uInt)size);
    bytes_add(
        out, (uint8_t[]){(uint8_t)(claimed >> 24), (uint8_t)(claimed >> 16), (uint8_t)(claimed >> 8), (uint8_t)claimed},
        4);
    bytes_add(out, type, 4);
    bytes_add(out, data, size);
    bytes_add(out, (uint8_t[]){(uint8_t)(sum >> 24), (uint8_t)(sum >> 16), (uint8_t)(sum >> 8), (uint8_t)sum}, 4);
}

/* A good PNG with another chunk behind its header (behind = 33) or before its end. */
static bytes png_with(const char *type, const uint8_t *data, size_t size, size_t claimed, bool at_end)
{
    bytes good = example_file(3), out = {0};
    const size_t place = at_end ? good.size - 12 : 33;
    bytes_add(&out, good.data, place);
    add_chunk(&out, type, data, size, claimed);
    bytes_add(&out, good.data + place, good.size - place);
    free(good.data);
    return out;
}

static void chunks_that_are_not_needed_are_passed_over_unread(void **state)
{
    (void)state;
    static const char *const types[] = {"tEXt", "zTXt", "iTXt", "iCCP", "sPLT", "eXIf", "prVt"};
    enum { TEXT = 300 << 20 };
    uint8_t *text = calloc(TEXT, 1), *packed = malloc(1 << 20), junk[40] = "key";
    uLongf size = (1 << 20) - 5;
    assert_int_equal(compress(packed + 5, &size, text, TEXT), Z_OK);
    memcpy(packed, "key\0", 5); /* and the number of the method */
    free(text);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        for (int at_end = 0; at_end < 2; at_end++) {
            assert_cheap(png_with(types[i], junk, sizeof junk, 0x7fffffff, at_end), DT_ERR_FORMAT);
            assert_cheap(png_with(types[i], junk, sizeof junk, sizeof junk, at_end), DT_OK);
            assert_cheap(png_with(types[i], packed, size + 5, size + 5, at_end), DT_OK);
        }
    }
    free(packed);
    assert_refused(png_with("NeeD", junk, sizeof junk, sizeof junk, false), "unknown chunk", &on_white);
}

/* Entries of one EXIF block may all claim the same bytes. */
static void exif_entries_are_not_copied(void **state)
{
    (void)state;
    enum { ENTRIES = 60000, BYTES = 8 + 2 + 12 * ENTRIES };
    uint8_t *exif = calloc(BYTES, 1);
    memcpy(exif, "MM\0*\0\0\0\10", 8);
    exif[8] = ENTRIES >> 8;
    exif[9] = ENTRIES & 255;
    for (int i = 0; i < ENTRIES; i++)
        memcpy(exif + 10 + 12 * i, (uint8_t[]){0x01, 0x0e, 0, 2, 0, 0x0a, 0, 0, 0, 0, 0, 8}, 12);
    assert_cheap(png_with("eXIf", exif, BYTES, BYTES, false), DT_OK);
    free(exif);
}

static void a_small_file_cannot_ask_for_a_large_picture(void **state)
{
    (void)state;
    assert_cheap(make_lying_png(16384, 16384), DT_ERR_FORMAT);
    assert_cheap(lying_jpeg(16384, 16384), DT_ERR_FORMAT);
    assert_refused(make_lying_png(1, 1 << 21), "sides", &on_white);
}

/* Nothing reads the spectral range of a scan of a sequential picture; some writers leave zeros there. */
static void a_jpeg_with_zeros_in_its_scan_header_is_read(void **state)
{
    (void)state;
    image im[2] = {decode(NULL, example_file(0), &on_white)};
    bytes zeroed = example_file(0);
    uint8_t *scan =
        memmem(zeroed.data, zeroed.size, "\xff\xda\0\x0c", 4); /* marker, 12 bytes, 3 parts, then the range */
    assert_memory_equal(scan + 11, "\0\x3f\0", 3);
    scan[12] = 0;
    im[1] = decode(NULL, zeroed, &on_white);
    assert_memory_equal(im[0].rgb, im[1].rgb, (size_t)(3 * im[0].width * im[0].height));
    image_close(&im[0]);
    image_close(&im[1]);
}

static void headers_tell_how_many_pixels_there_are(void **state)
{
    (void)state;
    for (int kind = 0; kind < EXAMPLE_COUNT; kind++) {
        bytes file = example_file(kind);
        assert_int_equal(image_pixels(file.data, file.size), 3000);
        free(file.data);
    }
    assert_int_equal(image_pixels((const uint8_t *)"nothing", 7), 0);
}

/* ---- the rest ---- */

static void a_png_is_not_written_into_a_missing_folder(void **state)
{
    (void)state;
    dt_error err = {0};
    const uint8_t rgb[3] = {1, 2, 3};
    assert_int_equal(image_write_png("/nonexistent-folder/x.png", rgb, 1, 1, NULL, 0, &err), DT_ERR_IO);
    assert_non_null(strstr(err.message, "/nonexistent-folder/x.png"));
    bytes file;
    dt_error other = {0};
    assert_int_equal(image_encode_png(&file.data, &file.size, rgb, 0, 1, NULL, 0, &other), DT_ERR_ARG);
    assert_null(file.data);
}

static void a_written_png_is_read_back(void **state)
{
    (void)state;
    dt_error err = {0};
    char path[4096];
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/difftune-png-%d.png", folder ? folder : "/tmp", (int)getpid());
    uint8_t *rgb = busy(9, 4, 3);
    assert_int_equal(image_write_png(path, rgb, 9, 4, NULL, 0, &err), DT_OK);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    uint8_t data[4096];
    bytes file = {0};
    bytes_add(&file, data, fread(data, 1, sizeof data, f));
    fclose(f);
    unlink(path);
    image im = decode(NULL, file, &on_white);
    assert_memory_equal(im.rgb, rgb, 9 * 4 * 3);
    image_close(&im);
    free(rgb);
}

static void floats_become_bytes_by_the_rule_of_dit(void **state)
{
    (void)state;
    for (int i = 0; i < 256; i++) assert_int_equal(image_from_float((float)i / 127.5f - 1.0f), i);
    assert_int_equal(image_from_float(-1.01f), 0);
    assert_int_equal(image_from_float(1.01f), 255);
    assert_int_equal(image_from_float(0.0f), 128);
    assert_int_equal(image_from_float(-0.005f), 127); /* 127.36 loses its fraction */
    assert_int_equal(image_from_float(NAN), 0);
    assert_int_equal(image_from_float(INFINITY), 255);
    assert_int_equal(image_from_float(-INFINITY), 0);
}

static void a_grid_places_pictures_row_by_row(void **state)
{
    (void)state;
    dt_error err = {0};
    float x[3 * 3 * 2 * 4]; /* three pictures of 2 x 4 */
    for (int i = 0; i < 72; i++) x[i] = (float)(i / 8 * 25) / 127.5f - 1.0f;
    image grid;
    assert_int_equal(image_grid(&grid, x, 3, 3, 2, 4, 2, &err), DT_OK);
    assert_int_equal(grid.width, 2 * 4);
    assert_int_equal(grid.height, 2 * 2);
    assert_pixel(&grid, 0, 0, 0, 25, 50, 0);
    assert_pixel(&grid, 4, 1, 75, 100, 125, 0);
    assert_pixel(&grid, 3, 3, 150, 175, 200, 0);
    assert_pixel(&grid, 4, 2, 255, 255, 255, 0); /* the empty fourth place */
    image_close(&grid);
    assert_int_equal(image_grid(&grid, x, 9, 1, 2, 4, 100, &err), DT_OK);
    assert_int_equal(grid.width, 36); /* never wider than there are pictures */
    assert_pixel(&grid, 4, 0, 25, 25, 25, 0);
    image_close(&grid);
    assert_int_equal(image_grid(&grid, x, 4, 2, 2, 4, 2, &err), DT_ERR_SHAPE);
    error_clear(&err);
    assert_int_equal(image_grid(&grid, x, 0, 3, 2, 4, 2, &err), DT_ERR_SHAPE);
    assert_null(grid.rgb);
}

static void colours_are_read_strictly(void **state)
{
    (void)state;
    dt_error err = {0};
    uint8_t rgb[3];
    assert_int_equal(image_parse_colour(rgb, "#0aF9c0", &err), DT_OK);
    assert_memory_equal(rgb, ((uint8_t[]){0x0a, 0xf9, 0xc0}), 3);
    const char *bad[] = {"", "#", "white", "#12345", "#1234567", "#12345g", "0x1234", "#-12345"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dt_error why = {0};
        assert_int_equal(image_parse_colour(rgb, bad[i], &why), DT_ERR_ARG);
        assert_non_null(strstr(why.message, "#rrggbb"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_png_comes_back_with_every_bit_and_its_text),
        cmocka_unit_test(a_text_of_a_png_is_read_back),
        cmocka_unit_test(an_interlaced_png_is_the_same_as_a_plain_one),
        cmocka_unit_test(grey_pngs_of_1_8_and_16_bits_become_rgb),
        cmocka_unit_test(transparency_lies_over_the_background),
        cmocka_unit_test(a_palette_with_a_transparent_colour_is_resolved),
        cmocka_unit_test(jpegs_of_every_colour_space_become_rgb),
        cmocka_unit_test(exif_orientation_is_applied_in_all_formats),
        cmocka_unit_test(a_file_cut_short_anywhere_is_an_error_that_names_it),
        cmocka_unit_test(flipped_bits_never_do_harm),
        cmocka_unit_test(sizes_are_checked_before_memory_is_taken),
        cmocka_unit_test(other_files_and_animations_are_refused),
        cmocka_unit_test(a_jpeg_of_a_thousand_scans_is_refused),
        cmocka_unit_test(chunks_that_are_not_needed_are_passed_over_unread),
        cmocka_unit_test(exif_entries_are_not_copied),
        cmocka_unit_test(a_small_file_cannot_ask_for_a_large_picture),
        cmocka_unit_test(a_jpeg_with_zeros_in_its_scan_header_is_read),
        cmocka_unit_test(headers_tell_how_many_pixels_there_are),
        cmocka_unit_test(a_png_is_not_written_into_a_missing_folder),
        cmocka_unit_test(a_written_png_is_read_back),
        cmocka_unit_test(floats_become_bytes_by_the_rule_of_dit),
        cmocka_unit_test(a_grid_places_pictures_row_by_row),
        cmocka_unit_test(colours_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
