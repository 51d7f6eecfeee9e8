/* "~" in paths: shells put the home folder in its place only where a word begins with it, and files of settings never do. */
#ifndef FILE_HOME_H
#define FILE_HOME_H

#include <stddef.h>

#include "base/error.h"

/* Writes `path` with a leading "~" or "~/" replaced by $HOME. DT_ERR_ARG for "~name", which is no path here ("./~name" is
 * one), where HOME is not set, and for a result that does not fit. */
dt_status home_expand(char *out, size_t size, const char *path, dt_error *err);

/* The same for each of a list of paths, parted by commas. */
dt_status home_expand_list(char *out, size_t size, const char *paths, dt_error *err);

#endif
