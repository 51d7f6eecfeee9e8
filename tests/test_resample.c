/* Resizing against Pillow: the same bits, by hashes in vectors/resample_vectors.txt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/file.h"
#include "io/resample.h"

/* The picture of make_resample_vectors.py. */
static image picture(int64_t width, int64_t height)
{
    dt_error err = {0};
    image im;
    assert_int_equal(image_alloc(&im, width, height, &err), DT_OK);
    for (int64_t y = 0; y < height; y++) {
        for (int64_t x = 0; x < width; x++) {
            for (int64_t c = 0; c < 3; c++) {
                int64_t busy = (x * 73 + y * 151 + c * 199 + x * y * 17 + x * x * (y + c) % 251 * 3) & 255;
                int64_t flat = (x / 5 + y / 7 + c) % 2 * 255;
                im.rgb[3 * (y * width + x) + c] = (uint8_t)((x / 16 + y / 16) % 2 == 0 ? busy : flat);
            }
        }
    }
    return im;
}

static void assert_hash(const image *im, int64_t width, int64_t height, const char *hex, const char *line)
{
    file_hash hash;
    file_sha256_bytes(&hash, im->rgb, (size_t)(im->width * im->height * 3));
    if (im->width != width || im->height != height || strcmp(hash.hex, hex) != 0) fail_msg("differs: %s", line);
}

/* Returns whether the line was a vector. */
static bool check_line(const char *line)
{
    char what[16], hex[65];
    long long width, height, new_width, new_height;
    if (sscanf(line, "%15s %lld %lld %lld %lld %64s", what, &width, &height, &new_width, &new_height, hex) != 6) {
        return false;
    }
    dt_error err = {0};
    image before = picture(width, height), after;
    dt_status status;
    if (strcmp(what, "crop") == 0) {
        status = resample_centre_crop(&after, &before, new_width, &err);
    } else {
        resample_filter filter = strcmp(what, "box") == 0        ? RESAMPLE_BOX
                                 : strcmp(what, "bilinear") == 0 ? RESAMPLE_BILINEAR
                                                                 : RESAMPLE_BICUBIC;
        status = resample_image(&after, &before, new_width, new_height, filter, &err);
    }
    assert_int_equal(status, DT_OK);
    assert_hash(&after, new_width, new_height, hex, line);
    image_close(&after);
    image_close(&before);
    return true;
}

static void resizes_and_crops_have_the_bits_of_pillow(void **state)
{
    (void)state;
    FILE *f = fopen("vectors/resample_vectors.txt", "r");
    assert_non_null(f);
    char line[256];
    int count = 0;
    while (fgets(line, sizeof line, f)) count += check_line(line);
    fclose(f);
    assert_int_equal(count, 12 * 3 + 15);
}

static void a_long_strip_is_cropped_without_being_enlarged_whole(void **state)
{
    (void)state;
    dt_error err = {0};
    image strip = picture(1, 1000000), square; /* enlarged whole: 196 gigabytes */
    assert_int_equal(resample_centre_crop(&square, &strip, 256, &err), DT_OK);
    assert_int_equal(square.width, 256);
    assert_int_equal(square.height, 256);
    assert_memory_equal(square.rgb, square.rgb + 3 * 255, 3); /* one pixel wide: all columns alike */
    image_close(&square);
    image_close(&strip);
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    image in = picture(4, 4), out;
    const int64_t bad[][2] = {{0, 4}, {4, 0}, {-1, 4}, {INT64_MAX, 2}, {(int64_t)1 << 20, (int64_t)1 << 20}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dt_error err = {0};
        assert_int_equal(resample_image(&out, &in, bad[i][0], bad[i][1], RESAMPLE_BOX, &err), DT_ERR_ARG);
        assert_null(out.rgb);
    }
    image_close(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resizes_and_crops_have_the_bits_of_pillow),
        cmocka_unit_test(a_long_strip_is_cropped_without_being_enlarged_whole),
        cmocka_unit_test(impossible_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
