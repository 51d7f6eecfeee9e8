/* A locale whose numbers have a decimal comma, as programs that call setlocale may have one. */
#ifndef TESTS_COMMA_LOCALE_H
#define TESTS_COMMA_LOCALE_H

#include <locale.h>
#include <stdlib.h>

#include "temp_folder.h"

/* Made in the temporary folder, where the system's tools can. False: there is none. It holds from comma_locale_begin to _end. */
static inline bool comma_locale_make(void)
{
    char command[1024];
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 '%s' >'%s' 2>&1", temp_path("de_DE.UTF-8"),
             temp_path("localedef.log"));
    setenv("LOCPATH", temp_folder, 1);
    const bool made = system(command) == 0 && setlocale(LC_NUMERIC, "de_DE.UTF-8");
    setlocale(LC_NUMERIC, "C");
    return made;
}

static inline void comma_locale_begin(void)
{
    assert_non_null(setlocale(LC_NUMERIC, "de_DE.UTF-8"));
    assert_string_equal(localeconv()->decimal_point, ",");
}

static inline void comma_locale_end(void)
{
    assert_string_equal(localeconv()->decimal_point, ","); /* what was called has left it as it was */
    setlocale(LC_NUMERIC, "C");
}

#endif
