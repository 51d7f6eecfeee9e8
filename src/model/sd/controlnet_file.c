#include "model/sd/controlnet_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container/safetensors.h"
#include "file/json_file.h"
#include "model/file/diffusers_folder.h"
#include "model/file/kind.h"
#include "model/file/params_file.h"
#include "model/sd/controlnet_config.h"

static const params_words words = {"a ControlNet with diffusers' names", "a ControlNet of this configuration"};

bool controlnet_file_fits(const tensor_file *f)
{
    return tensor_file_find(f, "controlnet_cond_embedding.conv_in.weight") != NULL;
}

/* ---- reading ---- */

dt_status controlnet_file_config(controlnet_config *k, const tensor_file *f, dt_error *err)
{
    char path[DT_PATH_MAX];
    const char *said = tensor_file_metadata(f, MODEL_CONTROLNET);
    if (said) return controlnet_config_parse(k, said, f->path, err);
    file_beside(path, f->path, DIFFUSERS_CONFIG);
    if (!file_exists(path))
        return error_set(err, DT_ERR_IO,
                         "%s has diffusers' names, so %s is needed beside it: nothing else says the configuration",
                         f->path, path);
    json_t *object = json_file_read(path, err);
    if (object) controlnet_config_read(k, object, path, err);
    json_decref(object);
    return err->status;
}

dt_status controlnet_load(ctx *c, controlnet *m, const tensor_file *f)
{
    controlnet_config k;
    if (controlnet_file_config(&k, f, &c->error) != DT_OK || controlnet_open(c, m, &k) != DT_OK ||
        params_refuse_strangers(&m->params, f, &words, &c->error) != DT_OK)
        return c->error.status;
    for (int i = 0; i < m->params.count && !ctx_failed(c); i++) params_read_row(c, &m->params.row[i], f, &words);
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
    return !strcmp(key, MODEL_CONTROLNET) || !strcmp(key, CONTROLNET_BASE);
}

static dt_status gather(contents *k, ctx *c, const controlnet *m, const char *base_sha256, const denoiser_file *f)
{
    const bool folder = f->format == DT_MODEL_DIFFUSERS;
    *k = (contents){.source_count = (size_t)m->params.count};
    k->source = arena_alloc_zeroed(&c->scratch, k->source_count * sizeof *k->source, &c->error);
    k->pair = arena_alloc(&c->scratch, (f->metadata_count + 2) * sizeof *k->pair, &c->error);
    if (ctx_failed(c) ||
        params_sources(c, k->source, &m->params, f->values, params_file_dtype(f->dtype), f->stops) != DT_OK)
        return c->error.status;
    json_t *object = controlnet_config_json(&m->config);
    k->config = json_text_of(object, folder ? JSON_INDENT(2) : JSON_COMPACT);
    json_decref(object);
    if (!k->config) return error_set(&c->error, DT_ERR_MEMORY, "%s: no memory to write it", f->path);
    for (size_t i = 0; i < f->metadata_count; i++)
        if (!is_ours(f->metadata[i].key)) k->pair[k->pair_count++] = f->metadata[i];
    if (!folder) k->pair[k->pair_count++] = (metadata_pair){MODEL_CONTROLNET, k->config};
    if (base_sha256[0]) k->pair[k->pair_count++] = (metadata_pair){CONTROLNET_BASE, base_sha256};
    return DT_OK;
}

dt_status controlnet_write(ctx *c, const controlnet *m, const char *base_sha256, const denoiser_file *f)
{
    contents k;
    const arena_place mark = arena_mark(&c->scratch);
    if (f->format == DT_MODEL_PT || f->format == DT_MODEL_ORIGINAL)
        return error_set(&c->error, DT_ERR_UNSUPPORTED,
                         "%s: a ControlNet is written as safetensors or as diffusers' folder only", f->path);
    if (gather(&k, c, m, base_sha256, f) == DT_OK) {
        if (f->format == DT_MODEL_DIFFUSERS)
            diffusers_folder_write(f->path, k.config, k.source, k.source_count, k.pair, k.pair_count, &c->error);
        else
            safetensors_write(f->path, k.source, k.source_count, k.pair, k.pair_count, f->hash, &c->error);
    }
    free(k.config);
    arena_release(&c->scratch, mark);
    return c->error.status;
}
