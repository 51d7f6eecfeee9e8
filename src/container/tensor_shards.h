/* A model whose tensors lie in several files, as Hugging Face's libraries write large ones: an index, NAME.index.json, says in
 * its object weight_map which file beside it holds which tensor. */
#ifndef CONTAINER_TENSOR_SHARDS_H
#define CONTAINER_TENSOR_SHARDS_H

#include "container/tensor_file.h"

/* Opens all files of the index as one file of tensors. DT_ERR_FORMAT for an index that is none, a name that leads out of
 * its folder, and a tensor that is not where the index has it; on failure *f is empty and may be closed. */
dt_status tensor_shards_open(tensor_file *f, const char *index, tensor_container *container, dt_error *err);

#endif
