/* Files of text that are printed: settings, and tables of comma-separated values (RFC 4180). */
#ifndef FILE_TEXT_FILE_H
#define FILE_TEXT_FILE_H

#include <stdio.h>

#include "base/error.h"

/* Puts what `print` prints in the place of the file, whole or not at all. DT_ERR_IO, DT_ERR_MEMORY. */
dt_status text_file_write(const char *path, void (*print)(FILE *out, const void *user), const void *user,
                          dt_error *err);

/* A cell of a table, without its comma. A number that is not finite is an empty one; text is quoted where it must be. */
void text_file_number(FILE *out, double value);
void text_file_text(FILE *out, const char *text);

#endif
