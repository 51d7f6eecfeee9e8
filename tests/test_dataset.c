/* Data sets from folders: order, classes, splits, what is passed over, limits. tests/test_archives.c has tars and zips. */
#include "dataset_fixture.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include <jansson.h>

#include "data/duplicates.h"
#include "shared_data.h"

static void classes_and_images_come_in_the_order_of_image_folder(void **state)
{
    (void)state;
    put("b/2.png", picture(1, 8, 8));
    put("b/10.PNG", picture(2, 9, 8));
    put("a-b/x.png", picture(3, 8, 8));
    put("a/z.png", picture(4, 8, 8));
    put("a/deep/a.png", picture(5, 8, 8));
    put("a/deep-er/a.png", picture(6, 8, 8));
    put("a/deep/x/a.png", picture(8, 8, 8));
    put("B/only.jpeg", picture(7, 8, 8)); /* a PNG in truth, and read as one */
    dataset d = open_with(temp_folder, &plain);
    assert_int_equal(d.class_count, 4);
    const char *classes[] = {"B", "a", "a-b", "b"};
    for (int c = 0; c < 4; c++) assert_string_equal(d.class_name[c], classes[c]);
    assert_int_equal(d.count, 8);
    assert_image(&d, 0, "B/only.jpeg", 0, 7);
    assert_image(&d, 1, "a/z.png", 1, 4);
    assert_image(&d, 2, "a/deep/a.png", 1, 5);
    assert_image(&d, 3, "a/deep-er/a.png", 1, 6); /* sorted(os.walk()) compares whole folder names: '-' before '/' */
    assert_image(&d, 4, "a/deep/x/a.png", 1, 8);
    assert_image(&d, 5, "a-b/x.png", 2, 3);
    assert_image(&d, 6, "b/10.PNG", 3, 2);
    assert_image(&d, 7, "b/2.png", 3, 1);
    assert_int_equal(d.class_size[1], 4);
    dataset_close(&d);
}

static void an_image_is_given_as_planes_from_minus_one_to_one_and_flipped(void **state)
{
    (void)state;
    uint8_t rgb[8 * 8 * 3];
    for (int i = 0; i < 8 * 8 * 3; i++) rgb[i] = (uint8_t)(i + i / 191 * 64); /* the last byte is 255 */
    put("c/1.png", make_png(rgb, 24, 8, 8, (png_recipe){.type = PNG_COLOR_TYPE_RGB, .depth = 8}));
    dataset d = open_with(temp_folder, &plain);
    float straight[192], flipped[192];
    dataset_image(straight, &d, 0, false);
    dataset_image(flipped, &d, 0, true);
    for (int c = 0; c < 3; c++) {
        for (int y = 0; y < 8; y++) {
            for (int x = 0; x < 8; x++) {
                float expected = (float)rgb[(y * 8 + x) * 3 + c] / 127.5f - 1.0f;
                assert_true(straight[(c * 8 + y) * 8 + x] == expected);
                assert_true(flipped[(c * 8 + y) * 8 + 7 - x] == expected);
            }
        }
    }
    assert_true(straight[0] == -1.0f && straight[191] == 1.0f);
    dataset_close(&d);
}

static void images_without_class_folders_are_one_class(void **state)
{
    (void)state;
    put("1.png", picture(1, 8, 8));
    put("0.png", picture(2, 8, 8));
    dataset d = open_with(temp_folder, &plain);
    assert_int_equal(d.class_count, 1);
    assert_string_equal(d.class_name[0], "all");
    assert_image(&d, 0, "0.png", 0, 2);
    assert_image(&d, 1, "1.png", 0, 1);
    dataset_close(&d);
}

/* Eight of 108 MiB with as many threads: in a process of its own, whose peak is looked at. */
static void large_pictures_are_decoded_one_after_the_other(void **state)
{
    (void)state;
    enum { SIDE = 6000, COUNT = 8 };
    int outcome;
    struct rusage used;
    uint8_t *rows = calloc(SIDE, SIDE / 8);
    for (int i = 0; i < COUNT; i++) {
        char name[32];
        snprintf(name, sizeof name, "large/cat/%d.png", i);
        put(name, make_png(rows, SIDE / 8, SIDE, SIDE, (png_recipe){.type = PNG_COLOR_TYPE_GRAY, .depth = 1}));
    }
    free(rows);
    pid_t child = fork();
    if (child == 0) {
        dt_error err = {0};
        dataset d;
        const dataset_options options = {.resolution = 8, .background = "#ffffff", .threads = COUNT};
        _exit(dataset_open(&d, temp_path("large"), &options, &err) == DT_OK && d.count == COUNT ? 0 : 1);
    }
    assert_int_equal(wait4(child, &outcome, 0, &used), child);
    assert_int_equal(outcome, 0);
#if !defined(__SANITIZE_ADDRESS__) /* which keeps what is freed for a while */
    assert_true(used.ru_maxrss < 400 << 10);
#endif
}

static void the_content_hash_tells_data_apart_and_not_threads(void **state)
{
    (void)state;
    char name[32];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "x/%02d.png", i);
        put(name, picture(i, 10 + i, 17));
    }
    dataset_options options = plain;
    dataset first = open_with(temp_folder, &options);
    options.threads = 7;
    dataset second = open_with(temp_folder, &options);
    assert_string_equal(first.sha256, second.sha256);
    dataset_close(&second);
    put("x/07.png", picture(99, 17, 17));
    second = open_with(temp_folder, &options);
    assert_string_not_equal(first.sha256, second.sha256);
    dataset_close(&second);
    dataset_close(&first);
}

static void make_split_tar(const char *name)
{
    struct archive *a = begin_tar(name, GZIP);
    add_to_tar(a, "set/readme.png", picture(0, 8, 8));
    add_to_tar(a, "set/val/cat/1.png", picture(1, 8, 8));
    add_to_tar(a, "set/train/cat/2.png", picture(2, 8, 8));
    add_to_tar(a, "set/train/dog/3.png", picture(3, 8, 8));
    end_tar(a);
}

static void a_split_is_chosen_after_the_colon_and_is_train_otherwise(void **state)
{
    (void)state;
    make_split_tar("s.tar.gz");
    dataset d = open_with(temp_path("s.tar.gz"), &plain);
    assert_string_equal(d.split, "train");
    assert_int_equal(d.count, 2);
    assert_image(&d, 1, "dog/3.png", 1, 3);
    assert_int_equal(d.report.skip_count, 1); /* the other split is not listed */
    assert_skipped(&d, "set/readme.png", "not inside a class folder");
    dataset_close(&d);
    d = open_with(temp_path("s.tar.gz:val"), &plain);
    assert_string_equal(d.split, "val");
    assert_int_equal(d.count, 1);
    assert_image(&d, 0, "cat/1.png", 0, 1);
    dataset_close(&d);
    assert_fails(temp_path("s.tar.gz:test"), &plain, DT_ERR_ARG, "no split \"test\", only val, train");
    put("plain/cat/1.png", picture(1, 8, 8));
    assert_fails(temp_path("plain:val"), &plain, DT_ERR_ARG, "no splits");
    put("parted/train/cat/1.png", picture(1, 8, 8));
    put("parted/test/cat/1.png", picture(2, 8, 8));
    d = open_with(temp_path("parted:test"), &plain);
    assert_image(&d, 0, "cat/1.png", 0, 2);
    dataset_close(&d);
}

static void open_held_out(dataset *d, const char *path, const char *split)
{
    dt_error err = {0};
    dataset_options options = plain;
    options.held_out = true;
    if (dataset_open(d, path, &options, &err) != DT_OK) fail_msg("%s", err.message);
    assert_string_equal(d->split, split);
    dataset_close(d);
}

static void held_out_data_of_a_folder_of_splits_is_never_the_training_split(void **state)
{
    (void)state;
    dataset d;
    dataset_options held_out = plain;
    held_out.held_out = true;
    const char *names[] = {"Training", "TEST", "Validation"};
    const char *taken[] = {NULL, "TEST", "Validation"};
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "h/%s/cat/1.png", names[i]);
        put(name, picture(i, 8, 8));
        d = open_with(temp_path("h"), &plain);
        assert_string_equal(d.split, "Training");
        assert_string_equal(d.class_name[0], "cat");
        dataset_close(&d);
        if (taken[i])
            open_held_out(&d, temp_path("h"), taken[i]);
        else
            assert_fails(temp_path("h"), &held_out, DT_ERR_ARG, "no split \"val\", only Training");
    }
    open_held_out(&d, temp_path("h:train"), "Training");
    open_held_out(&d, temp_path("h:val"), "Validation");
    put("h/valid/cat/1.png", picture(9, 8, 8));
    open_held_out(&d, temp_path("h:valid"), "valid");
    assert_fails(temp_path("h"), &held_out, DT_ERR_ARG, "more than one split for \"val\"");
    put("h/val/cat/1.png", picture(9, 8, 8));
    open_held_out(&d, temp_path("h"), "val");
}

static void splits_beside_other_folders_are_refused(void **state)
{
    (void)state;
    put("m/train/cat/1.png", picture(1, 8, 8));
    put("m/extra/cat/1.png", picture(2, 8, 8));
    dataset d = open_with(temp_path("m"), &plain); /* two classes may be called so */
    assert_int_equal(d.class_count, 2);
    dataset_close(&d);
    put("m/val/cat/1.png", picture(3, 8, 8));
    assert_fails(temp_path("m"), &plain, DT_ERR_ARG, "\"extra\": are they splits or classes");
}

static void class_names_that_are_not_utf8_are_refused(void **state)
{
    (void)state;
    const char *names[] = {"u/caf\xe9/1.png", "u/\xed\xa0\x80/1.png", "u/cat\xc3/1.png"};
    for (int i = 0; i < 3; i++) {
        put(names[i], picture(1, 8, 8));
        put("u/cat/1.png", picture(2, 8, 8));
        assert_fails(temp_path("u"), &plain, DT_ERR_FORMAT, "is not UTF-8");
        struct archive *a = begin_tar("u.tar", PLAIN);
        add_to_tar(a, names[i], picture(1, 8, 8));
        add_to_tar(a, "u/cat/1.png", picture(2, 8, 8));
        end_tar(a);
        assert_fails(temp_path("u.tar"), &plain, DT_ERR_FORMAT, "is not UTF-8");
        assert_int_equal(rename(temp_path("u"), temp_path(i ? i > 1 ? "u3" : "u2" : "u1")), 0);
    }
    put("good/caf\xc3\xa9/\xe9.png", picture(1, 8, 8)); /* names of images are shown only */
    dataset d = open_with(temp_path("good"), &plain);
    assert_string_equal(d.class_name[0], "caf\xc3\xa9");
    json_t *report = dataset_report_json(&d);
    assert_non_null(report);
    json_decref(report);
    dataset_close(&d);
}

static void what_operating_systems_leave_is_passed_over(void **state)
{
    (void)state;
    const char *names[] = {"os/__MACOSX/cat/._1.png", "os/cat/._1.png",         "os/cat/.DS_Store",
                           "os/cat/Thumbs.db",        "os/@eaDir/cat/1.png",    "os/cat/@eaDir/1.png",
                           "os/$RECYCLE.BIN/1.png",   "os/.Trashes/cat/._1.png"};
    struct archive *a = begin_tar("os.tar", PLAIN);
    for (int i = 0; i < 8; i++) {
        put(names[i], text_file("no picture"));
        add_to_tar(a, names[i], text_file("no picture"));
    }
    put("os/cat/1.png", picture(1, 8, 8));
    add_to_tar(a, "os/cat/1.png", picture(1, 8, 8));
    end_tar(a);
    const char *paths[] = {"os", "os.tar"};
    for (int i = 0; i < 2; i++) {
        dataset d = open_with(temp_path(paths[i]), &plain);
        assert_int_equal(d.class_count, 1);
        assert_int_equal(d.count, 1);
        assert_int_equal(d.report.skip_count, 8);
        assert_skipped(&d, i ? "os/__MACOSX" : "__MACOSX", "operating system");
        assert_skipped(&d, i ? "os/cat/._1.png" : "cat/._1.png", "operating system");
        dataset_close(&d);
    }
}

static void pictures_that_two_sets_share_are_counted(void **state)
{
    (void)state;
    dt_error err = {0};
    int64_t shared;
    for (int i = 0; i < 9; i++) {
        char name[64];
        snprintf(name, sizeof name, "a/cat/%d.png", i);
        put(name, picture(i, 8, 8));
        snprintf(name, sizeof name, "b/cat/other%d.png", i);
        put(name, picture(i + 6, 8, 8)); /* 6, 7 and 8 are in both */
    }
    put("b/cat/again.png", picture(6, 8, 8));
    dataset a = open_with(temp_path("a"), &plain), b = open_with(temp_path("b"), &plain);
    assert_int_equal(dataset_count_shared(&shared, &a, &b, &err), DT_OK);
    assert_int_equal(shared, 4);
    assert_int_equal(dataset_count_shared(&shared, &b, &a, &err), DT_OK);
    assert_int_equal(shared, 3);
    b.pixels[0] ^= 1; /* of again.png, the first by name */
    assert_int_equal(dataset_count_shared(&shared, &a, &b, &err), DT_OK);
    assert_int_equal(shared, 3);
    dataset_close(&a);
    dataset_close(&b);
    assert_int_equal(dataset_count_shared(&shared, &a, &b, &err), DT_OK);
    assert_int_equal(shared, 0);
}

typedef struct told {
    int count;
    char line[16][DT_MESSAGE_MAX];
} told;

static void keep_line(void *user, const char *line)
{
    told *t = user;
    assert_true(t->count < 16);
    snprintf(t->line[t->count++], DT_MESSAGE_MAX, "%s", line);
}

static void skipped_files_are_told_in_few_printable_lines(void **state)
{
    (void)state;
    dt_error err = {0};
    dataset_report r = {0};
    told t = {0};
    char name[64], reason[128];
    report_skip(&r, "cat/\x1b[31m\n\xc2\x9b\xff.png", "broken", &err);
    for (int i = 0; i < 600; i++) {
        snprintf(name, sizeof name, "cat/%d.txt", i);
        report_skip(&r, name, "no picture", &err);
    }
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "dog/%d.png", i);
        snprintf(reason, sizeof reason, i < 20 ? "dog/%d.png: cut short" : "reason %d", i);
        report_skip(&r, name, reason, &err);
    }
    report_tell_skips(&r, keep_line, &t);
    assert_string_equal(t.line[0], "  skipped cat/?[31m???.png: broken");
    assert_string_equal(t.line[1], "  skipped 600 files, the first cat/0.txt: no picture");
    assert_string_equal(t.line[2], "  skipped 20 files, the first dog/0.png: cut short");
    assert_int_equal(t.count, 9);
    assert_string_equal(t.line[8], "  skipped 15 more files for other reasons");
    report_close(&r);
}

/* ---- classes ---- */

static void an_empty_class_folder_is_an_error_that_names_it(void **state)
{
    (void)state;
    put("set/cat/1.png", picture(1, 8, 8));
    make_folder("set/dog");
    assert_fails(temp_path("set"), &plain, DT_ERR_FORMAT, "\"dog\" holds no image");
    put("set/dog/notes.txt", text_file("x"));
    assert_fails(temp_path("set"), &plain, DT_ERR_FORMAT, "\"dog\" holds no image");
    struct archive *a = begin_tar("e.tar", PLAIN);
    add_to_tar(a, "lead/cat/1.png", picture(1, 8, 8));
    add_to_tar(a, "lead/eel/", (bytes){0});
    end_tar(a);
    assert_fails(temp_path("e.tar"), &plain, DT_ERR_FORMAT, "\"lead/eel\" holds no image");
}

static void held_out_data_is_labelled_by_the_training_classes(void **state)
{
    (void)state;
    char *names[] = {"ape", "bee", "cat", "dog"};
    dataset_options options = plain;
    options.class_name = names;
    options.class_count = 4;
    put("dog/1.png", picture(1, 8, 8));
    put("bee/1.png", picture(2, 8, 8));
    put("bee/2.png", picture(3, 8, 8));
    dataset d = open_with(temp_folder, &options);
    assert_int_equal(d.class_count, 4);
    assert_image(&d, 0, "bee/1.png", 1, 2);
    assert_image(&d, 2, "dog/1.png", 3, 1);
    assert_int_equal(d.class_size[0], 0);
    assert_int_equal(d.class_size[1], 2);
    dataset_close(&d);
    put("fox/1.png", picture(4, 8, 8));
    assert_fails(temp_folder, &options, DT_ERR_ARG, "class \"fox\" is not among the 4");
}

/* ---- what is passed over ---- */

static void broken_images_are_listed_or_with_strict_an_error(void **state)
{
    (void)state;
    put("cat/1.png", picture(1, 8, 8));
    bytes cut = picture(2, 30, 30);
    cut.size /= 2;
    put("cat/2.png", cut);
    put("cat/3.jpg", text_file("not a picture"));
    put("cat/4.png", picture(4, 8, 8));
    dataset d = open_with(temp_folder, &plain);
    assert_int_equal(d.count, 2);
    assert_image(&d, 1, "cat/4.png", 0, 4);
    assert_int_equal(d.class_size[0], 2);
    assert_int_equal(d.report.skip_count, 2);
    assert_skipped(&d, "cat/2.png", "broken PNG");
    assert_skipped(&d, "cat/3.jpg", "none of JPEG, PNG, WebP");
    dataset_close(&d);
    dataset_options strict = plain;
    strict.strict = true;
    assert_fails(temp_folder, &strict, DT_ERR_FORMAT, "cat/2.png");
    put("dog/1.png", text_file("also broken"));
    assert_fails(temp_folder, &plain, DT_ERR_FORMAT, "no image of the class \"dog\" can be read");
}

static void hidden_folders_other_files_and_loose_images_are_listed(void **state)
{
    (void)state;
    put("cat/1.png", picture(1, 8, 8));
    put("cat/1.txt", text_file("a caption"));
    put(".git/objects/1.png", picture(2, 8, 8));
    put("cat/.thumbs/1.png", picture(2, 8, 8));
    put("metadata.csv", text_file("a,b"));
    put("cover.jpg", picture(3, 8, 8));
    assert_int_equal(symlink("nowhere", temp_path("cat/dead.png")), 0);
    assert_int_equal(symlink("..", temp_path("cat/loop")), 0);
    assert_int_equal(mkfifo(temp_path("cat/pipe.png"), 0600), 0);
    dataset d = open_with(temp_folder, &plain);
    assert_int_equal(d.count, 1);
    assert_int_equal(d.class_count, 1);
    assert_int_equal(d.report.skip_count, 8);
    assert_skipped(&d, ".git", "hidden");
    assert_skipped(&d, "cat/.thumbs", "hidden");
    assert_skipped(&d, "cat/1.txt", "a caption");
    assert_skipped(&d, "metadata.csv", "a list, whose captions are not used");
    assert_skipped(&d, "cover.jpg", "not inside a class folder");
    assert_skipped(&d, "cat/dead.png", "link to nothing");
    assert_skipped(&d, "cat/loop", "link back");
    assert_skipped(&d, "cat/pipe.png", "not a regular file");
    dataset_close(&d);
}

static void images_of_one_pixel_and_of_a_billion_are_handled(void **state)
{
    (void)state;
    put("c/billion.png", make_lying_png(40000, 25000));
    put("c/one.png", picture(77, 1, 1));
    put("c/strip.png", picture(5, 3, 20000));
    dataset d = open_with(temp_folder, &plain);
    assert_int_equal(d.count, 2);
    assert_image(&d, 0, "c/one.png", 0, 77);
    assert_image(&d, 1, "c/strip.png", 0, 5);
    assert_skipped(&d, "c/billion.png", "40000 x 25000 pixels");
    assert_int_equal(d.report.enlarged, 2);
    dataset_close(&d);
}

/* ---- errors ---- */

static void missing_and_imageless_data_are_clear_errors(void **state)
{
    (void)state;
    assert_fails(temp_path("nothing"), &plain, DT_ERR_IO, "nothing");
    assert_fails(temp_path("nothing:val"), &plain, DT_ERR_IO, "nothing:val");
    assert_fails(temp_folder, &plain, DT_ERR_FORMAT, "holds no .jpg");
    assert_fails("/dev/null", &plain, DT_ERR_FORMAT, "neither a folder nor a tar");
    put("a.png", picture(1, 8, 8));
    assert_fails(temp_path("a.png"), &plain, DT_ERR_FORMAT, "a.png: one picture; give the folder that it is in");
    put("empty.tar", text_file(""));
    assert_fails(temp_path("empty.tar"), &plain, DT_ERR_FORMAT, "empty.tar");
    char path[DT_PATH_MAX + 8];
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    assert_fails(path, &plain, DT_ERR_ARG, "too long");
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    put("c/1.png", picture(1, 8, 8));
    dataset_options options = plain;
    options.resolution = 0;
    assert_fails(temp_folder, &options, DT_ERR_ARG, "resolution 0");
    options.resolution = INT64_MAX;
    assert_fails(temp_folder, &options, DT_ERR_ARG, "1 to 16384");
    options = plain;
    options.background = "white";
    assert_fails(temp_folder, &options, DT_ERR_ARG, "#rrggbb");
}

static void the_memory_limit_is_checked_before_memory_is_taken(void **state)
{
    (void)state;
    put("c/1.png", picture(1, 8, 8));
    put("c/2.png", picture(1, 600, 600));
    dataset_options options = plain;
    options.resolution = 16384; /* 768 MiB an image */
    options.memory_limit_bytes = (int64_t)1 << 30;
    assert_fails(temp_folder, &options, DT_ERR_MEMORY, "need 1536 MiB, the limit is 1024 MiB");
    options.resolution = 8;
    options.memory_limit_bytes = 1 << 20; /* enough for the data, not for decoding the larger image */
    dataset d = open_with(temp_folder, &options);
    assert_int_equal(d.count, 1);
    assert_skipped(&d, "c/2.png", "600 x 600");
    dataset_close(&d);
}

/* ---- the report ---- */

static void the_report_tells_what_was_found(void **state)
{
    (void)state;
    uint8_t grey[64] = {0}, rgba[64 * 4] = {0};
    put("cat/grey.png", make_png(grey, 8, 8, 8, (png_recipe){.type = PNG_COLOR_TYPE_GRAY, .depth = 8}));
    put("cat/glass.webp", make_webp(rgba, 8, 8, 0));
    put("dog/turned.jpg", make_jpeg(rgba, 16, 4, (jpeg_recipe){JCS_RGB, 3, 0, 6}));
    put("dog/caf\xe9.png", picture(1, 100, 40)); /* Latin-1, which JSON cannot hold */
    put("dog/br\xf6ken.png", text_file(""));
    dataset d = open_with(temp_folder, &plain);
    json_t *report = dataset_report_json(&d);
    assert_non_null(report);
    int images, cats, short_min, short_median, long_max, png, jpeg, webp, is_grey, transparent, rotated, enlarged;
    const char *cat, *skipped, *hash;
    assert_int_equal(
        json_unpack(report,
                    "{s:i, s:[{s:s, s:i}, {}], s:{s:i, s:i}, s:{s:i}, s:{s:i, s:i, s:i}, s:{s:i, s:i, s:i, s:i},"
                    " s:[{s:s}], s:s}",
                    "images", &images, "classes", "name", &cat, "images", &cats, "short_side", "min", &short_min,
                    "median", &short_median, "long_side", "max", &long_max, "formats", "png", &png, "jpeg", &jpeg,
                    "webp", &webp, "converted", "grey", &is_grey, "transparent", &transparent, "rotated", &rotated,
                    "enlarged", &enlarged, "skipped", "file", &skipped, "sha256", &hash),
        0);
    assert_int_equal(images, 4);
    assert_string_equal(cat, "cat");
    assert_int_equal(cats, 2);
    assert_int_equal(short_min, 4);
    assert_int_equal(short_median, 8);
    assert_int_equal(long_max, 100);
    assert_true(png == 2 && jpeg == 1 && webp == 1);
    assert_true(is_grey == 1 && transparent == 1 && rotated == 1 && enlarged == 1);
    assert_string_equal(skipped, "dog/br?ken.png");
    assert_string_equal(hash, d.sha256);
    json_decref(report);
    dataset_close(&d);
}

static void real_data_reads_where_it_is_at_hand(void **state)
{
    (void)state;
    char path[DT_PATH_MAX];
    shared_path(path, "data/tinyimagenet_32.tar.xz");
    strcat(path, ":val");
    dataset_options options = {.resolution = 32, .background = "#000000", .strict = true};
    dataset d = open_with(path, &options);
    assert_int_equal(d.count, 10000);
    assert_int_equal(d.class_count, 200);
    for (int c = 0; c < 200; c++) assert_int_equal(d.class_size[c], 50);
    assert_string_equal(d.class_name[0], "n01443537");
    assert_int_equal(d.report.skip_count, 0);
    dataset_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* first, because a process that has run threads cannot be forked and run more */
        ON_DISK(large_pictures_are_decoded_one_after_the_other),
        ON_DISK(classes_and_images_come_in_the_order_of_image_folder),
        ON_DISK(an_image_is_given_as_planes_from_minus_one_to_one_and_flipped),
        ON_DISK(images_without_class_folders_are_one_class),
        ON_DISK(the_content_hash_tells_data_apart_and_not_threads),
        ON_DISK(a_split_is_chosen_after_the_colon_and_is_train_otherwise),
        ON_DISK(held_out_data_of_a_folder_of_splits_is_never_the_training_split),
        ON_DISK(splits_beside_other_folders_are_refused),
        ON_DISK(class_names_that_are_not_utf8_are_refused),
        ON_DISK(what_operating_systems_leave_is_passed_over),
        ON_DISK(pictures_that_two_sets_share_are_counted),
        cmocka_unit_test(skipped_files_are_told_in_few_printable_lines),
        ON_DISK(an_empty_class_folder_is_an_error_that_names_it),
        ON_DISK(held_out_data_is_labelled_by_the_training_classes),
        ON_DISK(broken_images_are_listed_or_with_strict_an_error),
        ON_DISK(hidden_folders_other_files_and_loose_images_are_listed),
        ON_DISK(images_of_one_pixel_and_of_a_billion_are_handled),
        ON_DISK(missing_and_imageless_data_are_clear_errors),
        ON_DISK(options_out_of_range_are_refused),
        ON_DISK(the_memory_limit_is_checked_before_memory_is_taken),
        ON_DISK(the_report_tells_what_was_found),
        cmocka_unit_test(real_data_reads_where_it_is_at_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
