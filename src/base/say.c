#include "base/say.h"

#include <stdio.h>

#include "base/text.h"
#include "difftune.h"

void say_list(say_log *log, void *user, const char *format, va_list args)
{
    char line[4 * DT_PATH_MAX];
    if (!log) return;
    vsnprintf(line, sizeof line, format, args);
    text_make_printable(line);
    log(user, line);
}

void say(say_log *log, void *user, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_list(log, user, format, args);
    va_end(args);
}
