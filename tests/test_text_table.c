/* Tables of comma-separated values: fields, quotes and ends of lines as spreadsheets write them. */
#include <string.h>

#include "temp_folder.h"
#include "file/text_table.h"

/* Opens a table that consists of `text`. */
static dt_status open_csv(text_table *t, const char *text, dt_error *err)
{
    temp_write("table.csv", text, strlen(text));
    return text_table_csv(t, temp_path("table.csv"), err);
}

static void assert_fields(const char *text, int64_t rows, const char *const expected[])
{
    text_table t;
    dt_error err = {0};
    assert_int_equal(open_csv(&t, text, &err), DT_OK);
    assert_int_equal(t.row_count, rows);
    for (int64_t i = 0; i < 2 * rows; i++) assert_string_equal(text_table_field(&t, i / 2, (int)(i % 2)), expected[i]);
    text_table_close(&t);
}

static void ends_of_lines_are_no_part_of_a_field(void **state)
{
    (void)state;
    const char *const plain[] = {"file", "name", "1.jpg", "a cat"};
    assert_fields("file,name\n1.jpg,a cat\n", 2, plain);
    assert_fields("file,name\r\n1.jpg,a cat\r\n", 2, plain);
    assert_fields("file,name\r\n1.jpg,a cat", 2, plain);
    assert_fields("file,\"name\"\r\n\"1.jpg\",\"a cat\"\r\n", 2, plain);
}

/* A quoted field is what stands between its quotes, whatever that is. */
static void a_quoted_field_is_whole(void **state)
{
    (void)state;
    const char *const lines[] = {"file", "name", "1.jpg", "first\r\nsecond, \"third\"\r"};
    assert_fields("file,name\r\n1.jpg,\"first\r\nsecond, \"\"third\"\"\r\"\r\n", 2, lines);
    const char *const inside[] = {"a\rb", ""};
    assert_fields("a\rb,\n", 1, inside); /* no end of a line */
}

static void what_is_no_table_is_refused(void **state)
{
    (void)state;
    const char *const cases[][2] = {{"", "it is empty"},
                                    {"a,b\n1\n", ":2: 2 fields expected, found 1"},
                                    {"a,b\n1,\"2\n", ":2: a quote is never closed"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        text_table t;
        dt_error err = {0};
        assert_int_equal(open_csv(&t, cases[i][0], &err), DT_ERR_FORMAT);
        assert_says(err.message, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_of_lines_are_no_part_of_a_field),
        cmocka_unit_test(a_quoted_field_is_whole),
        cmocka_unit_test(what_is_no_table_is_refused),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
