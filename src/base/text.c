#include "base/text.h"

#include <string.h>

enum { WIDTH_MAX = 127 };

int text_distance(const char *a, const char *b, char (*fold)(char letter))
{
    int row[WIDTH_MAX + 1], width = (int)strnlen(b, WIDTH_MAX);
    for (int j = 0; j <= width; j++) row[j] = j;
    for (int i = 0; a[i]; i++) {
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
