/* Text that several modules treat alike: how near two names are, what may be shown, and numbers in the C locale. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <locale.h>
#include <stdbool.h>
#include <stddef.h>

/* Levenshtein's distance between the first 1024 bytes of a and the first 127 of b, where two letters are equal when `fold` makes
 * them so. */
int text_distance(const char *a, const char *b, char (*fold)(char letter));

/* Folds for text_distance. Case is bit 0x20: of ASCII's letters, and of the accented ones of Latin in UTF-8. */
char text_lower(char letter);

/* Hyphens to underscores. */
char text_unhyphened(char letter);

/* The text behind a byte order mark, which Windows' editors put before UTF-8. */
const char *text_behind_mark(const char *text);

/* UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool text_is_utf8(const char *text);

/* UTF-8 without control characters, those of Latin-1 (U+0080 to U+009F) among them. */
bool text_is_printable(const char *text);

/* Puts '?' in place of every control character and of every byte that is no UTF-8, so that names from files stay in one line
 * and send a terminal nothing but characters. The text becomes no longer. */
void text_make_printable(char *text);

/* Hours, minutes and seconds, "1:02:03", of a finite time. */
enum { TEXT_DURATION_MAX = 32 };
void text_duration(char text[TEXT_DURATION_MAX], double seconds);

/* Between the two calls the thread reads and writes numbers with a decimal point, whatever the caller's locale says. On
 * false memory is out, nothing has changed, and text_leave_c_numbers does nothing. */
typedef struct text_c_numbers {
    locale_t plain, callers;
} text_c_numbers;
bool text_enter_c_numbers(text_c_numbers *n);
void text_leave_c_numbers(text_c_numbers *n);

/* Reads a list "0.05,0.1", with a decimal point between those two calls. Returns how many numbers it has, of which the first `room` are
 * kept; -1 where it is no such list. An empty text has none. */
int text_read_numbers(double number[], int room, const char *text);

#endif
