/* Files of one JSON object: the way there and back, and one line of error for everything else. */
#include "temp_folder.h"

#include <string.h>
#include <unistd.h>

#include "file/json_file.h"

static void refused(const void *text, size_t size, const char *words)
{
    dt_error err = {0};
    temp_write("odd.json", text, size);
    assert_null(json_file_read(temp_path("odd.json"), &err));
    assert_int_equal(err.status, DT_ERR_FORMAT);
    assert_non_null(strstr(err.message, "odd.json: "));
    if (!strstr(err.message, words)) fail_msg("'%s' expected in: %s", words, err.message);
    assert_null(strchr(err.message, '\n'));
}

static void what_is_written_is_read_and_hashed(void **state)
{
    (void)state;
    dt_error err = {0};
    file_hash told, found;
    json_t *value = json_pack("{s:i, s:[s, n], s:f}", "count", 3, "names", "a \"b\"\n", "share", 0.1);
    assert_int_equal(json_file_write(temp_path("a.json"), json_incref(value), &told, &err), DT_OK);
    assert_int_equal(file_sha256(&found, temp_path("a.json"), &err), DT_OK);
    assert_string_equal(told.hex, found.hex);
    json_t *read = json_file_read(temp_path("a.json"), &err);
    assert_true(json_equal(value, read));
    json_decref(read);
    assert_int_equal(value->refcount, 1);
    json_decref(value);
}

static void anything_but_one_object_is_refused(void **state)
{
    (void)state;
    refused("", 0, "line 1: not JSON");
    refused("[1]", 3, "a JSON object expected");
    refused("{\n\"a\": 1,\n}", 11, "line 3: not JSON");
    refused("{\"a\": 1} {}", 11, "line 1: not JSON");
    refused("{\"a\": 1, \"a\": 1}", 16, "not JSON");
    refused("{\"a\": 1}\0more", 13, "not JSON");
    refused("{\"a\": \"\xff\"}", 10, "not JSON");
}

/* Such texts cost the parser far more memory or stack than they have bytes. */
static void a_text_that_would_burst_the_parser_is_refused(void **state)
{
    (void)state;
    enum { SIZE = 2 * JSON_VALUES_MAX + 64 };
    char *text = malloc(SIZE);
    json_error_t why;
    dt_error err = {0};
    assert_non_null(text);
    for (int i = 0; i < SIZE; i++) text[i] = i % 2 ? '0' : ',';
    memcpy(text, "{\"a\": [0", 8);
    memcpy(text + SIZE - 3, "0]}", 3);
    refused(text, SIZE, "more than 4194304 values");
    const size_t fits = 2 * JSON_VALUES_MAX - 1;
    memcpy(text + fits, "0]}", 3);
    json_t *value = json_text_read(text, fits + 3, &why, "text", &err);
    assert_non_null(value);
    json_decref(value);
    memset(text, '[', SIZE);
    refused(text, JSON_DEPTH_MAX + 1, "nested deeper than 64");
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    value = json_text_read(text, 2 * JSON_DEPTH_MAX, &why, "text", &err);
    assert_non_null(value);
    json_decref(value);
    free(text);
}

static void a_long_or_missing_file_and_no_value_are_refused(void **state)
{
    (void)state;
    dt_error err = {0};
    temp_write("long.json", "{}", 2);
    assert_int_equal(truncate(temp_path("long.json"), (64 << 20) + 1), 0);
    assert_null(json_file_read(temp_path("long.json"), &err));
    assert_int_equal(err.status, DT_ERR_FORMAT);
    error_clear(&err);
    assert_null(json_file_read(temp_path("none.json"), &err));
    assert_int_equal(err.status, DT_ERR_IO);
    error_clear(&err);
    assert_int_equal(json_file_write(temp_path("none.json"), NULL, NULL, &err), DT_ERR_MEMORY);
    assert_false(file_exists(temp_path("none.json")));
}

static void an_object_has_its_fields_in_their_order(void **state)
{
    (void)state;
    json_t *shared = json_string("b"), *nothing = NULL;
    json_t *object = JSON_OBJECT({"z", json_integer(3)}, {"a", shared}, {"m", json_array()}, {"k", json_null()});
    assert_non_null(object);
    char *text = json_dumps(object, JSON_COMPACT);
    assert_string_equal(text, "{\"z\":3,\"a\":\"b\",\"m\":[],\"k\":null}");
    free(text);

    json_incref(shared);
    json_decref(object);
    assert_null(JSON_OBJECT({"first", shared}, {"second", nothing}, {"third", json_integer(1)}));
    shared = json_string("\xff");
    assert_null(shared); /* not UTF-8 */
    assert_null(JSON_OBJECT({"text", shared}));
}

static void what_loses_a_member_is_nothing(void **state)
{
    (void)state;
    json_t *object = json_object(), *array = json_array();
    json_put(&object, "a", json_integer(1));
    json_add(&array, json_integer(1));
    assert_int_equal(json_object_size(object) + json_array_size(array), 2);
    json_put(&object, "b", NULL);
    json_add(&array, NULL);
    assert_null(object);
    assert_null(array);
    json_put(&object, "c", json_integer(1));
    json_add(&array, json_integer(1));
    assert_null(object);
    assert_null(array);
}

static json_t *make_sealed(void)
{
    return json_pack("{s:s, s:f, s:[{s:i}, {}], s:{}}", "format", "a \"b\"", "share", 0.1, "list", "count", 0, "none");
}

static void every_flipped_bit_of_a_sealed_file_is_found(void **state)
{
    (void)state;
    dt_error err = {0};
    char *text;
    size_t size;
    json_t *value = make_sealed();
    assert_int_equal(json_file_write_sealed(temp_path("s.json"), json_incref(value), &err), DT_OK);
    json_t *found = json_file_read_sealed(temp_path("s.json"), &err);
    assert_true(json_equal(found, value));
    json_decref(found);
    assert_int_equal(file_read_all(&text, &size, temp_path("s.json"), 4096, &err), DT_OK);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        text[bit / 8] ^= (char)(1 << bit % 8);
        temp_write("f.json", text, size);
        found = json_file_read_sealed(temp_path("f.json"), &err);
        if (found) /* the seal's own key, which the reader of the file does not know */
            assert_int_equal(json_object_size(found), json_object_size(value) + 1);
        else
            assert_non_null(strstr(err.message, "f.json"));
        json_decref(found);
        error_clear(&err);
        text[bit / 8] ^= (char)(1 << bit % 8);
    }
    free(text);
    json_decref(value);
}

static void a_file_from_before_there_were_seals_is_read(void **state)
{
    (void)state;
    dt_error err = {0};
    json_t *value = make_sealed();
    assert_int_equal(json_file_write(temp_path("u.json"), json_incref(value), NULL, &err), DT_OK);
    json_t *found = json_file_read_sealed(temp_path("u.json"), &err);
    assert_true(json_equal(found, value));
    json_decref(found);
    json_decref(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_and_hashed),
        cmocka_unit_test(anything_but_one_object_is_refused),
        cmocka_unit_test(an_object_has_its_fields_in_their_order),
        cmocka_unit_test(what_loses_a_member_is_nothing),
        cmocka_unit_test(every_flipped_bit_of_a_sealed_file_is_found),
        cmocka_unit_test(a_file_from_before_there_were_seals_is_read),
        cmocka_unit_test(a_text_that_would_burst_the_parser_is_refused),
        cmocka_unit_test(a_long_or_missing_file_and_no_value_are_refused),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
