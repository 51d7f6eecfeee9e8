/* Pictures one after the other from a folder, a tar or an ADM sample stack (.npz), for measures over more of them than memory
 * holds. Folders and tars are listed by the rules of data/dataset.h; classes do not matter here. */
#ifndef DATA_PICTURE_STREAM_H
#define DATA_PICTURE_STREAM_H

#include "data/dataset_plan.h"
#include "data/sample_stack.h"
#include "file/file.h"

/* Whether a file is wanted: first by its name below the path, asked once of each, those of one name but for the extension one after
 * the other; then, of those, by its content, asked in the order in which they are read, before anything is decoded. Either may list
 * files as passed over, or fail. */
typedef struct picture_choice {
    void *user;
    bool (*wants)(void *user, const char *name, dataset_report *report, dt_error *err);
    bool (*wants_content)(void *user, const char *name, const file_hash *content, dataset_report *report,
                          dt_error *err);
} picture_choice;

typedef struct picture_bytes {
    uint8_t *data;
    size_t size;
    file_hash content; /* where a choice was asked of it */
} picture_bytes;

typedef struct picture_stream {
    dataset_report report; /* only which files were passed over, and why */
    const char *latest;    /* name below the path of the picture given last */
    file_hash content;     /* of its file, where a choice was asked of it */
    picture_choice choice; /* of nothing: all are wanted */
    /* owned */
    bool is_stack, strict;
    int64_t resolution;
    image_options decode;
    sample_stack stack;
    source source;
    class_plan plan;
    int64_t *order; /* [source.file_count], files as they lie in a tar */
    int64_t next;
    bool pending; /* whether file number next was read, and is left for the next call */
    picture_bytes pending_file;
} picture_stream;

/* Pictures given in one call have no more pixels together, unless it is a single one. */
#define PICTURES_TOGETHER ((int64_t)1 << 26)

/* resolution 0: pictures keep their own sizes, as pytorch-fid and clean-fid read them; else each is cropped to a square as
 * ADM does. strict: a broken file is an error, else it is passed over and listed. On failure *s may be closed. */
dt_status picture_stream_open(picture_stream *s, const char *path, int64_t resolution, const char *background,
                              bool strict, dt_error *err);

/* The same of every picture of a folder, tar or zip, whatever splits there are, that `choice` wants; a stack is none. DT_ERR_FORMAT
 * where there is no picture at all. What choice->user points to stays the caller's for as long as the stream is read. */
dt_status picture_stream_open_all(picture_stream *s, const char *path, int64_t resolution, const char *background,
                                  bool strict, const picture_choice *choice, dt_error *err);
void picture_stream_close(picture_stream *s);

/* The next pictures, at most `most` and fewer where they are large, each to be freed with image_close; *count 0 at the end.
 * Decodes in parallel. */
dt_status picture_stream_next(picture_stream *s, image pictures[], int64_t most, int64_t *count, dt_error *err);

#endif
