#include "container/tensor_shards.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/json_file.h"

enum { SHARDS_MAX = 4096 };

/* model_index.json, config.json and their kind lie beside tensors or above them. */
static dt_status refuse_description(const tensor_file *f, const json_t *object, dt_error *err)
{
    const char *class = json_string_value(json_object_get(object, "_class_name"));
    if (!class || json_object_get(object, "weight_map")) return err->status;
    return error_set(err, DT_ERR_FORMAT, "%s: describes a %.64s of diffusers and holds no tensors; give its folder",
                     f->path, class);
}

static dt_status refuse(const tensor_file *f, dt_error *err)
{
    return error_set(err, DT_ERR_FORMAT, "%s: no index of shards: an object weight_map of names of files expected",
                     f->path);
}

/* The names of the files, once each, in byte order: keys of an object, whose values are counts of tensors. */
static json_t *list_files(const tensor_file *f, const json_t *map, dt_error *err)
{
    json_t *files = json_object();
    const char *tensor;
    json_t *value;
    if (!json_is_object(map) || json_object_size(map) == 0) refuse(f, err);
    json_object_foreach((json_t *)map, tensor, value)
    {
        const char *name = json_string_value(value);
        if (!name || !name[0] || strchr(name, '/') || !strcmp(name, ".."))
            refuse(f, err);
        else
            json_put(&files, name, json_true());
    }
    if (!files) error_set(err, DT_ERR_MEMORY, "%s: no memory for the names of its files", f->path);
    if (err->status == DT_OK && json_object_size(files) > SHARDS_MAX) refuse(f, err);
    return files;
}

static dt_status open_parts(tensor_file *f, const json_t *files, tensor_container *container, dt_error *err)
{
    const char *slash = strrchr(f->path, '/'), *name;
    json_t *value;
    f->part = calloc(json_object_size(files) + 1, sizeof *f->part);
    if (!f->part) return error_set(err, DT_ERR_MEMORY, "%s: no memory for its shards", f->path);
    json_object_foreach((json_t *)files, name, value)
    {
        char path[DT_PATH_MAX];
        const int length = slash ? (int)(slash + 1 - f->path) : 0;
        if (snprintf(path, sizeof path, "%.*s%s", length, f->path, name) >= (int)sizeof path)
            return error_set(err, DT_ERR_IO, "%s: the path of %s is too long", f->path, name);
        if (tensor_file_open_as(&f->part[f->part_count++], path, container, err) != DT_OK) return err->status;
    }
    return DT_OK;
}

/* Copies of all parts' entries, which stay in the parts. */
static dt_status gather(tensor_file *f, dt_error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < f->part_count; i++) count += f->part[i].count;
    tensor_entry *all = calloc(count + 1, sizeof *all);
    if (!all) return error_set(err, DT_ERR_MEMORY, "%s: no memory for its tensors", f->path);
    count = 0;
    for (size_t i = 0; i < f->part_count; i++) {
        if (f->part[i].count) memcpy(all + count, f->part[i].entries, f->part[i].count * sizeof *all);
        count += f->part[i].count;
    }
    return tensor_file_replace(f, all, count, &(arena){0}, err);
}

static dt_status check_map(const tensor_file *f, const json_t *map, dt_error *err)
{
    const char *tensor;
    json_t *value;
    json_object_foreach((json_t *)map, tensor, value)
    {
        const tensor_entry *e = tensor_file_find(f, tensor);
        const char *name = json_string_value(value), *slash = e ? strrchr(e->path, '/') : NULL;
        if (!e || strcmp(slash ? slash + 1 : e->path, name))
            return error_set(err, DT_ERR_FORMAT, "%s: tensor %s is not in %s", f->path, tensor, name);
    }
    return DT_OK;
}

dt_status tensor_shards_open(tensor_file *f, const char *index, tensor_container *container, dt_error *err)
{
    *f = (tensor_file){.path = strdup(index), .container = "shards"};
    if (!f->path) return error_set(err, DT_ERR_MEMORY, "no memory to open %s", index);
    json_t *object = json_file_read(index, err), *map = json_object_get(object, "weight_map");
    json_t *files = refuse_description(f, object, err) == DT_OK ? list_files(f, map, err) : NULL;
    if (err->status == DT_OK && open_parts(f, files, container, err) == DT_OK && gather(f, err) == DT_OK)
        check_map(f, map, err);
    if (err->status == DT_OK) f->metadata = json_deep_copy(f->part[0].metadata);
    if (err->status == DT_OK && f->part[0].metadata && !f->metadata)
        error_set(err, DT_ERR_MEMORY, "%s: no memory for its metadata", f->path);
    json_decref(files);
    json_decref(object);
    if (err->status != DT_OK) tensor_file_close(f);
    return err->status;
}
