/* What a model file says about itself, whatever network is in it. */
#ifndef FILE_MODEL_INFO_H
#define FILE_MODEL_INFO_H

#include "container/tensor_file.h"

typedef struct model_info {
    char sha256[65];   /* of the whole file; empty where it was not asked for */
    json_t *metadata;  /* an object of texts; may be NULL */
    char **class_name; /* from metadata "difftune.classes" (JSON list); NULL: the file does not say */
    int64_t class_name_count;
} model_info;

/* The hash takes a pass over the file, the rest nothing. DT_ERR_FORMAT for a list of classes that has not class_count
 * names; of a network without classes it is passed over. Free it with model_info_free, also after a failure. */
dt_status model_info_read(model_info *info, const tensor_file *f, int64_t class_count, bool hash, dt_error *err);
void model_info_free(model_info *info);

#endif
