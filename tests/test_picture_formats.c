/* BMP, GIF, TIFF and AVIF: pictures that Pillow and others made (vectors/make_picture_vectors.py), every one of them cut short
 * anywhere and with any byte damaged, and files made to ask for more than they hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "container/safetensors.h"
#include "image/image.h"
#include "cheap_picture.h"
#include "picture_files.h"

static const image_options on_white = {.background = {255, 255, 255}};
static tensor_file vectors;

static int open_vectors(void **state)
{
    (void)state;
    dt_error err = {0};
    return safetensors_open(&vectors, "vectors/pictures.safetensors", &err) == DT_OK ? 0 : -1;
}

static int close_vectors(void **state)
{
    (void)state;
    tensor_file_close(&vectors);
    return 0;
}

static const tensor_entry *part_of(const char *name, const char *part)
{
    char whole[64];
    snprintf(whole, sizeof whole, "%s.%s", name, part);
    const tensor_entry *e = tensor_file_find(&vectors, whole);
    if (!e) fail_msg("vectors/pictures.safetensors lacks %s", whole);
    return e;
}

/* The name of the picture whose file is entry number `i`; false where that is something else. */
static bool picture_name(char name[64], size_t i)
{
    const char *whole = vectors.entries[i].name, *end = strrchr(whole, '.');
    if (strcmp(end, ".file") != 0) return false;
    snprintf(name, 64, "%.*s", (int)(end - whole), whole);
    return true;
}

static void assert_same_picture(const char *name)
{
    dt_error err = {0};
    image im;
    image_origin origin;
    const tensor_entry *file = part_of(name, "file"), *rgb = part_of(name, "rgb");
    const int bound = *(const uint8_t *)part_of(name, "bound")->data;
    const uint8_t *expected = rgb->data;
    if (image_decode(&im, &origin, file->data, (size_t)file->bytes, name, &on_white, &err) != DT_OK)
        fail_msg("%s", err.message);
    if (im.height != rgb->dims[0] || im.width != rgb->dims[1])
        fail_msg("%s has %d x %d pixels", name, (int)im.width, (int)im.height);
    for (int64_t i = 0; i < rgb->count; i++)
        if (abs(im.rgb[i] - expected[i]) > bound)
            fail_msg("%s: value %d of pixel %d,%d is %d, expected %d", name, (int)(i % 3), (int)(i / 3 % im.width),
                     (int)(i / 3 / im.width), im.rgb[i], expected[i]);
    const char *format = image_format_name(origin.format);
    assert_int_equal(strncmp(name, format, strlen(format)), 0);
    assert_int_equal(image_pixels(file->data, (size_t)file->bytes), im.width * im.height);
    image_close(&im);
}

static void pictures_of_other_programs_have_the_pixels_they_should(void **state)
{
    (void)state;
    char name[64];
    int count = 0;
    for (size_t i = 0; i < vectors.count; i++)
        if (picture_name(name, i)) {
            assert_same_picture(name);
            count++;
        }
    assert_true(count > 50);
}

/* ---- damage ---- */

static const image_options small = {.background = {255, 255, 255},
                                    .pixel_limit = 1 << 20}; /* a damaged size would be slow */

static void assert_refused_or_read(const uint8_t *data, size_t size, const char *name)
{
    dt_error err = {0};
    image im;
    const dt_status status = image_decode(&im, NULL, data, size, "holiday.xyz", &small, &err);
    if (status != DT_OK && status != DT_ERR_FORMAT) fail_msg("%s: %s", name, err.message);
    if (status != DT_OK) assert_non_null(strstr(err.message, "holiday.xyz"));
    assert_true((status == DT_OK) == (im.rgb != NULL));
    image_close(&im);
}

static void a_file_cut_short_or_with_a_damaged_byte_does_no_harm(void **state)
{
    (void)state;
    char name[64];
    struct rusage used;
    for (size_t i = 0; i < vectors.count; i++) {
        if (!picture_name(name, i)) continue;
        const tensor_entry *e = &vectors.entries[i];
        for (size_t at = 0; at < (size_t)e->bytes; at++) {
            uint8_t *copy = malloc((size_t)e->bytes); /* of the exact size, so that reading past it is found */
            memcpy(copy, e->data, (size_t)e->bytes);
            copy[at] ^= at % 3 ? (uint8_t)(1 << at % 8) : 0xff;
            assert_refused_or_read(copy, (size_t)e->bytes, name);
            free(copy);
            copy = malloc(at);
            memcpy(copy, e->data, at);
            assert_refused_or_read(copy, at, name);
            free(copy);
        }
    }
    assert_int_equal(getrusage(RUSAGE_SELF, &used), 0);
    if (WITHOUT_SANITIZER) assert_true(used.ru_maxrss < 128 << 10);
}

/* The whole picture must be there: half of one is not trained on. */
static void a_file_without_its_second_half_is_refused(void **state)
{
    (void)state;
    char name[64];
    for (size_t i = 0; i < vectors.count; i++) {
        dt_error err = {0};
        image im;
        const tensor_entry *e = &vectors.entries[i];
        if (!picture_name(name, i) || !strcmp(name, "gif_animated") || !strcmp(name, "tiff_pages") ||
            !strcmp(name, "avif_frames"))
            continue; /* whose first picture is in the first half */
        if (image_decode(&im, NULL, e->data, (size_t)e->bytes / 2, name, &on_white, &err) != DT_ERR_FORMAT)
            fail_msg("half of %s was read", name);
    }
}

/* ---- files that ask for more than they hold ---- */

static void assert_refused(bytes file, const char *why)
{
    dt_error err = {0};
    image im;
    if (image_decode(&im, NULL, file.data, file.size, "big.bin", &on_white, &err) != DT_ERR_FORMAT)
        fail_msg("not \"%s\" but %s", why, dt_status_name(err.status));
    if (!strstr(err.message, why)) fail_msg("\"%s\" does not say \"%s\"", err.message, why);
    assert_null(im.rgb);
    free(file.data);
}

static void add_number(bytes *b, uint32_t value, int count)
{
    for (int i = 0; i < count; i++) bytes_add(b, &(uint8_t){(uint8_t)(value >> 8 * i)}, 1);
}

static bytes copy_of(const char *name)
{
    const tensor_entry *e = part_of(name, "file");
    bytes file = {0};
    bytes_add(&file, e->data, (size_t)e->bytes);
    return file;
}

static bytes lying_bmp(uint32_t side, uint32_t compression)
{
    const uint32_t bits = compression ? 8 : 24, fields[] = {0, compression, 0, 0, 0, 0, 0};
    bytes file = {0};
    bytes_add(&file, "BM", 2);
    for (int i = 0; i < 2; i++) add_number(&file, 0, 4);
    add_number(&file, 54, 4);
    add_number(&file, 40, 4);
    add_number(&file, side, 4);
    add_number(&file, side, 4);
    add_number(&file, bits << 16 | 1, 4);
    for (size_t i = 1; i < sizeof fields / sizeof *fields; i++) add_number(&file, fields[i], 4);
    bytes_add(&file, "\0\0\0\1\0\1", 6);
    return file;
}

static bytes lying_gif(uint32_t side)
{
    bytes file = copy_of("gif");
    const uint8_t frame[] = {',', 0, 0, 0, 0, 21, 0, 18, 0};
    uint8_t *at = memmem(file.data, file.size, frame, sizeof frame);
    assert_non_null(at);
    for (int i = 0; i < 2; i++) at[5 + i] = at[7 + i] = (uint8_t)(side >> 8 * i);
    return file;
}

typedef struct tiff_tag {
    uint32_t tag, type, count, value;
} tiff_tag;

enum { SHORT = 3, LONG = 4 };

/* A little-endian TIFF: its head, a directory at 8 with `next` behind it, then `data`, whose place is *data_at. */
static bytes make_tiff(const tiff_tag tags[], uint32_t count, uint32_t next, const void *data, size_t size)
{
    bytes file = {0};
    bytes_add(&file, "II*\0\10\0\0\0", 8);
    add_number(&file, count, 2);
    for (uint32_t i = 0; i < count; i++) {
        add_number(&file, tags[i].tag, 2);
        add_number(&file, tags[i].type, 2);
        add_number(&file, tags[i].count, 4);
        add_number(&file, tags[i].value, 4);
    }
    add_number(&file, next, 4);
    bytes_add(&file, data, size);
    return file;
}

enum { GREY_TAGS = 9, GREY_DATA_AT = 8 + 2 + 12 * GREY_TAGS + 4 };

/* side x side grey values, as far as `size` says. */
static bytes grey_tiff(uint32_t side, uint32_t compression, uint32_t size, uint32_t next)
{
    static const uint8_t values[64] = {7, 8, 9};
    const tiff_tag tags[GREY_TAGS] = {{256, LONG, 1, side},         {257, LONG, 1, side}, {258, SHORT, 1, 8},
                                      {259, SHORT, 1, compression}, {262, SHORT, 1, 1},   {273, LONG, 1, GREY_DATA_AT},
                                      {277, SHORT, 1, 1},           {278, LONG, 1, side}, {279, LONG, 1, size}};
    return make_tiff(tags, GREY_TAGS, next, values, size < sizeof values ? size : sizeof values);
}

static bytes lying_avif(uint32_t side)
{
    bytes file = copy_of("avif");
    uint8_t *at = memmem(file.data, file.size, "ispe", 4);
    for (int i = 0; i < 4; i++) at[8 + i] = at[12 + i] = (uint8_t)(side >> (24 - 8 * i));
    return file;
}

static void small_files_cannot_ask_for_large_pictures(void **state)
{
    (void)state;
    assert_refused(lying_bmp(65535, 0), "65535 x 65535");
    assert_refused(lying_bmp(0x80000000, 0), "pixels");
    assert_refused(lying_gif(65535), "65535 x 65535");
    assert_refused(grey_tiff(65535, 1, 64, 0), "65535 x 65535");
    assert_refused(lying_avif(65535), "too large");
    for (uint32_t compression = 0; compression < 2; compression++)
        assert_refused(lying_bmp(16384, compression), "cannot hold 16384 x 16384");
    assert_refused(lying_gif(16384), "cannot hold 16384 x 16384");
    const uint32_t packings[] = {1, 5, 7, 8, 32773};
    for (size_t i = 0; i < sizeof packings / sizeof *packings; i++)
        assert_refused(grey_tiff(16384, packings[i], 64, 0), "cannot hold 16384 x 16384");
    dt_error err = {0};
    image im;
    bytes avif = lying_avif(2000);
    assert_int_equal(image_decode(&im, NULL, avif.data, avif.size, "x", &small, &err), DT_ERR_FORMAT);
    assert_non_null(strstr(err.message, "2000 x 2000 pixels"));
    free(avif.data);
}

static void a_directory_that_goes_round_is_read_once(void **state)
{
    (void)state;
    dt_error err = {0};
    image im;
    bytes file = grey_tiff(4, 1, 16, 8);
    assert_int_equal(image_decode(&im, NULL, file.data, file.size, "round", &on_white, &err), DT_OK);
    assert_int_equal(im.rgb[3], 8);
    image_close(&im);
    memcpy(file.data + 4, "\xff\xff\xff\x7f", 4);
    assert_refused(file, "cut short");
}

/* Unknown entries that all claim the same MiB, before those of a good picture. */
static void entries_of_a_directory_are_not_copied(void **state)
{
    (void)state;
    enum { ENTRIES = 4000, DATA = 1 << 20 };
    tiff_tag *tags = calloc(ENTRIES, sizeof *tags);
    uint8_t *data = calloc(1, DATA);
    const uint32_t data_at = 8 + 2 + 12 * ENTRIES + 4;
    const tiff_tag good[] = {{256, LONG, 1, 4},  {257, LONG, 1, 4},       {258, SHORT, 1, 8}, {259, SHORT, 1, 1},
                             {262, SHORT, 1, 1}, {273, LONG, 1, data_at}, {277, SHORT, 1, 1}, {279, LONG, 1, 16}};
    const uint32_t last = ENTRIES - sizeof good / sizeof *good;
    for (uint32_t i = 0; i < last; i++) tags[i] = (tiff_tag){40000 + i, 7, DATA, data_at};
    memcpy(tags + last, good, sizeof good);
    assert_cheap(make_tiff(tags, ENTRIES, 0, data, DATA), DT_OK);
    free(tags);
    free(data);
}

static void strips_that_lie_over_each_other_are_refused(void **state)
{
    (void)state;
    enum { ROWS = 50000, DATA = 1 << 20, DATA_AT = 8 + 2 + 12 * 9 + 4 };
    uint8_t *data = calloc(1, DATA + 8 * ROWS);
    const tiff_tag tags[] = {{256, LONG, 1, 4},  {257, LONG, 1, ROWS}, {258, SHORT, 1, 8},
                             {259, SHORT, 1, 8}, {262, SHORT, 1, 1},   {273, LONG, ROWS, DATA_AT + DATA},
                             {277, SHORT, 1, 1}, {278, LONG, 1, 1},    {279, LONG, ROWS, DATA_AT + DATA + 4 * ROWS}};
    for (int i = 0; i < ROWS; i++) {
        memcpy(data + DATA + 4 * i, (uint8_t[]){DATA_AT, 0, 0, 0}, 4);
        memcpy(data + DATA + 4 * (ROWS + i), (uint8_t[]){0, 0, DATA >> 16, 0}, 4);
    }
    assert_refused(make_tiff(tags, 9, 0, data, DATA + 8 * ROWS), "strips");
    free(data);
}

static void tiffs_that_are_not_read_say_why(void **state)
{
    (void)state;
    const tiff_tag floats[] = {{256, LONG, 1, 1},  {257, LONG, 1, 1},  {258, SHORT, 1, 16},
                               {259, SHORT, 1, 1}, {262, SHORT, 1, 1}, {273, LONG, 1, 8},
                               {277, SHORT, 1, 1}, {279, LONG, 1, 2},  {339, SHORT, 1, 3}};
    tiff_tag tiles[] = {{256, LONG, 1, 4},  {257, LONG, 1, 4},  {258, SHORT, 1, 8},      {259, SHORT, 1, 1},
                        {262, SHORT, 1, 1}, {277, SHORT, 1, 1}, {322, LONG, 1, 1 << 16}, {323, LONG, 1, 1 << 16},
                        {324, LONG, 1, 8},  {325, LONG, 1, 16}};
    assert_refused(make_tiff(floats, 9, 0, "", 0), "sample format 3 is not read");
    assert_refused(make_tiff(tiles, 10, 0, "", 0), "tiles");
    assert_refused(grey_tiff(4, 50000, 16, 0), "compression 50000 is not read"); /* ZSTD */
}

/* The frame of a good file again and again, so that nothing before the decoder finds fault with it. */
static void an_avif_of_many_frames_in_one_picture_is_refused(void **state)
{
    (void)state;
    bytes file = copy_of("avif");
    uint8_t *extent = (uint8_t *)memmem(file.data, file.size, "iloc", 4) + 4 + 4 + 2 + 2 + 6; /* offset and length */
    const uint32_t at = (uint32_t)extent[2] << 8 | extent[3], length = (uint32_t)extent[6] << 8 | extent[7];
    assert_int_equal(at + length, file.size);
    const uint32_t frame = at + 2 + file.data[at + 1]; /* behind the sequence header */
    const uint32_t frame_bytes = at + length - frame, whole = length + 20 * frame_bytes;
    for (int i = 0; i < 4; i++) extent[4 + i] = (uint8_t)(whole >> (24 - 8 * i));
    for (int i = 0; i < 20; i++) {
        bytes more = {0};
        bytes_add(&more, file.data + frame, frame_bytes);
        bytes_add(&file, more.data, more.size);
        free(more.data);
    }
    assert_refused(file, "more than one frame");
}

static void an_avif_of_countless_items_is_refused(void **state)
{
    (void)state;
    enum { ITEMS = 1 << 20 };
    uint8_t *junk = calloc(1, ITEMS);
    bytes file = {0};
    bytes_add(&file,
              "\0\0\0\x14"
              "ftypavif\0\0\0\0avif",
              20);
    bytes_add(&file, (uint8_t[]){0, (ITEMS + 20) >> 16, (ITEMS + 20) >> 8 & 255, (ITEMS + 20) & 255}, 4);
    bytes_add(&file, "meta\0\0\0\0", 8);
    bytes_add(&file, (uint8_t[]){0, (ITEMS + 8) >> 16, (ITEMS + 8) >> 8 & 255, (ITEMS + 8) & 255}, 4);
    bytes_add(&file, "iloc", 4);
    bytes_add(&file, junk, ITEMS);
    free(junk);
    assert_refused(file, "boxes of description");
}

static void every_extension_is_that_of_a_picture(void **state)
{
    (void)state;
    char list[] = IMAGE_EXTENSIONS, path[64];
    int count = 0;
    for (char *rest = list, *word; (word = strsep(&rest, ", "));) {
        if (word[0] != '.') continue;
        snprintf(path, sizeof path, "set/cat/1%s", word);
        assert_true(image_has_extension(path));
        count++;
    }
    assert_int_equal(count, 10);
    assert_true(image_has_extension("A.TIF") && image_has_extension("b.JfIf"));
    assert_false(image_has_extension("a.tifx") || image_has_extension("a.heic") || image_has_extension("gif"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* first, because a process that has run threads cannot be forked and run more */
        cmocka_unit_test(entries_of_a_directory_are_not_copied),
        cmocka_unit_test(pictures_of_other_programs_have_the_pixels_they_should),
        cmocka_unit_test(a_file_cut_short_or_with_a_damaged_byte_does_no_harm),
        cmocka_unit_test(a_file_without_its_second_half_is_refused),
        cmocka_unit_test(small_files_cannot_ask_for_large_pictures),
        cmocka_unit_test(a_directory_that_goes_round_is_read_once),
        cmocka_unit_test(strips_that_lie_over_each_other_are_refused),
        cmocka_unit_test(tiffs_that_are_not_read_say_why),
        cmocka_unit_test(an_avif_of_many_frames_in_one_picture_is_refused),
        cmocka_unit_test(an_avif_of_countless_items_is_refused),
        cmocka_unit_test(every_extension_is_that_of_a_picture),
    };
    return cmocka_run_group_tests(tests, open_vectors, close_vectors);
}
