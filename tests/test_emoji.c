/* The demo's emoji program, run as a program: skipped where it was not built or Debian's font is not installed. */
#include <string.h>
#include <sys/wait.h>

#include "file/folder.h"
#include "temp_folder.h"

#include "image/image.h"

static const char font[] = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf";
static const char list[] = "/usr/share/unicode/emoji/emoji-test.txt";

/* Runs it with these arguments; returns its exit status and what it printed, errors included. */
static int run_emoji(char text[4096], const char *arguments)
{
    char command[2048], program[] = DT_PROGRAM;
    *strrchr(program, '/') = '\0';
    snprintf(command, sizeof command, "'%s/demo/emoji' %s 2>&1", program, arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t size = fread(text, 1, 4095, pipe);
    text[size] = '\0';
    return WEXITSTATUS(pclose(pipe));
}

static void skip_without_program_and_font(void)
{
    char program[] = DT_PROGRAM, path[1024];
    *strrchr(program, '/') = '\0';
    snprintf(path, sizeof path, "%s/demo/emoji", program);
    if (!file_exists(path) || !file_exists(font) || !file_exists(list)) skip();
}

static size_t count_files(const char *folder)
{
    char path[512];
    dt_error err = {0};
    file_names names = {0};
    snprintf(path, sizeof path, "%s", temp_path(folder));
    if (!file_exists(path)) return 0;
    assert_int_equal(file_list(&names, path, &err), DT_OK);
    size_t count = names.count;
    file_names_free(&names);
    return count;
}

static const char short_list[] = "# group: Smileys & Emotion\n"
                                 "1F600 ; fully-qualified # X E1.0 grinning face\n"
                                 "263A FE0F ; fully-qualified # X E0.6 smiling face\n"
                                 "263A ; unqualified # X E0.6 smiling face\n"
                                 "# group: People & Body\n"
                                 "1F3C3 ; fully-qualified # X E0.6 person running\n"
                                 "1F3C3 1F3FB ; fully-qualified # X E1.0 person running: light skin tone\n"
                                 "1F3C3 200D 2642 FE0F ; fully-qualified # X E4.0 man running\n"
                                 "1F3C3 200D 2640 FE0F ; fully-qualified # X E4.0 woman running\n"
                                 "# group: Flags\n"
                                 "1F1EF 1F1F5 ; fully-qualified # X E0.6 flag: Japan\n"
                                 "1F600 200D 1F601 ; fully-qualified # X E0.6 two faces in one\n";

static void draw_short_list(char text[4096], const char *output, const char *more)
{
    char arguments[1600];
    temp_write("list.txt", short_list, sizeof short_list - 1);
    snprintf(arguments, sizeof arguments, "--emoji-test %s --output %s %s", temp_path("list.txt"), temp_path(output),
             more);
    if (run_emoji(text, arguments) != 0) fail_msg("%s", text);
}

static void the_whole_list_gives_every_class_in_both_splits(void **state)
{
    (void)state;
    char text[4096], arguments[600];
    skip_without_program_and_font();
    snprintf(arguments, sizeof arguments, "--size 8 --output %s", temp_path("whole"));
    assert_int_equal(run_emoji(text, arguments), 0);
    assert_int_equal(count_files("whole/train"), 9);
    assert_int_equal(count_files("whole/heldout"), 9);
    long long train = 0, held_out = 0;
    assert_int_equal(sscanf(strstr(text, "\nall"), "\nall %lld %lld", &train, &held_out), 2);
    assert_true(train + held_out > 1300);
    assert_true(held_out > 0.15 * (double)(train + held_out) && held_out < 0.25 * (double)(train + held_out));
}

static void sequences_are_one_picture_and_unknown_ones_are_counted(void **state)
{
    (void)state;
    char text[4096];
    skip_without_program_and_font();
    draw_short_list(text, "short", "--held-out 0");
    assert_int_equal(count_files("short/train/smileys-emotion"), 2);
    assert_int_equal(count_files("short/train/people-body"), 3);
    assert_int_equal(count_files("short/train/flags"), 1);
    assert_true(file_exists(temp_path("short/train/flags/U+1F1EF_1F1F5-flag-japan.png")));
    assert_true(file_exists(temp_path("short/train/smileys-emotion/U+263A_FE0F-smiling-face.png")));
    assert_non_null(strstr(text, "1 emoji of the list are not in this font"));
    draw_short_list(text, "tones", "--held-out 0 --skin-tones");
    assert_int_equal(count_files("tones/train/people-body"), 4);
}

static void a_picture_has_the_size_a_white_border_and_the_colours(void **state)
{
    (void)state;
    char text[4096], *data = NULL;
    size_t size = 0;
    dt_error err = {0};
    image im = {0};
    skip_without_program_and_font();
    draw_short_list(text, "picture", "--held-out 0 --size 48");
    assert_int_equal(
        file_read_all(&data, &size, temp_path("picture/train/flags/U+1F1EF_1F1F5-flag-japan.png"), 1 << 20, &err),
        DT_OK);
    image_options options = {.background = {0, 0, 0}};
    assert_int_equal(image_decode(&im, NULL, (const uint8_t *)data, size, "japan", &options, &err), DT_OK);
    assert_true(im.width == 48 && im.height == 48);
    for (int i = 0; i < 48; i++) assert_true(im.rgb[3 * i] > 250 && im.rgb[3 * 48 * i + 1] > 250);
    const uint8_t *middle = im.rgb + 3 * (24 * 48 + 24);
    assert_true(middle[0] > 150 && middle[1] < 60 && middle[2] < 80); /* the sun of Japan's flag is red */
    image_close(&im);
    free(data);
}

static void the_split_keeps_variants_together_and_ignores_the_rest_of_the_list(void **state)
{
    (void)state;
    char text[4096], arguments[600];
    skip_without_program_and_font();
    for (int percent = 10; percent <= 90; percent += 20) {
        char options[64], output[32], train[64], held_out[64];
        snprintf(options, sizeof options, "--skin-tones --held-out 0.%d", percent / 10);
        snprintf(output, sizeof output, "split%d", percent);
        draw_short_list(text, output, options);
        snprintf(train, sizeof train, "%s/train/people-body", output);
        snprintf(held_out, sizeof held_out, "%s/heldout/people-body", output);
        assert_int_equal(count_files(train) + count_files(held_out), 4);
        assert_true(count_files(train) == 0 || count_files(held_out) == 0);
    }
    draw_short_list(text, "short-split", "");
    snprintf(arguments, sizeof arguments, "--size 8 --output %s", temp_path("whole-split"));
    assert_int_equal(run_emoji(text, arguments), 0);
    static const char *const names[] = {"smileys-emotion/U+1F600-grinning-face.png",
                                        "flags/U+1F1EF_1F1F5-flag-japan.png", "people-body/U+1F3C3-person-running.png"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char in_short[128], in_whole[128];
        snprintf(in_short, sizeof in_short, "short-split/train/%s", names[i]);
        snprintf(in_whole, sizeof in_whole, "whole-split/train/%s", names[i]);
        assert_int_equal(file_exists(temp_path(in_short)), file_exists(temp_path(in_whole)));
    }
}

static void bad_options_and_files_are_refused_with_one_line(void **state)
{
    static const struct {
        const char *arguments, *message;
        int status;
    } cases[] = {
        {"", "--output is missing", 2},
        {"--output x --size 7", "--size: expected a whole number from 8 to 512, found '7'", 2},
        {"--output x --size 3.5e1x", "--size: expected", 2},
        {"--output x --held-out -0.1", "--held-out: expected a number from 0 to 0.9", 2},
        {"--output x more", "unexpected argument 'more'", 2},
        {"--output x --font /nowhere.ttf", "/nowhere.ttf: not a font, or not readable", 1},
        {"--output x --emoji-test /nowhere.txt", "/nowhere.txt: cannot be read", 1},
        {"--output x --emoji-test /dev/null", "lists no emoji that this font has", 1},
    };
    (void)state;
    char text[4096];
    skip_without_program_and_font();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(run_emoji(text, cases[i].arguments), cases[i].status);
        if (!strstr(text, cases[i].message)) fail_msg("'%s' does not hold '%s'", text, cases[i].message);
        assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    }
    assert_false(file_exists("x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_list_gives_every_class_in_both_splits),
        cmocka_unit_test(sequences_are_one_picture_and_unknown_ones_are_counted),
        cmocka_unit_test(a_picture_has_the_size_a_white_border_and_the_colours),
        cmocka_unit_test(the_split_keeps_variants_together_and_ignores_the_rest_of_the_list),
        cmocka_unit_test(bad_options_and_files_are_refused_with_one_line),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
