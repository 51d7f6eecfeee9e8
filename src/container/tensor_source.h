/* A tensor that is to be written, whatever the container. */
#ifndef CONTAINER_TENSOR_SOURCE_H
#define CONTAINER_TENSOR_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "container/dtype.h"

typedef struct tensor_source {
    const char *name;        /* UTF-8 */
    safetensors_dtype dtype; /* as stored */
    int dim_count;
    const int64_t *dims;
    /* One of these three gives the numbers. */
    const float *values; /* for F32, BF16, F16: converted while writing, nearest even */
    const void *data;    /* raw bytes of `dtype`, little-endian, product(dims) values */
    /* Asked for the values when their turn has come: what it returns is used until it is asked again. NULL with *err. */
    const float *(*fetch)(void *user, dt_error *err);
    void *user;
    int64_t first; /* of what `fetch` returns: the values of this tensor start there */
    bool finite;   /* values that are not finite as stored are an error: weights, samples */
} tensor_source;

/* A text about a file's tensors. */
typedef struct metadata_pair {
    const char *key, *value; /* UTF-8 */
} metadata_pair;

/* How many values and stored bytes it has. DT_ERR_ARG naming the tensor and `path`, where it is to go, when its shape has
 * no size, unless one of values, data and fetch is given, or when values cannot become `dtype`. */
dt_status tensor_source_size(uint64_t *count, uint64_t *bytes, const tensor_source *s, const char *path, dt_error *err);

/* Takes some of the stored bytes. */
typedef dt_status tensor_sink(void *user, const void *data, size_t size, dt_error *err);

/* Hands all stored bytes to `sink` in their order, converted block by block, so that a model needs no second copy of
 * itself. The size must have been found good. DT_ERR_NUMERIC names the tensor, `path` and a value that is not finite. */
dt_status tensor_source_stream(const tensor_source *s, const char *path, tensor_sink *sink, void *user, dt_error *err);

dt_status tensor_source_refused(const tensor_source *s, const char *path, const char *why, dt_error *err);

#endif
