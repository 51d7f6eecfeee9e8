/* The safetensors file format (huggingface/safetensors): u64 little-endian header length, JSON header, raw
 * little-endian row-major data. The reader maps the file and believes nothing: every refusal is DT_ERR_FORMAT and names
 * file, tensor, expected and found. The writer makes the layout of the reference library and replaces files by rename,
 * so a file may be saved over itself while it is mapped. */
#ifndef CONTAINER_SAFETENSORS_H
#define CONTAINER_SAFETENSORS_H

#include "container/tensor_file.h"
#include "container/tensor_source.h"

enum { SAFETENSORS_HEADER_MAX = 100000000 }; /* bytes, as the reference library */

/* Fills *f from its mapping. */
tensor_container safetensors_container;

/* Opens a file that must be safetensors, as tensor_file_open_as. */
dt_status safetensors_open(tensor_file *f, const char *path, dt_error *err);

/* ---- writing ---- */

/* Replaces `path` by a file of these tensors (any order; written by type, then name) and metadata (kept in order).
 * `hash` (may be NULL) receives the SHA-256 of the file, taken while writing. DT_ERR_ARG: a name twice, a name that is
 * not UTF-8, a shape without a size, neither or both of values and data. */
dt_status safetensors_write(const char *path, const tensor_source sources[], size_t count,
                            const metadata_pair metadata[], size_t metadata_count, file_hash *hash, dt_error *err);

#endif
