/* Which classes are drawn: names and numbers, and what could be either. */
#include "context_fixture.h"

#include "data/class_list.h"
#include "temp_folder.h"

/* Reads `classes` for a model of `count` classes with these names; returns the list as text, or "" and the message. */
static const char *read_list(char *const names[], int64_t count, const char *classes)
{
    static char text[256];
    ctx *c = &context;
    class_list l;
    dt_settings s = {0};
    const model_info info = {.class_name = (char **)names, .class_name_count = names ? count : 0};
    int used = 0;
    text[0] = '\0';
    snprintf(s.classes, sizeof s.classes, "%s", classes);
    error_clear(&c->error);
    if (class_list_read(&l, c, &s, &info, count) != DT_OK) {
        assert_int_equal(c->error.status, DT_ERR_ARG);
        return text;
    }
    for (int64_t i = 0; i < l.count; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%d", i ? " " : "", (int)l.class[i]);
    return text;
}

static void names_and_numbers_are_both_read(void **state)
{
    (void)state;
    char *names[] = {"cat", "dog", "fox", "grey wolf"};
    assert_string_equal(read_list(names, 4, "dog,0,2-3"), "1 0 2 3");
    assert_string_equal(read_list(names, 4, "cat, grey wolf"), "0 3");
    assert_string_equal(read_list(NULL, 4, "3,0-1"), "3 0 1");
    assert_string_equal(read_list(NULL, 0, "0"), "");
    assert_says(context.error.message, "classes 0: the model has no classes");
    static const char *const wrong[] = {"4",       "2-4", "3-2", "cat-dog", "bird", "1-", "-1", "99999999999999999999",
                                        "cat,,dog"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) assert_string_equal(read_list(names, 4, wrong[i]), "");
}

static void numbers_are_names_where_classes_are_called_by_others(void **state)
{
    (void)state;
    char *names[] = {"0", "1", "10", "11", "2", "3"}; /* folders 0..11 in byte order */
    assert_string_equal(read_list(names, 6, "10,11,2"), "2 3 4");
    static const char *const wrong[] = {"10-11", "4", "0-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_string_equal(read_list(names, 6, wrong[i]), "");
        assert_says(context.error.message, "numbers are taken for names only");
    }
    char *digits[] = {"0", "1", "2", "003"}; /* name and number agree */
    assert_string_equal(read_list(digits, 4, "1-3,0"), "1 2 3 0");
}

static void what_could_be_two_things_is_refused(void **state)
{
    (void)state;
    char *ranges[] = {"2-3", "a", "b", "c"}, *twins[] = {"cat", "cat", "dog"};
    assert_string_equal(read_list(ranges, 4, "2-3"), "");
    assert_says(context.error.message, "is the name of class 0, and could be numbers of others");
    assert_string_equal(read_list(ranges, 4, "0,1-2"), "0 1 2");
    assert_string_equal(read_list(twins, 3, "cat"), "");
    assert_says(context.error.message, "more than one class");
    assert_string_equal(read_list(twins, 3, "1,dog"), "1 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_numbers_are_both_read),
        cmocka_unit_test(numbers_are_names_where_classes_are_called_by_others),
        cmocka_unit_test(what_could_be_two_things_is_refused),
    };
    return cmocka_run_group_tests_name("class list", tests, context_make, context_remove);
}
