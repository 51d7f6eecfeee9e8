/* Files of named tensors in whatever container: the one place that knows all readers. */
#ifndef CONTAINER_TENSOR_OPEN_H
#define CONTAINER_TENSOR_OPEN_H

#include "container/tensor_file.h"

/* Opens a file of any container, told by its first bytes, or the shards of an index (.json). On failure *f is empty and may
 * be closed; DT_ERR_FORMAT names file, tensor, expected and found. Entries are valid until tensor_file_close. */
dt_status tensor_file_open(tensor_file *f, const char *path, dt_error *err);

#endif
