/* The safetensors file format (huggingface/safetensors): u64 little-endian header length, JSON header, raw
 * little-endian row-major data. The reader maps the file and believes nothing: every refusal is DT_ERR_FORMAT and names
 * file, tensor, expected and found. The writer makes the layout of the reference library and replaces files by rename,
 * so a file may be saved over itself while it is mapped. */
#ifndef IO_SAFETENSORS_H
#define IO_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "io/file.h"

enum { SAFETENSORS_HEADER_MAX = 100000000 }; /* bytes, as the reference library */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are copied between memory and file as they are");

/* In the reference library's order, which is also the order of the data in a file, from the last to the first. */
typedef enum safetensors_dtype {
    SAFETENSORS_BOOL,
    SAFETENSORS_F4,
    SAFETENSORS_F6_E2M3,
    SAFETENSORS_F6_E3M2,
    SAFETENSORS_U8,
    SAFETENSORS_I8,
    SAFETENSORS_F8_E5M2,
    SAFETENSORS_F8_E4M3,
    SAFETENSORS_F8_E8M0,
    SAFETENSORS_F8_E4M3FNUZ,
    SAFETENSORS_F8_E5M2FNUZ,
    SAFETENSORS_I16,
    SAFETENSORS_U16,
    SAFETENSORS_F16,
    SAFETENSORS_BF16,
    SAFETENSORS_I32,
    SAFETENSORS_U32,
    SAFETENSORS_F32,
    SAFETENSORS_C64,
    SAFETENSORS_F64,
    SAFETENSORS_I64,
    SAFETENSORS_U64,
    SAFETENSORS_DTYPE_COUNT
} safetensors_dtype;

/* The name in the file, e.g. "BF16". */
const char *safetensors_dtype_name(safetensors_dtype dtype);
int safetensors_dtype_bits(safetensors_dtype dtype);

/* ---- reading ---- */

typedef struct safetensors_entry {
    const char *name; /* UTF-8 */
    const char *path; /* of the file, for messages */
    safetensors_dtype dtype;
    int dim_count;       /* 0: a scalar */
    const int64_t *dims; /* each >= 0 */
    int64_t count;       /* product of dims */
    const void *data;    /* in the mapping; may be unaligned */
    int64_t bytes;
} safetensors_entry;

typedef struct safetensors {
    safetensors_entry *entries; /* in byte order of their names */
    size_t count;
    /* owned */
    char *path;
    file_map map;
    json_t *header;   /* holds the names */
    json_t *metadata; /* inside the header: an object of strings; NULL: the file has none */
    int64_t *dims;    /* of all entries */
} safetensors;

/* On failure *f is empty and may be closed. Entries are valid until safetensors_close. */
dt_status safetensors_open(safetensors *f, const char *path, dt_error *err);
void safetensors_close(safetensors *f);

/* NULL when there is no such tensor. */
const safetensors_entry *safetensors_find(const safetensors *f, const char *name);

/* The value of a metadata key; NULL when there is none. */
const char *safetensors_metadata(const safetensors *f, const char *key);

/* All of a tensor as float: F16, BF16, F32 and F64 (rounded to nearest even). Other types are DT_ERR_SHAPE. Values that
 * are not finite are read as they are. */
dt_status safetensors_read_f32(float *out, const safetensors_entry *e, dt_error *err);

/* Integers and BOOL; U64 above INT64_MAX is DT_ERR_FORMAT, other types are DT_ERR_SHAPE. */
dt_status safetensors_read_i64(int64_t *out, const safetensors_entry *e, dt_error *err);

/* ---- writing ---- */

typedef struct safetensors_source {
    const char *name;        /* UTF-8, not "__metadata__" */
    safetensors_dtype dtype; /* as stored */
    int dim_count;
    const int64_t *dims;
    const float *values; /* for F32, BF16, F16: converted while writing, nearest even. NULL: `data` is used */
    const void *data;    /* raw bytes of `dtype`, little-endian, product(dims) values */
} safetensors_source;

typedef struct safetensors_pair {
    const char *key, *value; /* UTF-8 */
} safetensors_pair;

/* Replaces `path` by a file of these tensors (any order; written by type, then name) and metadata (kept in order).
 * `hash` (may be NULL) receives the SHA-256 of the file, taken while writing. DT_ERR_ARG: a name twice, a name that is
 * not UTF-8, a shape without a size, neither or both of values and data. */
dt_status safetensors_write(const char *path, const safetensors_source sources[], size_t count,
                            const safetensors_pair metadata[], size_t metadata_count, file_hash *hash, dt_error *err);

#endif
