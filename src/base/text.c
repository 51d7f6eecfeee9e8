#include "base/text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_MAX = 1024, WIDTH_MAX = 127 };

int text_distance(const char *a, const char *b, char (*fold)(char letter))
{
    int row[WIDTH_MAX + 1], width = (int)strnlen(b, WIDTH_MAX);
    for (int j = 0; j <= width; j++) row[j] = j;
    for (int i = 0; i < LENGTH_MAX && a[i]; i++) {
        int diagonal = row[0];
        row[0] = i + 1;
        for (int j = 1; j <= width; j++) {
            int replaced = diagonal + (fold(a[i]) != fold(b[j - 1]));
            int edited = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replaced < edited ? replaced : edited;
        }
    }
    return row[width];
}

char text_lower(char letter)
{
    return (char)(letter | 0x20);
}

char text_unhyphened(char letter)
{
    return letter == '-' ? '_' : letter;
}

/* Bytes of the UTF-8 character at `text`, which is not at its end, and its number; 0 where there is none. */
static size_t read_character(uint32_t *point, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    const size_t bytes = *p < 0x80                 ? 1
                         : *p >= 0xc2 && *p < 0xe0 ? 2
                         : (*p & 0xf0) == 0xe0     ? 3
                         : *p >= 0xf0 && *p < 0xf5 ? 4
                                                   : 0;
    if (bytes == 0) return 0;
    *point = bytes > 1 ? *p & (0x7fu >> bytes) : *p;
    for (size_t i = 1; i < bytes; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        *point = *point << 6 | (p[i] & 0x3f);
    }
    const bool overlong = (bytes == 3 && *point < 0x800) || (bytes == 4 && *point < 0x10000);
    const bool surrogate = *point >= 0xd800 && *point < 0xe000;
    return overlong || surrogate || *point > 0x10ffff ? 0 : bytes;
}

static bool is_control(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0);
}

const char *text_behind_mark(const char *text)
{
    return strncmp(text, "\xef\xbb\xbf", 3) ? text : text + 3;
}

bool text_is_utf8(const char *text)
{
    uint32_t point;
    size_t bytes = 1;
    for (; *text && bytes; text += bytes) bytes = read_character(&point, text);
    return bytes > 0;
}

bool text_is_printable(const char *text)
{
    uint32_t point = ' ';
    size_t bytes = 1;
    for (; *text && bytes && !is_control(point); text += bytes) bytes = read_character(&point, text);
    return bytes > 0 && !is_control(point);
}

void text_make_printable(char *text)
{
    char *end = text;
    for (size_t bytes; *text; text += bytes) {
        uint32_t point;
        bytes = read_character(&point, text);
        if (bytes == 0 || is_control(point)) {
            *end++ = '?';
            bytes += bytes == 0;
        } else {
            memmove(end, text, bytes);
            end += bytes;
        }
    }
    *end = '\0';
}

void text_duration(char text[TEXT_DURATION_MAX], double seconds)
{
    const long long whole = (long long)(seconds + 0.5);
    snprintf(text, TEXT_DURATION_MAX, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
}

bool text_enter_c_numbers(text_c_numbers *n)
{
    *n = (text_c_numbers){.plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0)};
    if (n->plain) n->callers = uselocale(n->plain);
    return n->plain;
}

void text_leave_c_numbers(text_c_numbers *n)
{
    if (!n->plain) return;
    uselocale(n->callers);
    freelocale(n->plain);
}

int text_read_numbers(double number[], int room, const char *text)
{
    int count = 0;
    bool more = *text;
    while (more && count >= 0) {
        char *end;
        const double value = strtod(text, &end);
        const bool good = end != text && (!*end || *end == ',');
        if (good && count < room) number[count] = value;
        count = good ? count + 1 : -1;
        more = *end;
        text = end + 1;
    }
    return count;
}
