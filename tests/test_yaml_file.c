/* A walk over the events of a YAML file: depths, passing over collections, and what is refused before it takes long. */
#include "temp_folder.h"

#include "file/yaml_file.h"

static yaml_file y;
static dt_error err;

static dt_status open_text(const char *text)
{
    error_clear(&err);
    temp_write("a.yaml", text, strlen(text));
    return yaml_file_open(&y, temp_path("a.yaml"), DT_ERR_FORMAT, &err);
}

static dt_status walk_to_the_end(void)
{
    while (yaml_file_next(&y, &err) == DT_OK && y.event.type != YAML_STREAM_END_EVENT) {
    }
    yaml_file_close(&y);
    return err.status;
}

static const char *scalar(void)
{
    assert_int_equal(y.event.type, YAML_SCALAR_EVENT);
    return (const char *)y.event.data.scalar.value;
}

static void collections_are_counted_and_passed_over(void **state)
{
    (void)state;
    assert_int_equal(open_text("a: {b: [1, {c: 2}], d: *x}\ne: f\n"), DT_OK);
    for (int i = 0; i < 4; i++) assert_int_equal(yaml_file_next(&y, &err), DT_OK);
    assert_string_equal(scalar(), "a");
    assert_int_equal(y.depth, 1);
    assert_int_equal(yaml_file_skip(&y, &err), DT_OK);
    assert_string_equal(scalar(), "a"); /* no collection */
    assert_int_equal(yaml_file_next(&y, &err), DT_OK);
    assert_int_equal(yaml_file_skip(&y, &err), DT_OK);
    assert_int_equal(y.event.type, YAML_MAPPING_END_EVENT);
    assert_int_equal(y.depth, 1);
    assert_int_equal(yaml_file_next(&y, &err), DT_OK);
    assert_string_equal(scalar(), "e");
    assert_int_equal(walk_to_the_end(), DT_OK);
}

static void what_is_nested_too_deep_is_refused(void **state)
{
    (void)state;
    char text[2 * YAML_FILE_DEPTH_MAX + 3] = "";
    for (int depth = YAML_FILE_DEPTH_MAX; depth <= YAML_FILE_DEPTH_MAX + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = '\0';
        assert_int_equal(open_text(text), DT_OK);
        assert_int_equal(walk_to_the_end(), depth > YAML_FILE_DEPTH_MAX ? DT_ERR_FORMAT : DT_OK);
    }
    assert_says(err.message, "a.yaml:1: nested more than 32 deep");
}

static void directives_are_few(void **state)
{
    (void)state;
    char text[32 * (YAML_FILE_DIRECTIVES_MAX + 1)] = "%YAML 1.1\n";
    for (int i = 1; i < YAML_FILE_DIRECTIVES_MAX; i++) sprintf(text + strlen(text), "%%TAG !%d! b\n", i);
    const size_t length = strlen(text);
    strcat(text, "--- a\n");
    assert_int_equal(open_text(text), DT_OK);
    assert_int_equal(walk_to_the_end(), DT_OK);
    strcpy(text + length, "%TAG !x! b\n--- a\n");
    assert_int_equal(open_text(text), DT_ERR_FORMAT);
    assert_says(err.message, "a.yaml: more than 16 lines begin with %");
    yaml_file_close(&y);
}

static void no_yaml_is_refused_with_its_line(void **state)
{
    (void)state;
    assert_int_equal(open_text("a: 1\nb: 2: 3\n"), DT_OK);
    assert_int_equal(walk_to_the_end(), DT_ERR_FORMAT);
    assert_says(err.message, "a.yaml:2: not YAML: ");
    error_clear(&err);
    assert_int_equal(yaml_file_open(&y, temp_path("absent.yaml"), DT_ERR_FORMAT, &err), DT_ERR_IO);
    yaml_file_close(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(collections_are_counted_and_passed_over),
        cmocka_unit_test(what_is_nested_too_deep_is_refused),
        cmocka_unit_test(directives_are_few),
        cmocka_unit_test(no_yaml_is_refused_with_its_line),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
