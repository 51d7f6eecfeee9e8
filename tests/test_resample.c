/* Resizing against Pillow: the same bits, by hashes in vectors/resample_vectors.txt. */
#include <setjmp.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "file/file.h"
#include "image/demo_resize.h"
#include "image/resample.h"

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

static void check_float(const image *before, int64_t width, int64_t height, resample_float_way way, const char *hex,
                        const char *line)
{
    dt_error err = {0};
    file_hash hash;
    size_t bytes = (size_t)(3 * width * height) * sizeof(float);
    float *values = malloc(bytes);
    assert_non_null(values);
    assert_int_equal(resample_float(values, before, width, height, way, &err), DT_OK);
    file_sha256_bytes(&hash, values, bytes);
    if (strcmp(hash.hex, hex) != 0) fail_msg("differs: %s", line);
    free(values);
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
    if (!strcmp(what, "tf1") || !strcmp(what, "pillow-float")) {
        check_float(&before, new_width, new_height, what[0] == 't' ? RESAMPLE_TF1_BILINEAR : RESAMPLE_PILLOW_BICUBIC,
                    hex, line);
        image_close(&before);
        return true;
    }
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
    assert_int_equal(count, 12 * 5 + 15);
}

/* The middle of output i lies at (i + 1/2) in / out; neighbours are mixed by their distance, edges go on outside. */
static double at_middle(const image *im, double row, double column, int c)
{
    double r = fmax(0, row - 0.5), q = fmax(0, column - 0.5);
    int64_t top = (int64_t)r, left = (int64_t)q;
    int64_t bottom = top + 1 < im->height ? top + 1 : top, right = left + 1 < im->width ? left + 1 : left;
    double v = r - (double)top, h = q - (double)left;
#define AT(y, x) (double)im->rgb[3 * ((y)*im->width + (x)) + c]
    return (AT(top, left) * (1 - h) + AT(top, right) * h) * (1 - v) +
           (AT(bottom, left) * (1 - h) + AT(bottom, right) * h) * v;
}

static void torch_s_bilinear_compares_the_middles_of_pixels(void **state)
{
    (void)state;
    static const int64_t sizes[][4] = {{1, 1, 5, 3}, {2, 3, 7, 7}, {40, 30, 123, 77}, {101, 67, 13, 29}, {9, 9, 9, 9}};
    for (int s = 0; s < 5; s++) {
        dt_error err = {0};
        int64_t width = sizes[s][2], height = sizes[s][3];
        image before = picture(sizes[s][0], sizes[s][1]);
        float *after = malloc((size_t)(3 * width * height) * sizeof *after);
        assert_non_null(after);
        assert_int_equal(resample_float(after, &before, width, height, RESAMPLE_TORCH_BILINEAR, &err), DT_OK);
        for (int64_t i = 0; i < 3 * width * height; i++) {
            double row = ((double)(i / 3 / width) + 0.5) * (double)before.height / (double)height;
            double column = ((double)(i / 3 % width) + 0.5) * (double)before.width / (double)width;
            assert_true(fabs((double)after[i] - at_middle(&before, row, column, (int)(i % 3))) < 3e-3);
        }
        free(after);
        image_close(&before);
    }
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

/* OpenCV's bits, in the sizes of ControlNet's demos. */
static void it_is_as_controlnets_demos_resize(void **state)
{
    (void)state;
    char line[256], hex[65];
    long long width, height, side, new_width, new_height;
    int checked = 0;
    FILE *f = fopen("vectors/demo_resize_vectors.txt", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        dt_error err = {0};
        image after;
        if (sscanf(line, "%lld %lld %lld %lld %lld %64s", &width, &height, &side, &new_width, &new_height, hex) != 6)
            continue;
        image before = picture(width, height);
        assert_int_equal(demo_resize(&after, &before, side, &err), DT_OK);
        assert_hash(&after, new_width, new_height, hex, line);
        image_close(&before);
        image_close(&after);
        checked++;
    }
    fclose(f);
    assert_int_equal(checked, 24);
}

static void what_cannot_be_resized_for_a_demo_is_refused(void **state)
{
    (void)state;
    dt_error err = {0};
    image after, before = picture(1 << 16, 1);
    assert_int_equal(demo_resize(&after, &before, 1 << 16, &err), DT_ERR_FORMAT); /* 2^32 pixels */
    error_clear(&err);
    assert_int_equal(demo_resize(&after, &before, 32, &err), DT_ERR_FORMAT); /* the half rounds to nothing */
    image_close(&before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resizes_and_crops_have_the_bits_of_pillow),
        cmocka_unit_test(torch_s_bilinear_compares_the_middles_of_pixels),
        cmocka_unit_test(a_long_strip_is_cropped_without_being_enlarged_whole),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(it_is_as_controlnets_demos_resize),
        cmocka_unit_test(what_cannot_be_resized_for_a_demo_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
