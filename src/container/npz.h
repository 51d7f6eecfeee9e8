/* numpy's .npz: a zip of .npy arrays, as pytorch-fid keeps its statistics (`mu` [D], `sigma` [D,D], float64) and
 * guided-diffusion's evaluator its samples. Reading accepts stored and deflated members, npy versions 1 to 3, C order
 * and little-endian numbers; everything else is refused with file, array, expected and found. Writing stores without
 * compression. */
#ifndef CONTAINER_NPZ_H
#define CONTAINER_NPZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "file/file.h"

enum { NPZ_ARRAY_MAX = 32, NPZ_NAME_MAX = 64, NPZ_DIM_MAX = 8 };

typedef enum npz_dtype { NPZ_F64, NPZ_F32, NPZ_I64, NPZ_I32, NPZ_U8, NPZ_DTYPE_COUNT } npz_dtype;

typedef struct npz_array {
    char name[NPZ_NAME_MAX]; /* without ".npy" */
    npz_dtype dtype;
    int dim_count; /* 0: a scalar */
    int64_t dims[NPZ_DIM_MAX];
    const void *data; /* row-major; owned by the npz it was read into */
} npz_array;

typedef struct npz {
    npz_array arrays[NPZ_ARRAY_MAX];
    size_t count;
} npz;

/* Reads all arrays. More than `byte_limit` bytes of data together are refused before memory is taken. On failure *z is
 * empty and may be freed. DT_ERR_FORMAT: no zip, a lying header, a wrong checksum; DT_ERR_UNSUPPORTED: a kind of array
 * outside the list above. */
dt_status npz_read(npz *z, const char *path, int64_t byte_limit, dt_error *err);
void npz_free(npz *z);

/* Reads only the arrays whose names are in the list, which ends with NULL; the others are passed over unread. */
dt_status npz_read_some(npz *z, const char *path, const char *const names[], int64_t byte_limit, dt_error *err);

/* Whether the file has an array of this name. */
dt_status npz_has(bool *has, const char *path, const char *name, dt_error *err);

/* One array of any size, read from its start piece by piece. */
typedef struct npz_stream {
    npz_array array; /* without data */
    int64_t bytes_left;
    char path[DT_PATH_MAX];
    struct archive *archive;
} npz_stream;

/* DT_ERR_FORMAT when there is no such array. On failure *s is empty and may be closed. */
dt_status npz_stream_open(npz_stream *s, const char *path, const char *name, dt_error *err);
/* The next `bytes` of its data. The last read checks the checksum. */
dt_status npz_stream_read(npz_stream *s, void *out, int64_t bytes, dt_error *err);
void npz_stream_close(npz_stream *s);

/* NULL when there is no such array. */
const npz_array *npz_find(const npz *z, const char *name);

/* Product of the dims. */
int64_t npz_count(const npz_array *a);

/* All values, of any type, as double (I64 rounded to nearest). `out` holds npz_count(a) values. */
void npz_to_f64(double *out, const npz_array *a);

/* A new file, array after array. After any failure nothing is left of it and the writer is closed. A writer must stay where
 * it is in memory. */
typedef struct npz_writer {
    file_writer file;
    struct archive *archive;
    int64_t bytes_left; /* of the array begun last */
    dt_error why;       /* what failed inside libarchive */
} npz_writer;

dt_status npz_writer_begin(npz_writer *w, const char *path, dt_error *err);
/* The next array, whole; or with data NULL its head, and npz_writer_data brings the data. */
dt_status npz_writer_array(npz_writer *w, const npz_array *a, dt_error *err);
dt_status npz_writer_data(npz_writer *w, const void *data, int64_t bytes, dt_error *err);
/* Replaces the file atomically. */
dt_status npz_writer_commit(npz_writer *w, dt_error *err);
void npz_writer_abort(npz_writer *w);

/* Replaces `path` atomically by these arrays; names are ASCII and differ, shapes are valid. */
dt_status npz_write(const char *path, const npz_array arrays[], size_t count, dt_error *err);

#endif
