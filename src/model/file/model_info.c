#include "model/file/model_info.h"

#include <stdlib.h>
#include <string.h>

#include "file/json_file.h"
#include "model/file/of_run.h"

void model_info_free(model_info *info)
{
    json_decref(info->metadata);
    for (int64_t i = 0; i < info->class_name_count; i++) free(info->class_name[i]);
    free(info->class_name);
    *info = (model_info){0};
}

static void read_names(model_info *info, const json_t *list, const char *path, dt_error *err)
{
    const size_t count = json_array_size(list);
    info->class_name = calloc(count + 1, sizeof *info->class_name);
    if (!info->class_name) error_set(err, DT_ERR_MEMORY, "%s: no memory for the names of its classes", path);
    for (size_t i = 0; i < count && err->status == DT_OK; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        info->class_name[i] = strdup(name ? name : "");
        info->class_name_count = (int64_t)i + 1;
        if (!info->class_name[i]) error_set(err, DT_ERR_MEMORY, "%s: no memory for the names of its classes", path);
    }
}

dt_status model_info_read(model_info *info, const tensor_file *f, int64_t class_count, bool hash, dt_error *err)
{
    *info = (model_info){.metadata = json_deep_copy(f->metadata)};
    if (hash) {
        file_hash sum;
        tensor_file_sha256(&sum, f);
        memcpy(info->sha256, sum.hex, sizeof info->sha256);
    }
    if (f->metadata && !info->metadata) error_set(err, DT_ERR_MEMORY, "%s: no memory for its metadata", f->path);
    const char *text = tensor_file_metadata(f, MODEL_CLASSES);
    /* A network without classes may have been trained on class folders, whose names are no business of its own. */
    if (!text || class_count == 0 || err->status != DT_OK) return err->status;
    json_error_t where;
    json_t *list = json_text_read(text, strlen(text), &where, f->path, err);
    if (!json_is_array(list) || (int64_t)json_array_size(list) != class_count)
        error_set(err, DT_ERR_FORMAT, "%s: metadata difftune.classes is not a list of %lld names", f->path,
                  (long long)class_count);
    else
        read_names(info, list, f->path, err);
    json_decref(list);
    return err->status;
}
