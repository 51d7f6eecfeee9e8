#include "model/sd/unet_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container/safetensors.h"
#include "file/json_file.h"
#include "model/sd/unet_config.h"

#define CLASS_TOKENS "class_tokens.weight"

static const params_words words = {"a UNet with diffusers' names", "a UNet of this configuration"};

bool unet_file_fits(const tensor_file *f)
{
    return tensor_file_find(f, "time_embedding.linear_1.weight") && tensor_file_find(f, "conv_out.weight");
}

/* ---- configuration ---- */

static dt_status put_metadata(tensor_file *f, const char *key, json_t *value, dt_error *err)
{
    if (!f->metadata) f->metadata = json_object();
    if (json_object_set_new(f->metadata, key, value) != 0)
        error_set(err, DT_ERR_MEMORY, "%s: no memory for its metadata", f->path);
    return err->status;
}

static dt_status put_config(tensor_file *f, const unet_config *k, dt_error *err)
{
    json_t *object = unet_config_json(k, true);
    char *text = json_text_of(object, JSON_COMPACT);
    json_decref(object);
    put_metadata(f, MODEL_UNET, text ? json_string(text) : NULL, err);
    free(text);
    return err->status;
}

/* Other heads than an asked-for number are found by whoever asked. */
static dt_status put_heads(tensor_file *f, const unet_config *k, dt_error *err)
{
    char number[24];
    for (int64_t i = 1; i < k->level_count; i++)
        if (k->heads[i] != k->heads[0]) return err->status;
    snprintf(number, sizeof number, "%lld", (long long)k->heads[0]);
    return put_metadata(f, MODEL_HEADS, json_string(number), err);
}

static dt_status read_beside(unet_config *k, const tensor_file *f, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_beside(path, f->path, DIFFUSERS_CONFIG);
    if (!file_exists(path))
        return error_set(err, DT_ERR_IO,
                         "%s has diffusers' names, so %s is needed beside it: nothing else says the configuration",
                         f->path, path);
    json_t *object = json_file_read(path, err);
    if (object) unet_config_read(k, object, path, err);
    json_decref(object);
    return err->status;
}

dt_status unet_file_view(tensor_file *f, dt_error *err)
{
    unet_config k;
    const char *said = tensor_file_metadata(f, MODEL_UNET);
    if ((said ? unet_config_parse(&k, said, f->path, err) : read_beside(&k, f, err)) != DT_OK) return err->status;
    if (!said && put_config(f, &k, err) != DT_OK) return err->status;
    if (put_heads(f, &k, err) == DT_OK) unet_file_config(&k, f, err);
    return err->status;
}

int64_t unet_file_classes(const tensor_file *f)
{
    const tensor_entry *table = tensor_file_find(f, CLASS_TOKENS);
    return table ? table->dims[0] - 1 : 0;
}

dt_status unet_file_config(unet_config *k, const tensor_file *f, dt_error *err)
{
    const char *said = tensor_file_metadata(f, MODEL_UNET);
    const tensor_entry *table = tensor_file_find(f, CLASS_TOKENS);
    if (unet_config_parse(k, said, f->path, err) != DT_OK) return err->status;
    if (table && (table->dim_count != 2 || table->dims[0] < 2 || table->dims[1] != k->context_width))
        return error_set(err, DT_ERR_SHAPE, "%s: tensor " CLASS_TOKENS " has no shape [classes + 1, %lld]", f->path,
                         (long long)k->context_width);
    k->class_count = unet_file_classes(f);
    return unet_config_check(k, f->path, err);
}

/* ---- reading ---- */

dt_status unet_load(ctx *c, unet *m, const tensor_file *f, const model_info *info, const label_start *labels)
{
    unet_config k;
    if (unet_file_config(&k, f, &c->error) != DT_OK) return c->error.status;
    const bool relabel = k.class_count && labels && !label_table_fits(labels, info, k.class_count);
    if (relabel) k.class_count = labels->class_count;
    if (unet_open(c, m, &k) != DT_OK || params_refuse_strangers(&m->params, f, &words, &c->error) != DT_OK)
        return c->error.status;
    for (int i = 0; i < m->params.count && !ctx_failed(c); i++) {
        const param *row = &m->params.row[i];
        if (relabel && row->tensor == m->class_tokens)
            label_table_start(c, row, tensor_file_find(f, row->name), labels, info);
        else
            params_read_row(c, row, f, &words);
    }
    params_round(c, &m->params);
    return c->error.status;
}

/* ---- writing ---- */

/* What a file is made from; lives in the scratch arena. */
typedef struct contents {
    tensor_source *source;
    size_t source_count;
    metadata_pair *pair;
    size_t pair_count;
    char *config; /* freed */
} contents;

static bool is_ours(const char *key)
{
    return !strcmp(key, MODEL_UNET) || !strcmp(key, MODEL_HEADS);
}

static dt_status gather(contents *k, ctx *c, const unet *m, const denoiser_file *f)
{
    *k = (contents){.source_count = (size_t)m->params.count};
    k->source = arena_alloc_zeroed(&c->scratch, k->source_count * sizeof *k->source, &c->error);
    k->pair = arena_alloc(&c->scratch, (f->metadata_count + 1) * sizeof *k->pair, &c->error);
    if (ctx_failed(c) ||
        params_sources(c, k->source, &m->params, f->values, params_file_dtype(f->dtype), f->stops) != DT_OK)
        return c->error.status;
    json_t *object = unet_config_json(&m->config, true);
    k->config = json_text_of(object, JSON_COMPACT);
    json_decref(object);
    if (!k->config) return error_set(&c->error, DT_ERR_MEMORY, "%s: no memory to write it", f->path);
    for (size_t i = 0; i < f->metadata_count; i++)
        if (!is_ours(f->metadata[i].key)) k->pair[k->pair_count++] = f->metadata[i];
    k->pair[k->pair_count++] = (metadata_pair){MODEL_UNET, k->config};
    return DT_OK;
}

dt_status unet_write(ctx *c, const unet *m, const denoiser_file *f)
{
    contents k;
    const arena_place mark = arena_mark(&c->scratch);
    if (f->format != DT_MODEL_SAFETENSORS)
        return error_set(&c->error, DT_ERR_UNSUPPORTED, "%s: a UNet is written as safetensors only", f->path);
    if (gather(&k, c, m, f) == DT_OK)
        safetensors_write(f->path, k.source, k.source_count, k.pair, k.pair_count, f->hash, &c->error);
    free(k.config);
    arena_release(&c->scratch, mark);
    return c->error.status;
}
