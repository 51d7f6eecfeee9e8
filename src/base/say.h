/* Lines for whoever watches: names in them come from files, so each is made printable (base/text.h). */
#ifndef BASE_SAY_H
#define BASE_SAY_H

#include <stdarg.h>

/* As the log of a dt_observer: takes one line, without a newline; may be NULL, which hears nothing. */
typedef void say_log(void *user, const char *line);

void say(say_log *log, void *user, const char *format, ...) __attribute__((format(printf, 3, 4)));
void say_list(say_log *log, void *user, const char *format, va_list args) __attribute__((format(printf, 3, 0)));

#endif
