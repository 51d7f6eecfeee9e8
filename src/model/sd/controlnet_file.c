#include "model/sd/controlnet_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container/pytorch.h"
#include "container/safetensors.h"
#include "file/json_file.h"
#include "model/file/diffusers_folder.h"
#include "model/file/kind.h"
#include "model/file/params_file.h"
#include "model/sd/controlnet_config.h"
#include "model/sd/unet_config.h"
#include "model/sd/unet_file.h"
#include "model/sd/unet_original.h"

enum { ORIGINAL_STEM = 4 }; /* widths, of which the original's names know no other number */

static const params_words words = {"a ControlNet with diffusers' names", "a ControlNet of this configuration"};

bool controlnet_file_fits(const tensor_file *f)
{
    return tensor_file_find(f, "controlnet_cond_embedding.conv_in.weight") || control_original_fits(f);
}

/* ---- reading ---- */

dt_status controlnet_file_config(controlnet_config *k, const tensor_file *f, dt_error *err)
{
    char path[DT_PATH_MAX];
    const char *said = tensor_file_metadata(f, MODEL_CONTROLNET);
    if (said) return controlnet_config_parse(k, said, f->path, err);
    json_t *object = diffusers_config_read(path, f->path, "the configuration", err);
    if (object) controlnet_config_read(k, object, path, err);
    json_decref(object);
    return err->status;
}

static dt_status check_stem(const controlnet_config *k, const char *object, dt_error *err)
{
    if (k->stem_count == ORIGINAL_STEM) return err->status;
    return error_set(
        err, DT_ERR_UNSUPPORTED,
        "%s: the original layout has a ControlNet's stem of %d conditioning_embedding_out_channels, and this "
        "one has %lld",
        object, ORIGINAL_STEM, (long long)k->stem_count);
}

/* Its stem: the first convolution, then for each further width one that keeps it and one that leads to it, SiLU between all. */
static dt_status read_stem(controlnet_config *k, const tensor_file *f, dt_error *err)
{
    char name[48];
    for (int i = 0; i < ORIGINAL_STEM; i++) {
        snprintf(name, sizeof name, "input_hint_block.%d.weight", 4 * i);
        const tensor_entry *e = params_need(f, name, 4, &words, err);
        if (!e) return err->status;
        if (i == 0) k->control_channels = e->dims[1];
        k->stem_width[k->stem_count++] = e->dims[0];
    }
    return err->status;
}

static dt_status original_config(controlnet_config *k, const tensor_file *f, const unet_config *base, dt_error *err)
{
    *k = (controlnet_config){0};
    if (unet_original_config(&k->unet, f, true, err) != DT_OK || read_stem(k, f, err) != DT_OK) return err->status;
    if (base) {
        memcpy(k->unet.heads, base->heads, sizeof k->unet.heads);
        k->unet.groups = base->groups;
        k->unet.epsilon = base->epsilon;
    }
    return controlnet_config_check(k, f->path, err);
}

static dt_status put_config(tensor_file *f, const controlnet_config *k, dt_error *err)
{
    json_t *object = controlnet_config_json(k);
    char *text = json_text_of(object, JSON_COMPACT | UNET_CONFIG_REALS);
    json_decref(object);
    unet_file_put_text(f, MODEL_CONTROLNET, text ? json_string(text) : NULL, err);
    free(text);
    return err->status;
}

dt_status controlnet_file_view(tensor_file *f, const unet_config *base, dt_error *err)
{
    controlnet_config k;
    const bool original = control_original_fits(f), said = tensor_file_metadata(f, MODEL_CONTROLNET);
    if (original && !said)
        original_config(&k, f, base, err);
    else
        controlnet_file_config(&k, f, err);
    if (err->status != DT_OK ||
        (original && (check_stem(&k, f->path, err) != DT_OK || unet_original_rename(f, &k.unet, true, err) != DT_OK)))
        return err->status;
    if (!said && put_config(f, &k, err) != DT_OK) return err->status;
    return unet_file_put_heads(f, &k.unet, err);
}

dt_status controlnet_load(ctx *c, controlnet *m, const tensor_file *f)
{
    controlnet_config k;
    if (controlnet_file_config(&k, f, &c->error) != DT_OK || controlnet_open(c, m, &k) != DT_OK ||
        params_refuse_strangers(&m->params, f, &words, &c->error) != DT_OK ||
        unet_file_check_complete(&m->params, &k.unet, true, f, &words, &c->error) != DT_OK)
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
    return !strcmp(key, MODEL_CONTROLNET) || !strcmp(key, CONTROLNET_BASE) || !strcmp(key, MODEL_HEADS);
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
    k->config = json_text_of(object, (folder ? JSON_INDENT(2) : JSON_COMPACT) | UNET_CONFIG_REALS);
    json_decref(object);
    if (!k->config) return error_set(&c->error, DT_ERR_MEMORY, "%s: no memory to write it", f->path);
    for (size_t i = 0; i < f->metadata_count; i++)
        if (!is_ours(f->metadata[i].key)) k->pair[k->pair_count++] = f->metadata[i];
    if (!folder) k->pair[k->pair_count++] = (metadata_pair){MODEL_CONTROLNET, k->config};
    if (base_sha256[0]) k->pair[k->pair_count++] = (metadata_pair){CONTROLNET_BASE, base_sha256};
    return DT_OK;
}

dt_status controlnet_check_format(const controlnet *m, dt_model_format format, const char *path, dt_error *err)
{
    return format == DT_MODEL_ORIGINAL ? check_stem(&m->config, path, err) : err->status;
}

dt_status controlnet_write(ctx *c, const controlnet *m, const char *base_sha256, const denoiser_file *f)
{
    contents k;
    dt_error *err = &c->error;
    const arena_place mark = arena_mark(&c->scratch);
    if (f->checkpoint)
        return error_set(err, DT_ERR_UNSUPPORTED,
                         "original_checkpoint %s: a UNet is put into a copy of it; a ControlNet's file stands alone",
                         f->checkpoint);
    if (controlnet_check_format(m, f->format, f->path, err) != DT_OK) return err->status;
    if (gather(&k, c, m, base_sha256, f) == DT_OK && f->format == DT_MODEL_ORIGINAL)
        unet_original_sources(&c->scratch, k.source, k.source_count, &m->config.unet, true, err);
    if (!ctx_failed(c)) switch (f->format) {
        case DT_MODEL_SAFETENSORS:
        case DT_MODEL_ORIGINAL:
            safetensors_write(f->path, k.source, k.source_count, k.pair, k.pair_count, f->hash, err);
            break;
        case DT_MODEL_PT: pytorch_write(f->path, k.source, k.source_count, k.pair, k.pair_count, f->hash, err); break;
        case DT_MODEL_DIFFUSERS:
            diffusers_folder_write(f->path, k.config, k.source, k.source_count, k.pair, k.pair_count, err);
            break;
        }
    free(k.config);
    arena_release(&c->scratch, mark);
    return err->status;
}
