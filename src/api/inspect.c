/* What is in a model file, bank, run folder or cache folder, as JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/adapter_file.h"
#include "adapter/lora_file.h"
#include "api/api.h"
#include "container/tensor_open.h"
#include "data/shard_cache.h"
#include "file/folder.h"
#include "file/json_file.h"
#include "file/names.h"
#include "model/maker.h"
#include "model/weight_distance.h"
#include "rank/rank.h"

static json_t *describe_tensor(const tensor_entry *e)
{
    json_t *shape = json_array();
    for (int i = 0; i < e->dim_count; i++) json_add(&shape, json_integer(e->dims[i]));
    return json_pack("{s:s, s:o}", "dtype", safetensors_dtype_name(e->dtype), "shape", shape);
}

static json_t *describe_weights(const char *path, dt_error *err)
{
    tensor_file f;
    file_hash hash;
    if (tensor_file_open(&f, path, err) != DT_OK) return NULL;
    json_t *tensors = json_object(), *metadata = f.metadata ? json_deep_copy(f.metadata) : json_object();
    int64_t values = 0;
    for (size_t i = 0; i < f.count; i++) {
        json_put(&tensors, f.entries[i].name, describe_tensor(&f.entries[i]));
        values += f.entries[i].count;
    }
    tensor_file_sha256(&hash, &f);
    const char *joins = adapter_kind_of_file(&f);
    json_t *out = JSON_OBJECT({"kind", json_string(f.container)}, {"path", json_string(path)},
                              {"sha256", json_string(hash.hex)}, {"tensor_count", json_integer((json_int_t)f.count)},
                              {"value_count", json_integer(values)}, {"metadata", metadata}, {"tensors", tensors});
    if (joins) json_put(&out, "adapter", json_string(joins));
    tensor_file_close(&f);
    return out;
}

static bool has(const char *folder, const char *name, char path[DT_PATH_MAX])
{
    file_join(path, folder, name);
    return file_exists(path);
}

static json_t *describe_run(const char *folder, const char *run_json, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_names names = {0};
    json_t *run = json_file_read(run_json, err), *checkpoints = json_array(), *final = NULL;
    if (run && has(folder, "checkpoints", path) && file_list(&names, path, err) == DT_OK)
        for (size_t i = 0; i < names.count; i++) json_add(&checkpoints, json_string(names.name[i]));
    file_names_free(&names);
    if (run && (has(folder, "final/model.safetensors", path) || adapter_path(path, folder, DT_FILE_WEIGHTS_AUTO)))
        final = describe_weights(path, err);
    return json_pack("{s:s, s:s, s:o*, s:o, s:o*}", "kind", "run", "path", folder, "run", run, "checkpoints",
                     checkpoints, "final", final);
}

static json_t *describe(const char *path, dt_error *err)
{
    char inside[DT_PATH_MAX];
    if (!file_is_folder(path)) return describe_weights(path, err);
    if (has(path, ADAPTER_WEIGHTS, inside) || has(path, LORA_PIPELINE_WEIGHTS, inside))
        return describe_weights(inside, err);
    if (has(path, RUN_FILE, inside)) return describe_run(path, inside, err);
    json_t *cached = shard_cache_describe(path, err);
    if (cached) return cached;
    if (has(path, MANIFEST_FILE, inside))
        return json_pack("{s:s, s:s, s:o*}", "kind", "bank or checkpoint", "path", path, "manifest",
                         json_file_read(inside, err));
    if (model_path(inside, path, err) == DT_OK) return describe_weights(inside, err);
    error_clear(err);
    error_set(
        err, DT_ERR_FORMAT,
        "%s: neither a model file nor a folder with run.json, manifest.json, encoded images or diffusers' weights",
        path);
    return NULL;
}

/* ---- one against another ---- */

/* Of adapters their own tensors are compared, of models the network's, with adapters joined. */
static bool is_adapter(const char *path)
{
    char inside[DT_PATH_MAX];
    tensor_file f;
    dt_error unreadable = {0};
    bool joins = false;
    if (file_is_folder(path)) return adapter_path_of_any(inside, path, DT_FILE_WEIGHTS_AUTO);
    if (tensor_file_open(&f, path, &unreadable) != DT_OK) return false;
    joins = adapter_kind_of_file(&f) != NULL;
    tensor_file_close(&f);
    return joins;
}

/* A file of adapters has no network to be narrowed to, but names of PEFT's, which those of a checkpoint are not. */
static dt_status open_weights(model_file *f, const char *path, bool adapters, dt_error *err)
{
    char inside[DT_PATH_MAX];
    *f = (model_file){0};
    if (!adapters) return model_file_open(f, path, model_kinds_files, err);
    if (!file_is_folder(path) || !adapter_path_of_any(inside, path, DT_FILE_WEIGHTS_AUTO))
        snprintf(inside, sizeof inside, "%s", path);
    if (tensor_file_open(&f->tensors, inside, err) == DT_OK) tensor_file_enter(&f->tensors, PEFT_PREFIX);
    return err->status;
}

/* Sum of the squared differences of two tensors of one shape. */
static double squares_between(ctx *c, const tensor_entry *a, const tensor_entry *b)
{
    double sum = 0;
    const arena_place mark = arena_mark(&c->scratch);
    float *x = arena_alloc(&c->scratch, (size_t)a->count * sizeof *x, &c->error);
    float *y = arena_alloc(&c->scratch, (size_t)a->count * sizeof *y, &c->error);
    if (x && y && tensor_read_finite(x, a, &c->error) == DT_OK && tensor_read_finite(y, b, &c->error) == DT_OK)
        for (int64_t i = 0; i < a->count; i++) {
            const double d = (double)x[i] - (double)y[i];
            sum += d * d;
        }
    arena_release(&c->scratch, mark);
    return sum;
}

static json_t *compare_weights(ctx *c, const tensor_file *a, const tensor_file *b, const char *path, const char *other)
{
    weight_distance d = {0};
    for (size_t i = 0; i < a->count && ctx_go_on(c); i++) {
        const tensor_entry *mine = &a->entries[i], *its = tensor_file_find(b, mine->name);
        if (its && tensor_same_shape(mine, its))
            weight_distance_add(&d, mine->name, squares_between(c, mine, its), mine->count);
        else
            d.left_out += mine->count;
    }
    if (!ctx_failed(c) && d.whole.values == 0)
        error_set(&c->error, DT_ERR_SHAPE,
                  "%s and %s have no weights of the same names; adapters of two programs are compared where one is "
                  "converted as the other is (save_adapter_as)",
                  path, other);
    if (ctx_failed(c)) return NULL;
    json_t *out = weight_distance_json(&d);
    json_put(&out, "path", json_string(path));
    json_put(&out, "against", json_string(other));
    return out;
}

dt_status dt_compare(dt_context *c, const char *path, const char *other, char **json)
{
    model_file a = {0}, b = {0};
    json_t *value = NULL;
    *json = NULL;
    if (api_enter_alone(c) != DT_OK) return api_leave(c);
    const bool adapters = is_adapter(path) && is_adapter(other);
    if (open_weights(&a, path, adapters, &c->error) == DT_OK && open_weights(&b, other, adapters, &c->error) == DT_OK)
        value = compare_weights(c, &a.tensors, &b.tensors, path, other);
    model_file_close(&a);
    model_file_close(&b);
    if (!ctx_failed(c)) *json = json_text_of(value, JSON_INDENT(1));
    json_decref(value);
    if (!ctx_failed(c) && !*json) error_set(&c->error, DT_ERR_MEMORY, "%s: no memory to compare it", path);
    return api_leave(c);
}

dt_status dt_inspect(dt_context *c, const char *path, char **json)
{
    *json = NULL;
    if (api_enter_alone(c) != DT_OK) return api_leave(c);
    json_t *value = describe(path, &c->error);
    if (!ctx_failed(c)) *json = json_text_of(value, JSON_INDENT(1));
    json_decref(value);
    if (!ctx_failed(c) && !*json) error_set(&c->error, DT_ERR_MEMORY, "%s: no memory to describe it", path);
    return api_leave(c);
}
