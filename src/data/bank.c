#include "data/bank.h"

#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "base/say.h"
#include "container/safetensors.h"
#include "file/json_file.h"
#include "file/names.h"

enum { MANIFEST_KEYS = 3 /* without "wanted" */ };

json_t *bank_manifest_read(const char *folder, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, MANIFEST_FILE);
    json_t *manifest = json_file_read_sealed(path, err);
    const json_t *wanted = json_object_get(manifest, BANK_WANTED);
    if (!strcmp(json_text_at(manifest, "format"), BANK_FORMAT) && json_is_array(json_object_get(manifest, "shards")) &&
        json_is_object(json_object_get(manifest, "drawing")) &&
        json_object_size(manifest) == MANIFEST_KEYS + (wanted != NULL) && (!wanted || json_is_integer(wanted)))
        return manifest;
    error_set(err, DT_ERR_FORMAT, "%s: not a manifest of \"" BANK_FORMAT "\"", path);
    json_decref(manifest);
    return NULL;
}

int64_t bank_manifest_count(const json_t *manifest)
{
    size_t i;
    const json_t *shard;
    int64_t count = 0;
    json_array_foreach(json_object_get(manifest, "shards"), i, shard) count +=
        json_integer_value(json_object_get(shard, "count"));
    return count;
}

/* ---- shards ---- */

static bool has_shape(const tensor_entry *e, safetensors_dtype dtype, int dim_count, const int64_t dim[])
{
    bool same = e->dim_count == dim_count + 1 && e->dtype == dtype;
    for (int i = 0; same && i < dim_count; i++) same = e->dims[i + 1] == dim[i];
    return same;
}

/* Appends the rows of tensor `name`, each of shape dim[], to *values, which holds `count` rows. */
static dt_status append(float **values, int64_t count, const tensor_file *f, const char *name, int dim_count,
                        const int64_t dim[], dt_error *err)
{
    int64_t each = 1;
    char shape[TENSOR_SHAPE_TEXT];
    for (int i = 0; i < dim_count; i++) each *= dim[i];
    tensor_describe_shape(shape, dim_count, dim);
    const tensor_entry *e = tensor_file_find(f, name), *x = tensor_file_find(f, "x");
    if (!e || !has_shape(e, SAFETENSORS_F32, dim_count, dim) || e->dims[0] != x->dims[0])
        return error_set(err, DT_ERR_SHAPE, "%s: a tensor %s [n,%s of F32 is expected", f->path, name, shape + 1);
    float *grown = realloc(*values, (size_t)((count + e->dims[0]) * each) * sizeof *grown);
    if (!grown)
        return error_set(err, DT_ERR_MEMORY, "%s: no memory for %lld samples", f->path,
                         (long long)(count + e->dims[0]));
    *values = grown;
    return tensor_read_finite(grown + count * each, e, err);
}

/* Rows of a table stay in their file. A control may be kept as maps of bytes [n,H,W,C], in all shards or in none. */
static dt_status append_table(example_table *t, int64_t count, const tensor_file *f, const char *name, dt_error *err)
{
    const tensor_entry *e = tensor_file_find(f, name), *x = tensor_file_find(f, "x");
    char shape[TENSOR_SHAPE_TEXT];
    if (!t->dim_count) return DT_OK;
    if (!e)
        return error_set(err, DT_ERR_SHAPE, "%s: a bank without %s, which the model is told; difftune bank can draw it",
                         f->path, name);
    tensor_describe_shape(shape, t->dim_count, t->dim);
    if (count == 0 && e->dtype == SAFETENSORS_U8 && t->dim_count == 3 && e->dim_count == 4)
        t->map_channels = e->dims[3] == 1 ? 1 : t->dim[0];
    const int64_t map[] = {t->dim[1], t->dim[2], t->map_channels};
    const bool maps = t->map_channels > 0;
    const void *rows = NULL;
    if (e->dims[0] == x->dims[0] &&
        has_shape(e, maps ? SAFETENSORS_U8 : SAFETENSORS_F32, t->dim_count, maps ? map : t->dim))
        rows = maps ? e->data : tensor_in_place(e, err);
    if (err->status == DT_OK && !rows)
        error_set(err, DT_ERR_SHAPE, "%s: a tensor %s [n,%s of F32 is expected", f->path, name, shape + 1);
    return rows ? example_table_append(t, rows, e->dims[0], example_table_row_bytes(t), err) : err->status;
}

/* Tables point into it. */
static dt_status keep_shard(examples *b, tensor_file *f, dt_error *err)
{
    tensor_file *list = grow_array(b->shard, b->shard_count, sizeof *list);
    if (!list) return error_set(err, DT_ERR_MEMORY, "%s: no memory to keep it open", f->path);
    b->shard = list;
    list[b->shard_count++] = *f;
    *f = (tensor_file){0};
    return DT_OK;
}

static dt_status append_shard(examples *b, const char *folder, const json_t *shard, dt_error *err)
{
    char path[DT_PATH_MAX];
    const char *name = json_string_value(json_object_get(shard, "file"));
    const char *expected = json_string_value(json_object_get(shard, "sha256"));
    if (!name || !expected || strchr(name, '/'))
        return error_set(err, DT_ERR_FORMAT, "%s/manifest.json: a shard lacks its file or sha256", folder);
    file_join(path, folder, name);
    tensor_file f;
    file_hash hash;
    if (safetensors_open(&f, path, err) != DT_OK) return err->status;
    file_map_sha256(&hash, &f.map);
    if (strcmp(hash.hex, expected))
        error_set(err, DT_ERR_FORMAT, "%s: SHA-256 is not the manifest's", path);
    else if (append(&b->x, b->count, &f, "x", 3, (int64_t[]){b->shape.channels, b->shape.height, b->shape.width},
                    err) == DT_OK &&
             append_table(&b->context, b->count, &f, "context", err) == DT_OK &&
             append_table(&b->control, b->count, &f, "control", err) == DT_OK)
        b->count += tensor_file_find(&f, "x")->dims[0];
    if (err->status == DT_OK && (b->context.dim_count || b->control.dim_count)) keep_shard(b, &f, err);
    tensor_file_close(&f);
    return err->status;
}

/* A file named again and again would fill the memory. */
static dt_status check_named_once(json_t *seen, const char *folder, const json_t *shard, dt_error *err)
{
    const char *name = json_string_value(json_object_get(shard, "file"));
    if (name && json_object_get(seen, name))
        return error_set(err, DT_ERR_FORMAT, "%s/manifest.json: %s is there twice", folder, name);
    if (name && json_object_set_new(seen, name, json_true()) != 0)
        error_set(err, DT_ERR_MEMORY, "%s: no memory to list its shards", folder);
    return err->status;
}

/* Whoever trains on an unfinished bank is told. How many were wanted is no part of what a bank is. */
static void take_wanted(json_t *manifest, const examples *b, const char *folder, const data_watcher *watch)
{
    const json_int_t wanted = json_integer_value(json_object_get(manifest, BANK_WANTED));
    if (wanted > b->count)
        say(watch->log, watch->user, "bank %s is unfinished: %lld of %lld images; the same 'bank' command goes on",
            folder, (long long)b->count, (long long)wanted);
    json_object_del(manifest, BANK_WANTED);
}

static dt_status open_shards(ctx *c, examples *b, const char *folder, const char *base_sha256,
                             const data_watcher *watch)
{
    dt_error *err = &c->error;
    json_t *manifest = bank_manifest_read(folder, err);
    if (!manifest) return err->status;
    const char *base = json_string_value(json_object_get(json_object_get(manifest, "drawing"), "base_sha256"));
    if (base_sha256 && (!base || strcmp(base, base_sha256)))
        error_set(err, DT_ERR_CONFLICT, "%s: this bank was drawn from another base model (sha256 %.12s.., not %.12s..)",
                  folder, base ? base : "?", base_sha256);
    size_t i;
    json_t *shard, *seen = json_object();
    json_array_foreach(json_object_get(manifest, "shards"), i, shard)
    {
        if (check_named_once(seen, folder, shard, err) == DT_OK && ctx_go_on(c)) append_shard(b, folder, shard, err);
    }
    json_decref(seen);
    if (err->status == DT_OK && b->count == 0) error_set(err, DT_ERR_FORMAT, "%s: the bank is empty", folder);
    take_wanted(manifest, b, folder, watch);
    char *text = json_text_of(manifest, JSON_SORT_KEYS);
    if (text) {
        file_hash hash;
        file_sha256_bytes(&hash, text, strlen(text));
        memcpy(b->sha256, hash.hex, sizeof b->sha256);
    }
    if (!text) error_set(err, DT_ERR_MEMORY, "%s: no memory for its manifest", folder);
    free(text);
    json_decref(manifest);
    return err->status;
}

/* An empty bank with the shapes that this denoiser wants. */
static examples bank_of(const denoiser *d, const codec *k)
{
    examples b = {.kind = EXAMPLES_VALUES, .codec = k, .shape = d->shape};
    if (d->context_tokens) b.context = (example_table){.dim_count = 2, .dim = {d->context_tokens, d->context_width}};
    if (d->control.channels)
        b.control = (example_table){.dim_count = 3, .dim = {d->control.channels, d->control.height, d->control.width}};
    return b;
}

/* The released code's bank: pictures in folders, whose labels are not used. */
static dt_status open_pictures(ctx *c, examples *b, const char *path, const denoiser *d, const examples_options *o)
{
    examples_options unlabelled = *o;
    unlabelled.class_name = NULL;
    unlabelled.class_count = 0;
    if (o->codec->channels != d->shape.channels)
        return error_set(&c->error, DT_ERR_SHAPE, "%s: a bank of pictures has %lld channels for a model of %lld", path,
                         (long long)o->codec->channels, (long long)d->shape.channels);
    if ((d->context_tokens || d->control.channels) && !o->told)
        return error_set(&c->error, DT_ERR_UNSUPPORTED, "%s: pictures alone are no bank for a %s, which is told more",
                         path, d->ops->kind);
    return examples_open(c, b, path, &unlabelled);
}

dt_status bank_open(ctx *c, examples *b, const char *path, const denoiser *d, const char *base_sha256,
                    const examples_options *options)
{
    char manifest[DT_PATH_MAX];
    *b = (examples){0};
    file_join(manifest, path, MANIFEST_FILE);
    if (file_exists(manifest)) {
        *b = bank_of(d, options->codec);
        open_shards(c, b, path, base_sha256, &options->watch);
    } else {
        open_pictures(c, b, path, d, options);
    }
    if (ctx_failed(c)) examples_close(b);
    return c->error.status;
}
