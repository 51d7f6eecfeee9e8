/* How failures travel: a status is returned, the sentence is kept here. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>

#include "difftune.h"

enum { DT_MESSAGE_MAX = 2048 };

typedef struct dt_error {
    dt_status status; /* DT_OK: nothing has failed */
    int number;       /* errno of a call of the system that failed, else 0 */
    char message[DT_MESSAGE_MAX];
} dt_error;

/* Records a failure and returns `status`. The first failure wins; later ones while it stands keep its message, and the
 * function then returns the first status. The message names object, expected and found; no trailing newline. Control
 * characters in it become question marks. */
dt_status error_set(dt_error *e, dt_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Appends ": <strerror(errno)>" to an I/O failure. */
dt_status error_set_errno(dt_error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether memory was out, or the system failed in a way that says nothing of the file (a broken disk, no file numbers left): what is
 * to be read may be whole, and passing over it would give another result in silence. */
bool error_is_of_machine(const dt_error *e);

void error_clear(dt_error *e);

#endif
