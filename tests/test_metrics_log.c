/* metrics.jsonl: lines as written, and what a resumed run keeps of them. */
#include "temp_folder.h"

#include <string.h>
#include <unistd.h>

#include "run/metrics_log.h"

static void assert_content(const char *expected)
{
    dt_error err = {0};
    char *text;
    size_t size;
    assert_int_equal(file_read_all(&text, &size, temp_path("metrics.jsonl"), 1 << 20, &err), DT_OK);
    assert_string_equal(text, expected);
    free(text);
}

/* Opens after `last_step`, appends the objects of this JSON array, closes. */
static void log_lines(int64_t last_step, const char *lines)
{
    dt_error err = {0};
    metrics_log m;
    size_t i;
    json_t *array = json_loads(lines, 0, NULL), *object;
    metrics_log_open(&m, temp_path("metrics.jsonl"), last_step, &err);
    json_array_foreach(array, i, object) metrics_log_write(&m, object, &err);
    metrics_log_close(&m);
    json_decref(array);
    assert_string_equal(err.message, "");
}

static void each_object_is_one_compact_line(void **state)
{
    (void)state;
    unlink(temp_path("metrics.jsonl"));
    log_lines(0, "[{\"step\": 1, \"loss\": 0.1, \"note\": \"a\\nb\"}, {\"step\": 2, \"loss\": null}]");
    assert_content("{\"step\":1,\"loss\":0.1,\"note\":\"a\\nb\"}\n{\"step\":2,\"loss\":null}\n");
}

static void every_float_comes_back_from_its_line(void **state)
{
    (void)state;
    dt_error err = {0};
    metrics_log m;
    unlink(temp_path("metrics.jsonl"));
    metrics_log_open(&m, temp_path("metrics.jsonl"), 0, &err);
    float value = 1e-30f;
    for (int i = 0; i < 1000; i++, value *= -1.1171875f) {
        json_t *object = json_pack("{s:f}", "x", (double)value);
        metrics_log_write(&m, object, &err);
        json_decref(object);
    }
    metrics_log_close(&m);
    assert_string_equal(err.message, "");
    FILE *f = fopen(temp_path("metrics.jsonl"), "r");
    value = 1e-30f;
    for (int i = 0; i < 1000; i++, value *= -1.1171875f) {
        json_t *object = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL);
        assert_true((float)json_real_value(json_object_get(object, "x")) == value);
        json_decref(object);
    }
    fclose(f);
}

static void a_resumed_run_drops_the_lines_that_it_will_write_again(void **state)
{
    (void)state;
    static const char before[] = "{\"run\":\"x\"}\n{\"step\":1}\n{\"step\":2}\n{\"step\":3}\nby hand\n{\"step\":4,\"lo";
    temp_write("metrics.jsonl", before, strlen(before));
    log_lines(2, "[{\"step\": 3, \"again\": true}]");
    assert_content("{\"run\":\"x\"}\n{\"step\":1}\n{\"step\":2}\nby hand\n{\"step\":3,\"again\":true}\n");
    log_lines(3, "[{\"step\": 4}]");
    assert_content("{\"run\":\"x\"}\n{\"step\":1}\n{\"step\":2}\nby hand\n{\"step\":3,\"again\":true}\n{\"step\":4}\n");
    log_lines(-1, "[]");
    assert_content("{\"run\":\"x\"}\nby hand\n");
}

static void a_full_disk_leaves_whole_lines(void **state)
{
    (void)state;
    static char wide[9000];
    dt_error err = {0}, full = {0};
    metrics_log m;
    memset(wide, 'x', sizeof wide - 1);
    temp_write("metrics.jsonl", "{\"step\":1}\n", 11);
    json_t *large = json_pack("{s:s}", "note", wide), *small = json_pack("{s:i}", "step", 2);
    metrics_log_open(&m, temp_path("metrics.jsonl"), 1, &err);
    limit_file_size(4096);
    dt_status status = metrics_log_write(&m, large, &full);
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(status, DT_ERR_IO);
    assert_int_equal(metrics_log_write(&m, small, &err), DT_OK);
    metrics_log_close(&m);
    assert_content("{\"step\":1}\n{\"step\":2}\n");
    json_decref(large);
    json_decref(small);
}

static void a_log_that_cannot_be_made_is_an_error(void **state)
{
    (void)state;
    dt_error missing = {0}, folder = {0}, closed = {0};
    metrics_log m;
    assert_int_equal(metrics_log_open(&m, temp_path("no/such"), 0, &missing), DT_ERR_IO);
    metrics_log_close(&m);
    assert_int_equal(metrics_log_open(&m, temp_folder, 0, &folder), DT_ERR_IO);
    json_t *object = json_object();
    assert_int_equal(metrics_log_write(&m, object, &closed), DT_ERR_IO);
    json_decref(object);
    metrics_log_close(&m);
}

/* What json_pack makes of a NaN. */
static void nothing_is_no_line(void **state)
{
    (void)state;
    dt_error err = {0}, refused = {0};
    metrics_log m;
    temp_write("metrics.jsonl", "", 0);
    metrics_log_open(&m, temp_path("metrics.jsonl"), 0, &err);
    assert_int_equal(metrics_log_write(&m, NULL, &refused), DT_ERR_ARG);
    metrics_log_close(&m);
    assert_content("");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_object_is_one_compact_line),
        cmocka_unit_test(every_float_comes_back_from_its_line),
        cmocka_unit_test(a_resumed_run_drops_the_lines_that_it_will_write_again),
        cmocka_unit_test(a_full_disk_leaves_whole_lines),
        cmocka_unit_test(a_log_that_cannot_be_made_is_an_error),
        cmocka_unit_test(nothing_is_no_line),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
