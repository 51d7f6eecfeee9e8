/* What torch.save writes (pytorch/pytorch, torch/serialization.py), as a file of named tensors: the zip of version 1.6
 * and later, and the container before it. TorchScript archives and big-endian files are refused, and so is the tar of
 * version 0.1.9 and before.
 *
 * The saved object may be a tensor (its name is then "tensor"), or dictionaries, lists and tuples of tensors in any depth;
 * keys are texts or whole numbers. Everything else in it (numbers, an argparse.Namespace, any other object) is passed over
 * and never built. Texts in the outermost dictionary are the file's metadata. A tensor's strides are kept as they are;
 * tensors may share storages. */
#ifndef CONTAINER_PYTORCH_H
#define CONTAINER_PYTORCH_H

#include "container/pickle.h"
#include "container/tensor_file.h"
#include "container/tensor_source.h"

/* Below the zip's root folder: a record of our own, which torch.load does not look at, with a JSON object of texts that
 * are the file's metadata. */
#define PYTORCH_METADATA "extra/difftune.json"

/* Fill *f from its mapping. */
tensor_container pytorch_zip_container;
tensor_container pytorch_old_container;

typedef struct pytorch_key {
    const char *text; /* in the mapping; no zero byte follows it */
    size_t length;
} pytorch_key;

/* The bytes that a storage's key in the pickle stands for. */
typedef struct pytorch_storage {
    pytorch_key key;
    const unsigned char *data;
    uint64_t size;
    tensor_seal *seal; /* NULL in the older container */
} pytorch_storage;

typedef struct pytorch_storages {
    pytorch_storage *storage; /* sorted by pytorch_compare_keys */
    size_t count;
} pytorch_storages;

/* A persistent id of a pickle: a storage of `count` values, of which view_count from view_offset on are meant (fewer than
 * all in the older container only). */
typedef struct pytorch_storage_id {
    pytorch_key key;
    bool typed; /* otherwise a value is a byte */
    safetensors_dtype dtype;
    int64_t value_bytes, count, view_offset, view_count;
} pytorch_storage_id;

/* For qsort and bsearch of structures that begin with a key. */
int pytorch_compare_keys(const void *a, const void *b);

/* False when the value is no such id, or of a storage whose type is not known here. */
bool pytorch_read_storage_id(pytorch_storage_id *id, const pickle *p, pickle_ref value);

/* The class in the module torch of storages of a number type; NULL when there is none. */
const char *pytorch_storage_class(safetensors_dtype dtype);

/* Makes the file's entries and metadata of all tensors that the pickle's root leads to. */
dt_status pytorch_collect(tensor_file *f, const pickle *p, const pytorch_storages *storages, dt_error *err);

/* ---- writing ---- */

/* Replaces `path` by a zip that torch.load reads, with weights_only, as an OrderedDict of these tensors, in this order and
 * without more. `hash` (may be NULL) receives the SHA-256 of the file. DT_ERR_ARG: a name that is not UTF-8, a shape without
 * a size, a number type that torch.save has no storage for. */
dt_status pytorch_write(const char *path, const tensor_source sources[], size_t count, const metadata_pair metadata[],
                        size_t metadata_count, file_hash *hash, dt_error *err);

#endif
