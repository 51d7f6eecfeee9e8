/* Where a data set's files come from: a folder or a tar, listed once and then read in one go. Private to dataset*.c. */
#ifndef DATA_DATASET_SOURCE_H
#define DATA_DATASET_SOURCE_H

#include "data/dataset.h"

struct archive;

typedef struct source_file {
    char *name;      /* below the root, components parted by one slash */
    int64_t ordinal; /* position in a tar; any unique number in a folder */
    int64_t label;   /* set by the plan */
} source_file;

typedef struct source {
    char path[DT_PATH_MAX]; /* without the split */
    char split[16];         /* asked for after the last colon, "" where nothing was */
    bool is_archive;
    source_file *file; /* images by extension; in no order */
    int64_t file_count;
    char **folder; /* hidden ones left out */
    int64_t folder_count;
    struct archive *archive; /* while being read */
    int64_t position;        /* entries of the archive passed so far */
} source;

/* Lists what is at `path`; notes what is passed over in the report. On failure *s may only be closed. */
dt_status source_open(source *s, dataset_report *report, const char *path, dt_error *err);
void source_close(source *s);

/* Reads one file into malloc'ed memory. Of a tar the files must be asked for by rising ordinal. A failure that concerns
 * this file alone is told in *reason (malloc'ed) with DT_OK and *data NULL. */
dt_status source_read(uint8_t **data, size_t *size, char **reason, source *s, const source_file *file, dt_error *err);

/* Chooses split and classes by the rules in dataset.h: keeps the files that are taken, sorted, with labels, and sets
 * d->class_name, class_count and split. *prefix is the number of characters of each name above its class folder. */
dt_status source_plan(dataset *d, size_t *prefix, source *s, const dataset_options *options, dt_error *err);

/* Lists `file` as passed over. */
dt_status report_skip(dataset_report *report, const char *file, const char *reason, dt_error *err);

/* Room for one more element behind `count`; NULL (and the old block kept) when memory is short. */
void *grow_array(void *array, int64_t count, size_t element_size);

#endif
