/* What a file is by its first bytes, for messages about files that are not what their names say. */
#ifndef FILE_CONTENT_H
#define FILE_CONTENT_H

#include <stddef.h>

#include "base/error.h"

/* What a file's first bytes show it to be in place of what its name says: a web page, a Git LFS or git-annex pointer, as words for
 * a message ("FILE is ..."); NULL for anything else. */
const char *file_stands_for(const void *data, size_t size);

/* What a file is by its first bytes, where that is a picture, an archive, a document or text, as words for a message ("FILE is ...");
 * NULL for anything else. */
const char *file_kind(const void *data, size_t size);

/* Fails as opening a regular file for reading does, and with DT_ERR_FORMAT for one that stands for another. */
dt_status file_check_content(const char *path, dt_error *err);

#endif
