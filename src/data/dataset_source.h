/* Where a data set's files come from: a folder, a tar or a zip, listed once and then read in one go. Private to src/data. */
#ifndef DATA_DATASET_SOURCE_H
#define DATA_DATASET_SOURCE_H

#include "data/archive_file.h"
#include "data/dataset_report.h"

typedef struct source_file {
    char *name;      /* below the root, components parted by one slash */
    int64_t ordinal; /* position in an archive; any unique number in a folder */
    int64_t label;   /* set by the plan; so is `place`, among all of them */
    int64_t place;
} source_file;

/* A file KEY.cls, whose text is the class of the pictures KEY.EXTENSION beside it. */
typedef struct source_label {
    char *name, *text;
    int64_t ordinal;
} source_label;

typedef struct source {
    char path[DT_PATH_MAX]; /* without the split */
    char split[16];         /* asked for after the last colon, "" where nothing was */
    bool is_archive;
    source_file *file; /* images by extension; in no order */
    int64_t file_count;
    char **folder; /* hidden ones left out */
    int64_t folder_count;
    source_label *label; /* in no order */
    int64_t label_count;
    archive_file archive; /* while being read */
} source;

/* Lists what is at `path`; notes what is passed over in the report. On failure *s may only be closed. */
dt_status source_open(source *s, dataset_report *report, const char *path, dt_error *err);
void source_close(source *s);

/* Reads one file into malloc'ed memory. Of an archive the files must be asked for by rising ordinal. A failure that concerns
 * this file alone is told in *reason (malloc'ed) with DT_OK and *data NULL. */
dt_status source_read(uint8_t **data, size_t *size, char **reason, source *s, const source_file *file, dt_error *err);

#endif
