/* Words in pictures and the sample grids that they stand above. */
#include <string.h>

#include "temp_folder.h"

#include "image/grid.h"
#include "image/label.h"

#define FFFD "\xef\xbf\xbd" /* U+FFFD, the replacement character */

enum { WIDTH = 300, HEIGHT = 60 };

static const label_box all = {0, 0, WIDTH, HEIGHT};

/* ---- words ---- */

static label_font *open_font(void)
{
    dt_error err = {0};
    label_font *font = label_font_open(12, &err);
    if (!font) skip();
    return font;
}

static image paper(void)
{
    image im;
    dt_error err = {0};
    assert_int_equal(image_alloc(&im, WIDTH, HEIGHT, &err), DT_OK);
    memset(im.rgb, 255, WIDTH * HEIGHT * 3);
    return im;
}

static image write_in(label_font *font, const char *text, label_box box)
{
    image im = paper();
    label_draw(&im, font, text, box);
    return im;
}

static bool same_and_close(image a, image b)
{
    bool same = memcmp(a.rgb, b.rgb, WIDTH * HEIGHT * 3) == 0;
    image_close(&a);
    image_close(&b);
    return same;
}

static bool look_alike(label_font *font, const char *one, const char *other)
{
    return same_and_close(write_in(font, one, all), write_in(font, other, all));
}

/* Changed pixels inside the box; outside of it none may be. */
static int64_t ink_inside(const image *im, label_box box)
{
    int64_t changed = 0;
    for (int64_t i = 0; i < WIDTH * HEIGHT; i++) {
        int64_t x = i % WIDTH, y = i / WIDTH;
        bool inside = x >= box.left && y >= box.top && x < box.left + box.width && y < box.top + box.height;
        bool white = im->rgb[3 * i] == 255 && im->rgb[3 * i + 1] == 255 && im->rgb[3 * i + 2] == 255;
        if (!inside && !white) fail_msg("pixel %d,%d outside the box changed", (int)x, (int)y);
        changed += !white;
    }
    return changed;
}

static void text_changes_pixels_inside_its_box_and_nowhere_else(void **state)
{
    (void)state;
    label_font *font = open_font();
    int64_t line = label_line_height(font);
    char endless[4000];
    memset(endless, 'W', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    const char *texts[] = {"apple_pie",
                           "Smileys & Emotion",
                           "caf\xc3\xa9",
                           "\xe6\x97\xa5\xe6\x9c\xac",
                           endless,
                           "a\x01\n\x7f",
                           "\xff\xfe",
                           "gj\xcc\xa7\xcc\x81",
                           "\xf0\x9f\x98\x80",
                           "\xe1\xba\xa8\xe2\x94\x82\xe2\x8c\xa0"};
    const label_box boxes[] = {{20, 10, 64, line}, {20, 10, 64, 2 * line + 1}, {0, 0, 5, line},    {-30, -4, 64, line},
                               {290, 50, 64, 40},  {100, 3, 1, 3 * line},      {0, 0, 9999, 9999}, {30, 20, -5, line}};
    for (size_t b = 0; b < sizeof boxes / sizeof *boxes; b++) {
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            image im = write_in(font, texts[i], boxes[b]);
            int64_t ink = ink_inside(&im, boxes[b]);
            if (b < 2 && ink == 0) fail_msg("text %d left no ink in box %d", (int)i, (int)b);
            image_close(&im);
        }
    }
    label_font_close(font);
}

static void nothing_is_drawn_of_an_empty_name_or_in_a_box_below_one_line(void **state)
{
    (void)state;
    label_font *font = open_font();
    assert_int_equal(label_lines(font, "", 64, 2), 0);
    assert_true(same_and_close(write_in(font, "", all), paper()));
    label_box low = {0, 0, WIDTH, label_line_height(font) - 1};
    assert_true(same_and_close(write_in(font, "name", low), paper()));
    label_font_close(font);
}

static void a_long_name_is_broken_behind_a_separator(void **state)
{
    (void)state;
    label_font *font = open_font();
    int64_t line = label_line_height(font);
    assert_int_equal(label_lines(font, "pie", 64, 2), 1);
    assert_int_equal(label_lines(font, "baby_back_ribs", 64, 2), 2);
    image stacked = write_in(font, "beef_", (label_box){0, 0, 64, line});
    label_draw(&stacked, font, "carpaccio", (label_box){0, line, 64, line});
    assert_true(same_and_close(write_in(font, "beef_carpaccio", (label_box){0, 0, 64, 2 * line}), stacked));
    stacked = write_in(font, "Smileys &", (label_box){0, 0, 64, line}); /* a space at the end is not centred */
    label_draw(&stacked, font, "Emotion", (label_box){0, line, 64, line});
    assert_true(same_and_close(write_in(font, "Smileys & Emotion", (label_box){0, 0, 64, 2 * line}), stacked));
    label_font_close(font);
}

static void a_name_of_one_line_stands_on_the_floor_of_its_box(void **state)
{
    (void)state;
    label_font *font = open_font();
    int64_t line = label_line_height(font);
    assert_true(same_and_close(write_in(font, "pie", (label_box){0, 0, 64, 2 * line}),
                               write_in(font, "pie", (label_box){0, line, 64, line})));
    label_font_close(font);
}

static void what_does_not_fit_ends_in_an_ellipsis(void **state)
{
    (void)state;
    static const char name[] = "Supercalifragilistic";
    label_font *font = open_font();
    const label_box box = {10, 0, 64, label_line_height(font)};
    int found = 0;
    for (int kept = 1; kept < (int)sizeof name - 1; kept++) {
        char cut[64];
        snprintf(cut, sizeof cut, "%.*s\xe2\x80\xa6", kept, name);
        if (label_lines(font, cut, box.width, 9) == 1)
            found += same_and_close(write_in(font, name, box), write_in(font, cut, box));
    }
    assert_int_equal(found, 1);
    assert_false(same_and_close(write_in(font, name, box), write_in(font, "Supercalifragilistic2", all)));
    label_font_close(font);
}

static void control_bytes_and_broken_utf_8_are_seen_as_replacement_characters(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"a\x01z", "a" FFFD "z"},
        {"a\nz", "a" FFFD "z"},
        {"a\x7fz", "a" FFFD "z"},
        {"a\xc2\x85z", "a" FFFD "z"}, /* next line, a C1 control */
        {"a\xffz", "a" FFFD "z"},
        {"a\xc3", "a" FFFD}, /* cut short */
        {"a\xe2\x82z", "a" FFFD FFFD "z"},
        {"a\xc0\xafz", "a" FFFD FFFD "z"},                   /* '/' in two bytes */
        {"a\xed\xa0\x80z", "a" FFFD FFFD FFFD "z"},          /* a surrogate */
        {"a\xf4\x90\x80\x80z", "a" FFFD FFFD FFFD FFFD "z"}, /* U+110000 */
    };
    label_font *font = open_font();
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (!look_alike(font, pairs[i][0], pairs[i][1])) fail_msg("pair %d differs", (int)i);
    assert_false(look_alike(font, "a\x01z", "az"));
    label_font_close(font);
}

static void letters_beyond_ascii_are_drawn_as_themselves(void **state)
{
    (void)state;
    label_font *font = open_font();
    static const char *const letters[] = {"e", "\xc3\xa9", "\xd1\x8f", "\xce\xbb", FFFD};
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < i; k++) assert_false(look_alike(font, letters[i], letters[k]));
    label_font_close(font);
}

/* ---- grids ---- */

/* Picture i is all of brightness i, so that a grid shows where each went. */
static float *numbered(int64_t count, int64_t size)
{
    float *x = malloc((size_t)(count * size) * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < count * size; i++) x[i] = (float)(i / size) / 127.5f - 1;
    return x;
}

static image draw_numbered(bool *labelled, grid_pictures g)
{
    image out;
    dt_error err = {0};
    float *x = numbered(g.count, g.channels * g.size * g.size);
    g.x = x;
    if (grid_draw(&out, labelled, &g, &err) != DT_OK) fail_msg("%s", err.message);
    free(x);
    return out;
}

/* The w x h square with this corner is all of brightness i. */
static void assert_cell(const image *im, int64_t left, int64_t top, int64_t w, int64_t h, int i)
{
    for (int64_t y = top; y < top + h; y++)
        for (int64_t x = left; x < left + w; x++)
            for (int c = 0; c < 3; c++)
                if (im->rgb[3 * (y * im->width + x) + c] != i)
                    fail_msg("at %d,%d: %d instead of %d", (int)x, (int)y, im->rgb[3 * (y * im->width + x) + c], i);
}

/* A fontconfig configuration as the only one, until real_fonts. */
static void only_fonts_of(const char *configuration)
{
    char path[512];
    temp_write("fonts.conf", configuration, strlen(configuration));
    snprintf(path, sizeof path, "%s", temp_path("fonts.conf"));
    setenv("FONTCONFIG_FILE", path, 1);
}

static int real_fonts(void **state)
{
    (void)state;
    return unsetenv("FONTCONFIG_FILE");
}

static const char no_fonts[] = "<?xml version=\"1.0\"?><fontconfig></fontconfig>";

static void without_a_font_the_grid_has_no_names_and_says_so(void **state)
{
    (void)state;
    char broken[1024];
    snprintf(broken, sizeof broken,
             "<?xml version=\"1.0\"?><fontconfig><dir>%s</dir><cachedir>%s</cachedir></fontconfig>", temp_folder,
             temp_folder);
    temp_write("broken.ttf", "\0\1\0\0 this is no font", 21);
    const char *configurations[] = {no_fonts, broken};
    char *names[] = {"apple_pie", "baklava"};
    for (int i = 0; i < 2; i++) {
        bool labelled = true;
        only_fonts_of(configurations[i]);
        dt_error err = {0};
        assert_null(label_font_open(12, &err));
        assert_int_equal(err.status, DT_OK);
        image im = draw_numbered(&labelled, (grid_pictures){.count = 8,
                                                            .channels = 3,
                                                            .size = 32,
                                                            .class_list_count = 2,
                                                            .class_name = names,
                                                            .class_name_count = 2});
        assert_false(labelled);
        assert_int_equal(im.height, 4 + 2 * 66 - 2 + 4);
        image_close(&im);
    }
}

static void each_class_has_a_column_and_each_pixel_becomes_a_square(void **state)
{
    (void)state;
    bool labelled;
    only_fonts_of(no_fonts);
    image im = draw_numbered(&labelled, (grid_pictures){.count = 8, .channels = 3, .size = 16, .class_list_count = 3});
    assert_int_equal(im.width, 4 + 3 * 64 + 2 * 6 + 4);
    assert_int_equal(im.height, 4 + 3 * 64 + 2 * 2 + 4);
    for (int i = 0; i < 8; i++) assert_cell(&im, 4 + i % 3 * 70, 4 + i / 3 * 66, 64, 64, i);
    assert_cell(&im, 4 + 2 * 70, 4 + 2 * 66, 64, 64, 255); /* the ninth place */
    image_close(&im);
}

static void a_single_class_fills_a_square(void **state)
{
    (void)state;
    bool labelled;
    only_fonts_of(no_fonts);
    image im = draw_numbered(&labelled, (grid_pictures){.count = 9, .channels = 1, .size = 70, .class_list_count = 1});
    assert_int_equal(im.width, 4 + 3 * 72 - 2 + 4);
    for (int i = 0; i < 9; i++) assert_cell(&im, 4 + i % 3 * 72, 4 + i / 3 * 72, 70, 70, i);
    image_close(&im);
}

static void many_classes_go_on_in_bands_below(void **state)
{
    (void)state;
    bool labelled;
    only_fonts_of(no_fonts);
    image im =
        draw_numbered(&labelled, (grid_pictures){.count = 16, .channels = 3, .size = 64, .class_list_count = 13});
    assert_int_equal(im.width, 4 + 7 * 70 - 6 + 4);
    assert_int_equal(im.height, 4 + 2 * 66 - 2 + 6 + 64 + 4); /* the second band has one row */
    for (int i = 0; i < 7; i++) assert_cell(&im, 4 + i * 70, 4, 64, 64, i);
    for (int i = 7; i < 13; i++) assert_cell(&im, 4 + (i - 7) * 70, 4 + 2 * 66 - 2 + 6, 64, 64, i);
    for (int i = 13; i < 16; i++) assert_cell(&im, 4 + (i - 13) * 70, 4 + 66, 64, 64, i);
    image_close(&im);
}

static void the_channels_of_a_latent_stand_side_by_side(void **state)
{
    (void)state;
    bool labelled;
    only_fonts_of(no_fonts);
    image im = draw_numbered(&labelled, (grid_pictures){.count = 2, .channels = 4, .size = 32, .class_list_count = 9});
    assert_int_equal(im.width, 4 + 2 * 256 + 6 + 4);
    assert_cell(&im, 4, 4, 256, 64, 0);
    assert_cell(&im, 4 + 262, 4, 256, 64, 1);
    image_close(&im);
}

/* Two grids that differ in the first name alone differ above the first column alone. */
static void names_stand_above_their_columns_and_pictures_stay(void **state)
{
    (void)state;
    label_font_close(open_font());
    bool labelled = false;
    char *one[] = {"pie", "soup"}, *other[] = {"egg", "soup", "never drawn"};
    grid_pictures g = {.count = 2, .channels = 3, .size = 32, .class_list_count = 2, .class_name_count = 2};
    g.class_name = one;
    image a = draw_numbered(&labelled, g);
    assert_true(labelled);
    g.class_name = other;
    image b = draw_numbered(&labelled, g);
    int64_t top = a.height - 4 - 64, changed = 0;
    assert_true(top > 4);
    assert_int_equal(a.height, b.height);
    for (int64_t i = 0; i < a.width * a.height; i++) {
        if (memcmp(a.rgb + 3 * i, b.rgb + 3 * i, 3) == 0) continue;
        assert_true(i % a.width >= 4 && i % a.width < 4 + 64 && i / a.width >= 4 && i / a.width < top);
        changed++;
    }
    assert_true(changed > 0);
    assert_cell(&b, 4, top, 64, 64, 0);
    assert_cell(&b, 74, top, 64, 64, 1);
    image_close(&a);
    image_close(&b);
}

static void a_class_without_a_name_is_labelled_by_its_number(void **state)
{
    (void)state;
    label_font_close(open_font());
    bool labelled;
    const int32_t list[] = {7, 1, 0};
    char *given[] = {"pie", ""}, *numbers[] = {"7", "1", "pie"};
    image a = draw_numbered(&labelled, (grid_pictures){.count = 3,
                                                       .channels = 1,
                                                       .size = 8,
                                                       .class_list = list,
                                                       .class_list_count = 3,
                                                       .class_name = given,
                                                       .class_name_count = 2});
    image b = draw_numbered(
        &labelled,
        (grid_pictures){
            .count = 3, .channels = 1, .size = 8, .class_list_count = 3, .class_name = numbers, .class_name_count = 3});
    assert_int_equal(a.width * a.height, b.width * b.height);
    assert_memory_equal(a.rgb, b.rgb, (size_t)(a.width * a.height * 3));
    image_close(&a);
    image_close(&b);
}

static void impossible_grids_are_refused(void **state)
{
    (void)state;
    const grid_pictures bad[] = {
        {.count = 0, .channels = 3, .size = 8, .class_list_count = 1},
        {.count = 1, .channels = 0, .size = 8, .class_list_count = 1},
        {.count = 1, .channels = 3, .size = 0, .class_list_count = 1},
        {.count = 1, .channels = 3, .size = 8, .class_list_count = 0},
        {.count = INT64_MAX, .channels = 3, .size = 8, .class_list_count = 1},
        {.count = 1 << 20, .channels = 3, .size = 8, .class_list_count = 1}, /* more than IMAGE_PIXEL_LIMIT */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dt_error err = {0};
        image out;
        bool labelled;
        assert_int_equal(grid_draw(&out, &labelled, &bad[i], &err), i < 5 ? DT_ERR_SHAPE : DT_ERR_FORMAT);
        assert_null(out.rgb);
        assert_true(err.message[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_changes_pixels_inside_its_box_and_nowhere_else),
        cmocka_unit_test(nothing_is_drawn_of_an_empty_name_or_in_a_box_below_one_line),
        cmocka_unit_test(a_long_name_is_broken_behind_a_separator),
        cmocka_unit_test(a_name_of_one_line_stands_on_the_floor_of_its_box),
        cmocka_unit_test(what_does_not_fit_ends_in_an_ellipsis),
        cmocka_unit_test(control_bytes_and_broken_utf_8_are_seen_as_replacement_characters),
        cmocka_unit_test(letters_beyond_ascii_are_drawn_as_themselves),
        cmocka_unit_test_teardown(without_a_font_the_grid_has_no_names_and_says_so, real_fonts),
        cmocka_unit_test_teardown(each_class_has_a_column_and_each_pixel_becomes_a_square, real_fonts),
        cmocka_unit_test_teardown(a_single_class_fills_a_square, real_fonts),
        cmocka_unit_test_teardown(many_classes_go_on_in_bands_below, real_fonts),
        cmocka_unit_test_teardown(the_channels_of_a_latent_stand_side_by_side, real_fonts),
        cmocka_unit_test(names_stand_above_their_columns_and_pictures_stay),
        cmocka_unit_test(a_class_without_a_name_is_labelled_by_its_number),
        cmocka_unit_test(impossible_grids_are_refused),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
