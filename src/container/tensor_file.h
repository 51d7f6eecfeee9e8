/* An open file of named tensors, whatever its container: safetensors, or what torch.save writes (a zip, or the container
 * before it). The file is mapped and no value is copied until it is read. Nothing a file names is ever run.
 *
 * A tensor's name is the path of keys that leads to it, joined by dots: "blocks.0.attn.qkv.weight" in a plain state
 * dictionary, "ema.blocks.0.attn.qkv.weight" or "state_dict.module.conv1.weight" in a nested one. A caller that knows
 * what it wants narrows the file with tensor_file_enter and then sees plain names. */
#ifndef CONTAINER_TENSOR_FILE_H
#define CONTAINER_TENSOR_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/arena.h"
#include "base/error.h"
#include "container/dtype.h"
#include "file/file.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are copied between memory and file as they are");

enum { TENSOR_FILE_STRIDED_DIM_MAX = 64 }; /* dimensions of a tensor with strides, as PyTorch */

/* A checksum over bytes of the file, which whoever reads of them looks at once. */
typedef struct tensor_seal {
    const unsigned char *data;
    uint64_t size;
    uint32_t crc32;
    bool checked;
} tensor_seal;

typedef struct tensor_entry {
    const char *name; /* UTF-8 */
    const char *path; /* of the file, for messages */
    safetensors_dtype dtype;
    int dim_count;          /* 0: a scalar */
    const int64_t *dims;    /* each >= 0 */
    const int64_t *strides; /* between neighbours in each dimension, in values, >= 0; NULL: row-major without gaps */
    int64_t count;          /* product of dims */
    const void *data;       /* the first value, in the mapping; may be unaligned */
    int64_t bytes;          /* of `count` values; without strides they lie at `data` one after the other */
    tensor_seal *seal;      /* NULL: the container has no checksum */
} tensor_entry;

typedef struct tensor_file {
    const char *container; /* "safetensors", "pytorch zip" or "pytorch before zip" */
    tensor_entry *entries; /* in byte order of their names */
    size_t count;
    json_t *metadata; /* an object of strings; may be NULL */
    char *path;
    file_map map; /* the whole file */
    /* owned by the container's reader */
    tensor_entry *all_entries; /* what `entries` is narrowed from */
    json_t *header;            /* safetensors: holds names and metadata */
    int64_t *numbers;          /* safetensors: dims */
    arena memory;              /* others: names, dims and strides */
    tensor_seal *seals;        /* zip: one for each record */
    arena made;                /* what replaced entries need (tensor_file_replace) */
    file_hash made_hash;       /* of values that are not the file's (average/snapshots.h); empty: they are */
    struct tensor_file *part;  /* shards: the files that hold the tensors; `map` is empty */
    size_t part_count;
    /* Set by who keeps the file open as long as what is read from it: values may then be used where they lie. */
    bool in_place;
} tensor_file;

/* What a container's reader does: checks the mapping and fills container, entries (in any order) and metadata. */
typedef dt_status tensor_container(tensor_file *f, dt_error *err);

/* Opens a file that must be of this container (container/tensor_open.h opens one of any). On failure *f is empty and may be closed;
 * DT_ERR_FORMAT names file, tensor, expected and found. Entries are valid until tensor_file_close. */
dt_status tensor_file_open_as(tensor_file *f, const char *path, tensor_container *container, dt_error *err);
void tensor_file_close(tensor_file *f);

/* Narrows the file to the tensors whose names begin with `prefix`, e.g. "ema.", and takes the prefix off their names.
 * False, and nothing is changed, when there is no such tensor. */
bool tensor_file_enter(tensor_file *f, const char *prefix);

/* Puts other entries in place of the file's, made from them by somebody who knows another layout. Takes over `entries`
 * (calloc) and `made`, where their names and whatever of them is not in the file lie. DT_ERR_FORMAT for a name twice. */
dt_status tensor_file_replace(tensor_file *f, tensor_entry *entries, size_t count, const arena *made, dt_error *err);

/* Adds an entry to those of the file, which become others in memory; what it points at must stay. DT_ERR_FORMAT for a name that is
 * there. */
dt_status tensor_file_add(tensor_file *f, const tensor_entry *e, dt_error *err);

/* What the file is known by: the SHA-256 of its bytes; of shards, of their hashes; made_hash where there is one. Takes a pass over
 * all of it. */
void tensor_file_sha256(file_hash *out, const tensor_file *f);

/* NULL when there is no such tensor. */
const tensor_entry *tensor_file_find(const tensor_file *f, const char *name);

/* The value of a metadata key; NULL when there is none. */
const char *tensor_file_metadata(const tensor_file *f, const char *key);

bool tensor_same_shape(const tensor_entry *a, const tensor_entry *b);

/* The entry's values are these e->count ones now, f32 in memory that stays, with no checksum of the file. */
void tensor_take_values(tensor_entry *e, const float *values);

/* "[2,3,4]" for messages; of a shape too long for the text its first dimensions, then "..". */
enum { TENSOR_SHAPE_TEXT = 96 };
void tensor_describe_shape(char text[TENSOR_SHAPE_TEXT], int dim_count, const int64_t dims[]);

/* All of a tensor as float, row-major: F16, BF16, F32 and F64 (rounded to nearest even); other types are DT_ERR_SHAPE. The first
 * reading of bytes under a checksum checks it: DT_ERR_FORMAT. Values that are not finite are read as they are. */
dt_status tensor_read_f32(float *out, const tensor_entry *e, dt_error *err);

/* The same for values that must be finite, as weights and samples are: DT_ERR_FORMAT names the tensor and the value. */
dt_status tensor_read_finite(float *out, const tensor_entry *e, dt_error *err);

/* The same values where they lie, of F32 without gaps at a multiple of 4 bytes; NULL where they lie otherwise, and after a
 * failure. They are not to be written to. */
const float *tensor_in_place(const tensor_entry *e, dt_error *err);

/* Its stored bytes, of any type, with their checksum looked at; DT_ERR_UNSUPPORTED where they do not lie one after the other. */
const void *tensor_stored(const tensor_entry *e, dt_error *err);

/* Integers and BOOL, row-major; U64 above INT64_MAX is DT_ERR_FORMAT, other types are DT_ERR_SHAPE. */
dt_status tensor_read_i64(int64_t *out, const tensor_entry *e, dt_error *err);

#endif
