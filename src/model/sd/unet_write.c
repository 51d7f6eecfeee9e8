/* Writing UNets: as this program has them, for diffusers, and for programs that know the original layout. */
#include <stdlib.h>
#include <string.h>

#include "container/pytorch.h"
#include "container/safetensors.h"
#include "container/tensor_open.h"
#include "file/json_file.h"
#include "model/file/diffusers_folder.h"
#include "model/sd/unet_config.h"
#include "model/sd/unet_file.h"
#include "model/sd/unet_original.h"

#define WRAPPED "state_dict." /* what Lightning puts before all names */

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

static char *config_text(const unet *m, bool own, size_t flags)
{
    json_t *object = unet_config_json(&m->config, own);
    char *text = json_text_of(object, flags | UNET_CONFIG_REALS);
    json_decref(object);
    return text;
}

static dt_status gather(contents *k, ctx *c, const unet *m, const denoiser_file *f)
{
    *k = (contents){.source_count = (size_t)m->params.count};
    k->source = arena_alloc_zeroed(&c->scratch, k->source_count * sizeof *k->source, &c->error);
    k->pair = arena_alloc(&c->scratch, (f->metadata_count + 1) * sizeof *k->pair, &c->error);
    if (ctx_failed(c) ||
        params_sources(c, k->source, &m->params, f->values, params_file_dtype(f->dtype), f->stops) != DT_OK)
        return c->error.status;
    k->config = config_text(m, true, JSON_COMPACT);
    if (!k->config) return error_set(&c->error, DT_ERR_MEMORY, "%s: no memory to write it", f->path);
    for (size_t i = 0; i < f->metadata_count; i++)
        if (!is_ours(f->metadata[i].key)) k->pair[k->pair_count++] = f->metadata[i];
    k->pair[k->pair_count++] = (metadata_pair){MODEL_UNET, k->config};
    return DT_OK;
}

static dt_status write_diffusers(const unet *m, const contents *k, const char *path, dt_error *err)
{
    char *config = config_text(m, false, JSON_INDENT(2));
    diffusers_folder_write(path, config, k->source, k->source_count, k->pair, k->pair_count, err);
    free(config);
    return err->status;
}

/* ---- the original layout ---- */

static bool begins(const char *text, const char *prefix)
{
    return !strncmp(text, prefix, strlen(prefix));
}

/* Whether the old network has the same tensors. */
static dt_status check_same_network(const contents *k, const tensor_file *whole, dt_error *err)
{
    static const params_words words = {"a checkpoint of Stable Diffusion 1 with such a UNet", ""};
    size_t old = 0;
    for (size_t i = 0; i < k->source_count; i++) {
        const tensor_source *s = &k->source[i];
        const tensor_entry *e = params_need(whole, s->name, s->dim_count, &words, err);
        if (!e || params_check_shape(e, s->dims, err) != DT_OK) return err->status;
    }
    for (size_t i = 0; i < whole->count; i++) old += begins(whole->entries[i].name, UNET_ORIGINAL_PREFIX);
    if (old != k->source_count)
        return error_set(err, DT_ERR_SHAPE, "%s: its UNet has %zu tensors, the new one %zu", whole->path, old,
                         k->source_count);
    return err->status;
}

static bool stays(const char *name)
{
    return !begins(name, UNET_ORIGINAL_PREFIX) && !begins(name, "model_ema.");
}

/* What the checkpoint has beside its UNet, behind the sources. */
static dt_status add_others(ctx *c, contents *k, const tensor_file *whole)
{
    tensor_source *all = arena_alloc_zeroed(&c->scratch, (k->source_count + whole->count) * sizeof *all, &c->error);
    if (!all) return c->error.status;
    memcpy(all, k->source, k->source_count * sizeof *all);
    k->source = all;
    for (size_t i = 0; i < whole->count; i++) {
        const tensor_entry *e = &whole->entries[i];
        if (!stays(e->name)) continue;
        const void *data = tensor_stored(e, &c->error);
        if (!data) return c->error.status;
        k->source[k->source_count++] = (tensor_source){
            .name = e->name, .dtype = e->dtype, .dim_count = e->dim_count, .dims = e->dims, .data = data};
    }
    return DT_OK;
}

static dt_status write_original(ctx *c, const unet *m, contents *k, const denoiser_file *f)
{
    tensor_file whole = {0};
    dt_error *err = &c->error;
    if (unet_original_sources(&c->scratch, k->source, k->source_count, &m->config, false, err) != DT_OK)
        return err->status;
    if (f->checkpoint && tensor_file_open(&whole, f->checkpoint, err) == DT_OK) {
        tensor_file_enter(&whole, WRAPPED);
        if (check_same_network(k, &whole, err) == DT_OK) add_others(c, k, &whole);
    }
    if (!ctx_failed(c)) safetensors_write(f->path, k->source, k->source_count, k->pair, k->pair_count, f->hash, err);
    tensor_file_close(&whole);
    return err->status;
}

/* ---- all formats ---- */

dt_status unet_check_format(const unet *m, dt_model_format format, const char *path, dt_error *err)
{
    if (m->class_tokens && (format == DT_MODEL_DIFFUSERS || format == DT_MODEL_ORIGINAL))
        return error_set(err, DT_ERR_UNSUPPORTED,
                         "%s: the UNet is told classes by tokens of its own (class_tokens.weight), for which %s has no "
                         "place",
                         path, format == DT_MODEL_DIFFUSERS ? "diffusers' UNet" : "the original layout");
    return err->status;
}

dt_status unet_write(ctx *c, const unet *m, const denoiser_file *f)
{
    contents k = {0};
    dt_error *err = &c->error;
    const arena_place mark = arena_mark(&c->scratch);
    if (unet_check_format(m, f->format, f->path, err) == DT_OK && gather(&k, c, m, f) == DT_OK) switch (f->format) {
        case DT_MODEL_SAFETENSORS:
            safetensors_write(f->path, k.source, k.source_count, k.pair, k.pair_count, f->hash, err);
            break;
        case DT_MODEL_PT: pytorch_write(f->path, k.source, k.source_count, k.pair, k.pair_count, f->hash, err); break;
        case DT_MODEL_DIFFUSERS: write_diffusers(m, &k, f->path, err); break;
        case DT_MODEL_ORIGINAL: write_original(c, m, &k, f); break;
        }
    free(k.config);
    arena_release(&c->scratch, mark);
    return err->status;
}
