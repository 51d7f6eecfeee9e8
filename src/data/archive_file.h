/* A tar (plain, gzip, xz) or zip, whose entries are walked once from the first to the last. Private to src/data.
 *
 * A packing's checksum and end stand behind the last byte of a tar, and so are checked when the walk is over. Of a zip the
 * directory at its end counts; its files are stored or deflated, and each is compared with its own checksum when it is read. Names
 * that a zip calls UTF-8 come in composed letters (NFC). */
#ifndef DATA_ARCHIVE_FILE_H
#define DATA_ARCHIVE_FILE_H

#include <locale.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct archive;
struct packed;

typedef struct archive_file {
    struct archive *archive; /* NULL: closed */
    struct packed *packed;   /* what is under it, where that is gzip or xz */
    locale_t utf8;           /* of a zip, else 0 */
    const char *path;        /* the caller's */
    int64_t position;        /* number of the entry that is read next */
} archive_file;

typedef struct archive_item {
    const char *name; /* as it stands in the archive, valid until the next one; NULL: the walk is over */
    int64_t size;     /* of its contents, as it says */
    bool is_folder;
    const char *trouble; /* why it cannot be read, or NULL */
} archive_item;

/* DT_ERR_FORMAT is told with the archive's path. On failure *a may only be closed. */
dt_status archive_file_open(archive_file *a, const char *path, dt_error *err);
void archive_file_close(archive_file *a);

/* DT_ERR_FORMAT: damaged, or encrypted. */
dt_status archive_file_next(archive_item *item, archive_file *a, dt_error *err);

/* The contents of the entry that the walk stands at, malloc'ed, one byte longer than `size`. */
dt_status archive_file_read(uint8_t **data, archive_file *a, size_t size, dt_error *err);

#endif
