/* Pictures one by one from folders and from ADM's sample stacks, which are written here as well. */
#include <string.h>
#include <sys/stat.h>

#include "temp_folder.h"

#include "data/picture_stream.h"
#include "picture_files.h"

enum { COUNT = 11, WIDTH = 7, HEIGHT = 5, BYTES = WIDTH * HEIGHT * 3 };

static uint8_t pictures[COUNT * BYTES];

static int setup(void **state)
{
    for (int i = 0; i < COUNT * BYTES; i++) pictures[i] = (uint8_t)(i * 37 + i / BYTES);
    return temp_folder_make(state);
}

static void write_stack(const char *path, const int64_t *labels)
{
    dt_error err = {0};
    sample_stack_writer w;
    assert_int_equal(sample_stack_begin(&w, path, COUNT, WIDTH, HEIGHT, &err), DT_OK);
    for (int i = 0; i < COUNT; i += 4) {
        int n = COUNT - i < 4 ? COUNT - i : 4;
        assert_int_equal(sample_stack_add(&w, pictures + i * BYTES, n, &err), DT_OK);
        assert_false(file_exists(path));
    }
    if (sample_stack_commit(&w, labels, &err) != DT_OK) fail_msg("%s", err.message);
}

/* Reads a stream to its end; every picture must have this size. Returns how many there were. */
static int read_all(const char *path, int64_t resolution, int64_t width, int64_t height, uint8_t *out)
{
    dt_error err = {0};
    picture_stream s;
    image batch[4];
    int64_t n = 1;
    int total = 0;
    if (picture_stream_open(&s, path, resolution, "#ffffff", true, &err) != DT_OK) fail_msg("%s", err.message);
    while (n > 0) {
        if (picture_stream_next(&s, batch, 4, &n, &err) != DT_OK) fail_msg("%s", err.message);
        for (int64_t i = 0; i < n; i++, total++) {
            assert_int_equal(batch[i].width, width);
            assert_int_equal(batch[i].height, height);
            if (out) memcpy(out + total * width * height * 3, batch[i].rgb, (size_t)(width * height * 3));
            image_close(&batch[i]);
        }
    }
    picture_stream_close(&s);
    return total;
}

static void a_stack_comes_back_as_it_was_written(void **state)
{
    (void)state;
    uint8_t back[COUNT * BYTES];
    int64_t labels[COUNT];
    npz z;
    dt_error err = {0};
    for (int i = 0; i < COUNT; i++) labels[i] = 100 - i;
    write_stack(temp_path("stack.npz"), labels);
    assert_int_equal(read_all(temp_path("stack.npz"), 0, WIDTH, HEIGHT, back), COUNT);
    assert_memory_equal(back, pictures, sizeof pictures);
    assert_int_equal(read_all(temp_path("stack.npz"), 4, 4, 4, NULL), COUNT);
    assert_int_equal(npz_read(&z, temp_path("stack.npz"), 1 << 20, &err), DT_OK);
    const npz_array *a = npz_find(&z, "arr_1");
    assert_true(a && a->dtype == NPZ_I64 && npz_count(a) == COUNT);
    assert_memory_equal(a->data, labels, sizeof labels);
    npz_free(&z);
}

static void folders_give_pictures_of_their_own_sizes_or_squares(void **state)
{
    (void)state;
    uint8_t back[COUNT * BYTES];
    dt_error err = {0};
    mkdir(temp_path("folder"), 0777);
    for (int i = 0; i < COUNT; i++) {
        char name[64];
        snprintf(name, sizeof name, "folder/%03d.png", i);
        assert_int_equal(image_write_png(temp_path(name), pictures + i * BYTES, WIDTH, HEIGHT, NULL, 0, &err), DT_OK);
    }
    assert_int_equal(read_all(temp_path("folder"), 0, WIDTH, HEIGHT, back), COUNT);
    assert_memory_equal(back, pictures, sizeof pictures);
    assert_int_equal(read_all(temp_path("folder"), 4, 4, 4, NULL), COUNT);
}

/* How many pictures each call gives, as text. */
static void assert_calls(const char *path, const char *expected)
{
    dt_error err = {0};
    picture_stream s;
    image batch[16];
    char calls[64] = "";
    assert_int_equal(picture_stream_open(&s, path, 0, "#ffffff", true, &err), DT_OK);
    for (int64_t n = 1; n > 0;) {
        if (picture_stream_next(&s, batch, 16, &n, &err) != DT_OK) fail_msg("%s", err.message);
        for (int64_t i = 0; i < n; i++) image_close(&batch[i]);
        snprintf(calls + strlen(calls), sizeof calls - strlen(calls), "%lld ", (long long)n);
    }
    assert_string_equal(calls, expected);
    picture_stream_close(&s);
}

static void large_pictures_are_not_held_together(void **state)
{
    (void)state;
    enum { SIDE = 6000 }; /* two of them are too many */
    uint8_t *rows = calloc(SIDE, SIDE / 8), *rgb = calloc(SIDE, SIDE * 3);
    bytes small = make_png(rows, 1, 8, 8, (png_recipe){.type = PNG_COLOR_TYPE_GRAY, .depth = 1});
    bytes large = make_png(rows, SIDE / 8, SIDE, SIDE, (png_recipe){.type = PNG_COLOR_TYPE_GRAY, .depth = 1});
    dt_error err = {0};
    sample_stack_writer w;
    mkdir(temp_path("mixed"), 0777);
    for (int i = 0; i < 8; i++) {
        const bytes *file = strchr("346", '0' + i) ? &large : &small;
        char name[32];
        snprintf(name, sizeof name, "mixed/%d.png", i);
        temp_write(name, (const char *)file->data, file->size);
    }
    assert_calls(temp_path("mixed"), "4 2 2 0 ");
    assert_int_equal(sample_stack_begin(&w, temp_path("large.npz"), 3, SIDE, SIDE, &err), DT_OK);
    for (int i = 0; i < 3; i++) assert_int_equal(sample_stack_add(&w, rgb, 1, &err), DT_OK);
    assert_int_equal(sample_stack_commit(&w, NULL, &err), DT_OK);
    assert_calls(temp_path("large.npz"), "1 1 1 0 ");
    free(small.data);
    free(large.data);
    free(rows);
    free(rgb);
}

static void a_broken_file_is_passed_over_or_an_error(void **state)
{
    (void)state;
    image batch[32];
    int64_t n;
    temp_write("folder/004.png", "no picture", 10);
    for (int strict = 0; strict < 2; strict++) {
        dt_error err = {0};
        picture_stream s;
        assert_int_equal(picture_stream_open(&s, temp_path("folder"), 0, "#ffffff", strict, &err), DT_OK);
        assert_int_equal(picture_stream_next(&s, batch, 32, &n, &err), strict ? DT_ERR_FORMAT : DT_OK);
        assert_int_equal(n, strict ? 0 : COUNT - 1);
        assert_int_equal(s.report.skip_count, !strict);
        assert_non_null(strstr(strict ? err.message : s.report.skip[0].reason, "004.png"));
        for (int64_t i = 0; i < n; i++) image_close(&batch[i]);
        picture_stream_close(&s);
    }
}

static void refused(const char *path, dt_status status, const char *part)
{
    dt_error err = {0};
    picture_stream s;
    image batch[COUNT + 1];
    int64_t n = 0;
    if (picture_stream_open(&s, path, 0, "#ffffff", false, &err) == DT_OK)
        picture_stream_next(&s, batch, COUNT + 1, &n, &err);
    assert_int_equal(n, 0);
    assert_int_equal(err.status, status);
    if (!strstr(err.message, part)) fail_msg("%s", err.message);
    picture_stream_close(&s);
}

static void files_that_are_no_stacks_are_refused(void **state)
{
    (void)state;
    dt_error err = {0};
    npz_array a = {.name = "arr_0", .dtype = NPZ_U8, .dim_count = 4, .dims = {1, 5, 7, 4}, .data = pictures};
    const char *path = temp_path("other.npz");
    refused(path, DT_ERR_IO, "other.npz");
    assert_int_equal(npz_write(path, &a, 1, &err), DT_OK);
    refused(path, DT_ERR_FORMAT, "[N,H,W,3] expected");
    a.dims[3] = 3;
    a.dtype = NPZ_I32;
    assert_int_equal(npz_write(path, &a, 1, &err), DT_OK);
    refused(path, DT_ERR_FORMAT, "[N,H,W,3] expected");
    strcpy(a.name, "arr_9");
    assert_int_equal(npz_write(path, &a, 1, &err), DT_OK);
    refused(path, DT_ERR_FORMAT, "arr_0 expected");
    a = (npz_array){"arr_0", NPZ_U8, 4, {1, 1 << 20, 1 << 20, 3}, ""};
    npz_writer w;
    assert_int_equal(npz_writer_begin(&w, path, &err), DT_OK);
    a.data = NULL;
    assert_int_equal(npz_writer_array(&w, &a, &err), DT_OK);
    assert_int_equal(npz_writer_commit(&w, &err), DT_ERR_IO); /* its data never came */
}

/* A byte changed inside the pictures, where only the checksum of the zip can tell; and a file cut short. */
static void damage_is_noticed_at_the_end(void **state)
{
    (void)state;
    dt_error err = {0};
    char *held;
    size_t size;
    write_stack(temp_path("sound.npz"), NULL);
    assert_int_equal(file_read_all(&held, &size, temp_path("sound.npz"), 1 << 20, &err), DT_OK);
    held[size / 2]++;
    temp_write("damaged.npz", held, size);
    temp_write("short.npz", held, size / 2);
    free(held);
    refused(temp_path("damaged.npz"), DT_ERR_FORMAT, "damaged.npz");
    refused(temp_path("short.npz"), DT_ERR_FORMAT, "short.npz");
}

static void a_stack_that_is_not_finished_leaves_nothing(void **state)
{
    (void)state;
    dt_error err = {0};
    sample_stack_writer w;
    size_t before = temp_count();
    assert_int_equal(sample_stack_begin(&w, temp_path("new.npz"), COUNT, WIDTH, HEIGHT, &err), DT_OK);
    assert_int_equal(sample_stack_add(&w, pictures, 3, &err), DT_OK);
    assert_int_equal(sample_stack_commit(&w, NULL, &err), DT_ERR_ARG);
    assert_non_null(strstr(err.message, "11 samples was begun and 3 were added"));
    error_clear(&err);
    assert_int_equal(sample_stack_begin(&w, temp_path("new.npz"), 2, WIDTH, HEIGHT, &err), DT_OK);
    assert_int_equal(sample_stack_add(&w, pictures, 3, &err), DT_ERR_IO); /* more than was said */
    assert_int_equal(temp_count(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stack_comes_back_as_it_was_written),
        cmocka_unit_test(folders_give_pictures_of_their_own_sizes_or_squares),
        cmocka_unit_test(large_pictures_are_not_held_together),
        cmocka_unit_test(a_broken_file_is_passed_over_or_an_error),
        cmocka_unit_test(files_that_are_no_stacks_are_refused),
        cmocka_unit_test(damage_is_noticed_at_the_end),
        cmocka_unit_test(a_stack_that_is_not_finished_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, setup, temp_folder_remove);
}
