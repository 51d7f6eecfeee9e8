/* The verb annotate: which pictures get a map, under which name, and what is refused. */
#include "dataset_fixture.h"

static dt_annotated result;
static char message[2048], told[1 << 14];

static void hear(void *user, const char *line)
{
    (void)user;
    const size_t used = strlen(told);
    snprintf(told + used, sizeof told - used, "%s\n", line);
}

static dt_settings settings(void)
{
    dt_settings s;
    dt_settings_init(&s);
    s.threads = 1;
    return s;
}

/* Names are those in the temporary folder. */
static dt_status call(const char *kind, const char *in, const char *out, const dt_settings *s)
{
    dt_context *c = NULL;
    const dt_observer observer = {.log = hear};
    told[0] = '\0';
    assert_int_equal(dt_open(&c, s), DT_OK);
    const dt_status status = dt_annotate(c, kind, temp_path(in), temp_path(out), s, &observer, &result);
    snprintf(message, sizeof message, "%s", dt_message(c));
    dt_close(c);
    return status;
}

static void assert_made(const char *in, const char *out, const dt_settings *s, int64_t made, int64_t found,
                        int64_t passed_over)
{
    if (call("canny", in, out, s) != DT_OK) fail_msg("%s", message);
    assert_int_equal(result.made, made);
    assert_int_equal(result.found, found);
    assert_int_equal(result.passed_over, passed_over);
}

static void assert_refused(const char *kind, const char *in, const char *out, dt_status status, const char *says)
{
    const dt_settings s = settings();
    assert_int_equal(call(kind, in, out, &s), status);
    assert_says(message, says);
}

/* A PNG of a white square on black, whose edges Canny finds. */
static bytes square(int width, int height)
{
    uint8_t *rgb = calloc((size_t)(width * height), 3);
    assert_non_null(rgb);
    for (int y = height / 4; y < 3 * height / 4; y++)
        memset(rgb + 3 * (y * width + width / 4), 255, (size_t)(width / 2) * 3);
    bytes file = make_png(rgb, (size_t)width * 3, width, height, (png_recipe){.type = PNG_COLOR_TYPE_RGB, .depth = 8});
    free(rgb);
    return file;
}

/* The map is grey, of that size, and holds black and white alone. */
static void assert_map(const char *name, int64_t width, int64_t height)
{
    char *data;
    size_t size;
    int64_t white = 0;
    image im;
    dt_error err = {0};
    if (file_read_all(&data, &size, temp_path(name), 1 << 20, &err) != DT_OK ||
        image_decode(&im, NULL, (uint8_t *)data, size, name, &(image_options){0}, &err) != DT_OK)
        fail_msg("%s", err.message);
    assert_int_equal(im.width, width);
    assert_int_equal(im.height, height);
    for (int64_t i = 0; i < 3 * width * height; i++) {
        assert_int_equal(im.rgb[i], im.rgb[i / 3 * 3]);
        assert_true(im.rgb[i] == 0 || im.rgb[i] == 255);
        white += im.rgb[i] == 255;
    }
    assert_true(white > 0);
    image_close(&im);
    free(data);
}

static void maps_have_the_names_and_sizes_of_their_pictures(void **state)
{
    (void)state;
    dt_settings s = settings();
    put("in/top.png", square(40, 20));
    put("in/train/a/one.PNG", square(16, 24));
    put("in/other/one.two.png", square(12, 12));
    put("in/notes.txt", text_file("no picture"));
    assert_made("in", "out", &s, 3, 0, 0);
    assert_map("out/top.png", 40, 20);
    assert_map("out/train/a/one.png", 16, 24);
    assert_map("out/other/one.two.png", 12, 12);
    assert_file_says("out/maps.txt", "canny (");
    s.resolution = 16;
    assert_made("in", "cropped", &s, 3, 0, 0);
    assert_map("cropped/top.png", 16, 16);
}

static void maps_that_are_there_are_not_made_again(void **state)
{
    (void)state;
    dt_settings s = settings();
    put("in/a.png", square(16, 16));
    put("in/b.png", square(16, 16));
    assert_made("in", "out", &s, 2, 0, 0);
    temp_write("out/a.png", "mark", 4);
    put("in/c.png", square(16, 16));
    assert_made("in", "out", &s, 1, 2, 0);
    assert_file_says("out/a.png", "mark");
    assert_says(told, "1 of the maps that are there do not say which picture they were made of");
    s.resolution = 8; /* other maps: another folder */
    assert_int_equal(call("canny", "in", "out", &s), DT_ERR_CONFLICT);
    assert_says(message, "the folder holds maps drawn otherwise (canny");
    assert_refused("canny", "in", "in", DT_ERR_ARG, "must not be in the pictures' folder");
    assert_refused("canny", "in", "in/maps", DT_ERR_ARG, "must not be in the pictures' folder");
    put("mine/file", text_file("x"));
    assert_refused("canny", "in", "mine", DT_ERR_CONFLICT, "holds");
}

static bytes file_of(const char *name)
{
    dt_error err = {0};
    char *data;
    bytes file;
    if (file_read_all(&data, &file.size, temp_path(name), 1 << 20, &err) != DT_OK) fail_msg("%s", err.message);
    file.data = (uint8_t *)data;
    return file;
}

static void copy(const char *from, const char *to)
{
    put(to, file_of(from));
}

static void assert_same_file(const char *name, const bytes *as)
{
    bytes now = file_of(name);
    assert_int_equal(now.size, as->size);
    assert_memory_equal(now.data, as->data, as->size);
    free(now.data);
}

/* A file of another picture under a known name keeps its map, which is told; so does one of another folder. */
static void maps_of_other_pictures_are_not_taken(void **state)
{
    (void)state;
    dt_settings s = settings();
    put("in/a.png", square(16, 16));
    put("in/b.png", square(20, 16));
    assert_made("in", "out", &s, 2, 0, 0);
    assert_made("in", "out", &s, 0, 2, 0);
    assert_null(strstr(told, "do not say"));
    bytes map = file_of("out/a.png");
    put("in/a.png", square(24, 16));
    put("in/c.png", square(12, 16));
    assert_int_equal(call("canny", "in", "out", &s), DT_ERR_CONFLICT);
    assert_says(message, "1 of the maps that are there were made of other pictures");
    assert_says(told, "a.png");
    assert_says(told, "the map of this name is of another picture");
    assert_int_equal(result.made, 1);
    assert_int_equal(result.found, 1);
    assert_int_equal(result.passed_over, 1);
    assert_same_file("out/a.png", &map);
    assert_int_equal(unlink(temp_path("out/a.png")), 0);
    assert_made("in", "out", &s, 1, 2, 0);
    assert_map("out/a.png", 24, 16);
    s.resolution = 8; /* a map that was made otherwise, put there by hand */
    assert_made("in", "small", &s, 3, 0, 0);
    copy("small/b.png", "out/b.png");
    s.resolution = 0;
    assert_int_equal(call("canny", "in", "out", &s), DT_ERR_CONFLICT);
    assert_says(told, "the map of this name was made in another way");
    free(map.data);
}

/* The map of one picture replaces a map of that picture and nothing else. */
static void a_file_that_is_no_map_of_the_picture_is_not_replaced(void **state)
{
    (void)state;
    dt_settings s = settings();
    put("one.png", square(16, 16));
    put("two.png", square(20, 16));
    bytes two = file_of("two.png");
    assert_refused("canny", "one.png", "two.png", DT_ERR_CONFLICT, "two.png is there and is no map");
    assert_same_file("two.png", &two);
    assert_made("one.png", "map.png", &s, 1, 0, 0);
    assert_refused("canny", "two.png", "map.png", DT_ERR_CONFLICT,
                   "map.png is there and is the map of another picture");
    assert_map("map.png", 16, 16);
    s.resolution = 8;
    assert_made("one.png", "map.png", &s, 1, 0, 0);
    assert_map("map.png", 8, 8);
    put("folder/one.png", square(16, 20));
    assert_refused("canny", "one.png", "folder", DT_ERR_CONFLICT, "one.png is there and is no map");
    free(two.data);
}

static void what_has_no_map_is_told_and_passed_over(void **state)
{
    (void)state;
    dt_settings s = settings();
    put("in/broken.png", text_file("\x89PNG\r\n\x1a\n"));
    put("in/good.png", square(16, 16));
    put("in/same.jpg", text_file("never read"));
    put("in/same.png", square(16, 16));
    assert_made("in", "out", &s, 1, 0, 3);
    assert_says(told, "same.png");
    assert_says(told, "another picture has this name");
    assert_says(told, "broken.png");
    assert_int_equal(call("canny", "in", "strict", &(dt_settings){0}), DT_ERR_ARG); /* settings that are none */
    s.strict = true;
    assert_int_equal(call("canny", "in", "strict", &s), DT_ERR_FORMAT);
}

static void archives_and_single_pictures_are_taken(void **state)
{
    (void)state;
    const dt_settings s = settings();
    struct archive *a = begin_tar("set.tar.gz", GZIP);
    add_to_tar(a, "set/z.png", square(16, 16));
    add_to_tar(a, "set/deep/a.png", square(20, 16));
    end_tar(a);
    assert_made("set.tar.gz", "out", &s, 2, 0, 0);
    assert_map("out/set/z.png", 16, 16);
    assert_map("out/set/deep/a.png", 20, 16);
    put("cat.png", square(18, 16));
    assert_made("cat.png", "edges.png", &s, 1, 0, 0);
    assert_map("edges.png", 18, 16);
    assert_made("cat.png", "folder", &s, 1, 0, 0);
    assert_map("folder/cat.png", 18, 16);
    assert_refused("canny", "cat.png", "cat.png", DT_ERR_ARG, "must not be the picture");
}

/* As ControlNet's demos: the shorter side is the resolution, both are multiples of 64. */
static void pictures_are_resized_as_in_the_demos(void **state)
{
    (void)state;
    dt_settings s = settings();
    put("wide/a.png", square(200, 100));
    put("wide/b.png", square(40, 60));
    put("wide/c.png", square(4, 3000)); /* too long when it is as wide */
    s.crop = false;
    assert_int_equal(call("canny", "wide", "demo", &s), DT_ERR_ARG);
    assert_says(message, "crop no needs resolution");
    s.resolution = 32;
    assert_int_equal(call("canny", "wide", "demo", &s), DT_ERR_ARG);
    assert_says(message, "at least 64");
    s.resolution = 1024;
    assert_made("wide", "large", &s, 2, 0, 1);
    assert_says(told, "c.png");
    s.resolution = 64;
    assert_made("wide", "demo", &s, 3, 0, 0);
    assert_map("demo/a.png", 128, 64);
    assert_map("demo/b.png", 64, 128);
    assert_made("wide/a.png", "demo_a.png", &s, 1, 0, 0);
    assert_map("demo_a.png", 128, 64);
    s.crop = true;
    assert_int_equal(call("canny", "wide", "demo", &s), DT_ERR_CONFLICT);
    assert_made("wide", "squares", &s, 3, 0, 0);
    assert_map("squares/a.png", 64, 64);
}

static void what_cannot_be_is_refused_before_anything_is_written(void **state)
{
    (void)state;
    put("in/a.png", square(16, 16));
    put("empty/notes.txt", text_file("no picture"));
    assert_refused("edges", "in", "out", DT_ERR_ARG,
                   "there is no kind \"edges\"; there are canny, hed, sketch, pidinet");
    assert_refused("hed", "in", "out", DT_ERR_ARG, "hed needs a file of weights, such as ControlNetHED.pth");
    assert_refused("canny", "missing", "other", DT_ERR_IO, "missing");
    assert_refused("canny", "empty", "another", DT_ERR_FORMAT, "no .jpg");
    assert_refused("canny", "in/a.png", "other.jpg", DT_ERR_ARG, "let its name end in .png");
    assert_refused("canny", "in", "other.png", DT_ERR_ARG, "need a folder");
    static const char *const none[] = {"out", "other", "another", "other.jpg", "other.png"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) assert_false(file_exists(temp_path(none[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_DISK(maps_have_the_names_and_sizes_of_their_pictures),
        ON_DISK(maps_that_are_there_are_not_made_again),
        ON_DISK(maps_of_other_pictures_are_not_taken),
        ON_DISK(a_file_that_is_no_map_of_the_picture_is_not_replaced),
        ON_DISK(what_has_no_map_is_told_and_passed_over),
        ON_DISK(archives_and_single_pictures_are_taken),
        ON_DISK(pictures_are_resized_as_in_the_demos),
        ON_DISK(what_cannot_be_is_refused_before_anything_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
