/* Where a data set's files come from: a folder, a tar or a zip, listed once and then read in one go. Private to src/data. */
#ifndef DATA_DATASET_SOURCE_H
#define DATA_DATASET_SOURCE_H

#include "data/archive_file.h"
#include "data/dataset_report.h"

/* A file of text beside pictures: KEY.cls, whose text is the class of the pictures KEY.EXTENSION, a caption, or a list. */
typedef struct source_text {
    char *name, *text;
    int64_t ordinal;
    bool used; /* it belongs to a picture */
} source_text;

typedef struct source_file {
    char *name;      /* below the root, components parted by one slash */
    int64_t ordinal; /* position in an archive; any unique number in a folder */
    int64_t label;   /* set by the plan; so is `place`, among all of them */
    int64_t place;
    /* set by dataset_told.h where it is asked for; owned */
    char **caption; /* [caption_count] */
    int64_t caption_count;
    char *control; /* name of its control picture; NULL: none */
} source_file;

typedef struct source {
    char path[DT_PATH_MAX]; /* without the split */
    char split[16];         /* asked for after the last colon, "" where nothing was */
    bool is_archive;
    source_file *file; /* images by extension; in no order */
    int64_t file_count;
    char **folder; /* hidden ones left out */
    int64_t folder_count;
    bool labelled;      /* there are KEY.cls files, also where none of them can be read: classes are theirs alone */
    source_text *label; /* those that name a class, in no order, as are they all */
    int64_t label_count;
    source_text *caption; /* what may hold captions; without their text where nobody asked for it, but for lists */
    int64_t caption_count;
    source_file *control; /* control pictures among the images, moved here by dataset_told.h; by name */
    int64_t control_count;
    archive_file archive; /* while being read */
} source;

/* Lists what is at `path`; notes what is passed over in the report. Lists of captions are read, texts of
 * single pictures where `captions` is true. On failure *s may only be closed. */
dt_status source_open(source *s, dataset_report *report, const char *path, bool captions, dt_error *err);
void source_close(source *s);

/* Frees what a file holds, when it leaves a list. */
void source_file_close(source_file *file);

/* Reads one file into malloc'ed memory. Of an archive the files must be asked for by rising ordinal. A failure that concerns
 * this file alone is told in *reason (malloc'ed) with DT_OK and *data NULL. */
dt_status source_read(uint8_t **data, size_t *size, char **reason, source *s, const source_file *file, dt_error *err);

/* A list of captions by its name: metadata.jsonl, metadata.csv or prompt.json. */
bool source_is_list(const source_text *text);

/* For qsort_r: numbers of `files` (source_file[]) in the order in which an archive has them. */
int source_compare_ordinals(const void *left, const void *right, void *files);

/* Sorts texts by what stands before their extension, so that the next function finds them. */
void source_sort_texts(source_text *text, int64_t count);

/* The text that belongs to the picture `name`: of the same name up to the last dot, or, as WebDataset has keys, up to the first
 * dot ("7.left.jpg" is of "7"). Of several the last in order: .txt, .caption, .json, and of those of one name in an archive the
 * later one. NULL: none. */
source_text *source_find_text(source_text *text, int64_t count, const char *name);

/* `folder`/`name` as the names of files are, without "." components; malloc'ed, NULL where memory is out. `folder` may be "". */
char *source_join(const char *folder, size_t folder_length, const char *name);

#endif
