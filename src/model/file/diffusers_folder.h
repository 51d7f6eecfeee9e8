/* A model as a folder of diffusers: config.json and the weights. */
#ifndef FILE_DIFFUSERS_FOLDER_H
#define FILE_DIFFUSERS_FOLDER_H

#include <jansson.h>

#include "base/error.h"
#include "container/tensor_source.h"

/* Reads config.json beside the weights, whose place becomes *path. NULL after a failure: DT_ERR_IO where there is none, which says
 * that nothing else tells `what`. */
json_t *diffusers_config_read(char path[DT_PATH_MAX], const char *weights, const char *what, dt_error *err);

/* DT_ERR_CONFLICT for a folder that holds anything but an earlier model of this layout: it is somebody else's. DT_ERR_IO for a path
 * that is too long. */
dt_status diffusers_folder_check(const char *path, dt_error *err);

/* Makes the folder beside and renames it, so that it is never there by halves; an earlier model in it is replaced. `config` is the
 * text of config.json; NULL (memory is out) is an error. */
dt_status diffusers_folder_write(const char *path, const char *config, const tensor_source sources[], size_t count,
                                 const metadata_pair metadata[], size_t metadata_count, dt_error *err);

#endif
