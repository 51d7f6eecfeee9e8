/* Distances of names, what may be shown and said, and numbers in the C locale. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/say.h"
#include "base/text.h"

static char same(char letter)
{
    return letter;
}

static void distances_are_levenshteins(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        int distance;
    } pairs[] = {
        {"", "", 0},
        {"", "abc", 3},
        {"abc", "", 3},
        {"kitten", "sitting", 3},
        {"flaw", "lawn", 2},
        {"abc", "abc", 0},
        {"Sunday", "Saturday", 3},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        assert_int_equal(text_distance(pairs[i].a, pairs[i].b, same), pairs[i].distance);
        assert_int_equal(text_distance(pairs[i].b, pairs[i].a, same), pairs[i].distance);
    }
}

static void folded_letters_are_the_same(void **state)
{
    (void)state;
    assert_int_equal(text_distance("Golden Retriever", "golden retriever", text_lower), 0);
    assert_int_equal(text_distance("Golden", "golden", text_unhyphened), 1);
    assert_int_equal(text_distance("max-train-steps", "max_train_steps", text_unhyphened), 0);
    assert_int_equal(text_distance("\xc3\x84ra", "\xc3\xa4ra", text_lower), 0); /* A and a with two dots */
}

/* Names of any length are read within bounds: the first one with its first 1024 bytes, the second one with 127. */
static void endless_names_are_cut(void **state)
{
    (void)state;
    char endless[5000];
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    assert_int_equal(text_distance("", endless, same), 127);
    assert_int_equal(text_distance(endless, "", same), 1024);
    assert_int_equal(text_distance(endless, endless, same), 1024 - 127);
}

static void numbers_are_those_of_c_between_the_two_calls(void **state)
{
    (void)state;
    text_c_numbers numbers;
    locale_t before = uselocale((locale_t)0);
    assert_true(text_enter_c_numbers(&numbers));
    assert_ptr_not_equal(uselocale((locale_t)0), before);
    assert_true(strtod("0.5", NULL) == 0.5);
    text_leave_c_numbers(&numbers);
    assert_ptr_equal(uselocale((locale_t)0), before);
}

static void what_may_be_shown(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown;
        bool utf8, printable;
    } cases[] = {
        {"", "", true, true},
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xb1", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xb1", true, true},
        {"\x1b[2Ja\tb\x7f\n", "?[2Ja?b??", true, false},
        {"a\xc2\x9b"
         "2J",
         "a?2J", true, false},                           /* the C1 form of escape [ */
        {"caf\xe9", "caf?", false, false},               /* Latin-1 */
        {"\xc0\xaf\xe0\x80\xaf", "?????", false, false}, /* overlong */
        {"\xed\xa0\x80", "???", false, false},           /* a surrogate */
        {"\xf4\x90\x80\x80\xf5", "?????", false, false}, /* above the last one */
        {"\xe2\x82", "??", false, false},                /* cut short */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", cases[i].text);
        assert_int_equal(text_is_utf8(text), cases[i].utf8);
        assert_int_equal(text_is_printable(text), cases[i].printable);
        text_make_printable(text);
        assert_string_equal(text, cases[i].shown);
        assert_true(text_is_printable(text));
    }
}

static void hear(void *user, const char *line)
{
    snprintf(user, 64, "%s", line);
}

static void a_line_is_said_printable_or_to_nobody(void **state)
{
    (void)state;
    char heard[64] = "";
    say(hear, heard, "%s: %d", "a\nb\033[2J", 3);
    assert_string_equal(heard, "a?b?[2J: 3");
    say(NULL, heard, "nothing");
    assert_string_equal(heard, "a?b?[2J: 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_are_levenshteins),
        cmocka_unit_test(folded_letters_are_the_same),
        cmocka_unit_test(endless_names_are_cut),
        cmocka_unit_test(what_may_be_shown),
        cmocka_unit_test(a_line_is_said_printable_or_to_nobody),
        cmocka_unit_test(numbers_are_those_of_c_between_the_two_calls),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
