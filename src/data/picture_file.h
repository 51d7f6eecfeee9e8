/* The pictures of a set on disk, decoded and cropped: a file without a name, which is gone with its process. It is mapped, so that the
 * system keeps in memory what it has room for: for sets that are gone through again and again and may be larger than memory. */
#ifndef DATA_PICTURE_FILE_H
#define DATA_PICTURE_FILE_H

#include "data/examples.h"

typedef struct picture_file {
    int64_t count; /* pictures, in the order in which they were read: without their classes */
    dataset view;  /* of them; its pixels are the mapping */
    size_t bytes;
} picture_file;

/* Reads the set; of the options the resolution, the background, strict, held_out and the watcher's log count. The file lies in the
 * file system of `folder`, which need not exist. Errors as dataset_open, and DT_ERR_IO where the disk has no room for it. On failure
 * *f is closed. */
dt_status picture_file_open(ctx *c, picture_file *f, const char *path, const char *folder,
                            const examples_options *options);
void picture_file_close(picture_file *f);

/* Picture i as [3,R,R] in [-1,1]. */
void picture_file_get(float *x, const picture_file *f, int64_t i);

#endif
