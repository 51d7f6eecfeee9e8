/* How many pictures of a data set are read together, and what that takes. Private to src/data. */
#ifndef DATA_DATASET_READING_H
#define DATA_DATASET_READING_H

#include "data/dataset_source.h"

/* Files that are read together at most, and bytes after which no more are. */
enum { READING_FILES = 512, READING_BYTES = 1 << 26 };

/* Larger pictures are decoded one after the other: of those that are no larger, each thread holds one. */
#define READING_PIXELS_PER_THREAD ((int64_t)1 << 24)

/* Bytes of the first files that are read together, those of an archive as its share of it. */
int64_t reading_batch_bytes(const source *s);

/* Bytes of the pictures that are decoded at one time, taken for baseline JPEG or PNG as large as the largest of some. */
int64_t reading_decoding_bytes(source *s, int threads);

#endif
