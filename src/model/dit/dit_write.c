/* Writing models: as DiT names them, for DiT's own code, and for diffusers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container/pytorch.h"
#include "container/safetensors.h"
#include "model/dit/dit_diffusers.h"
#include "model/dit/dit_file.h"
#include "model/file/diffusers_folder.h"
#include "model/file/kind.h"

/* Positions stored in 16 bits are that far from what they round; diffusers has them exactly. */
#define POSITION_TOLERANCE (1.0 / 256)

/* What a file is made from; lives in the scratch arena. */
typedef struct contents {
    tensor_source *source;
    size_t source_count;
    metadata_pair *pair;
    size_t pair_count;
    char heads[24];
} contents;

/* Whether the source's metadata has it in a place that is filled here. */
static bool is_ours(const char *key, const dit *m)
{
    const bool of_process = !strcmp(key, MODEL_PROCESS) || !strcmp(key, "process");
    return !strcmp(key, MODEL_HEADS) || (m->config.flow && of_process);
}

/* Heads are left out where nothing else is said and the width implies them. */
static dt_status gather(contents *k, ctx *c, const dit *m, const denoiser_file *f)
{
    k->source_count = (size_t)m->params.count;
    k->source = arena_alloc_zeroed(&c->scratch, k->source_count * sizeof *k->source, &c->error);
    k->pair = arena_alloc(&c->scratch, (f->metadata_count + 2) * sizeof *k->pair, &c->error);
    if (ctx_failed(c) ||
        params_sources(c, k->source, &m->params, f->values, params_file_dtype(f->dtype), f->stops) != DT_OK)
        return c->error.status;
    k->pair_count = 0;
    for (size_t i = 0; i < f->metadata_count; i++)
        if (!is_ours(f->metadata[i].key, m)) k->pair[k->pair_count++] = f->metadata[i];
    if (m->config.flow) k->pair[k->pair_count++] = (metadata_pair){MODEL_PROCESS, MODEL_SIT};
    snprintf(k->heads, sizeof k->heads, "%lld", (long long)m->config.heads);
    if (k->pair_count > 0 || m->config.heads != dit_implied_heads(m->config.hidden))
        k->pair[k->pair_count++] = (metadata_pair){MODEL_HEADS, k->heads};
    return DT_OK;
}

/* ---- a folder of diffusers ---- */

/* diffusers computes the positions; a model with others would silently become another one. */
static dt_status check_positions(ctx *c, const dit *m, const char *path)
{
    int64_t count = tensor_count(m->pos_embed), grid = m->config.input_size / m->config.patch;
    real *expected = arena_alloc(&c->scratch, (size_t)count * sizeof *expected, &c->error);
    const real *found = numbers_read(c, &c->scratch, m->pos_embed->data, count);
    if (ctx_failed(c)) return c->error.status;
    dit_positions(expected, grid, m->config.hidden);
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)found[i] - (double)expected[i]) <= POSITION_TOLERANCE))
            return error_set(&c->error, DT_ERR_UNSUPPORTED,
                             "%s: the model's pos_embed is not the sines and cosines that diffusers computes, and its "
                             "format has no place for another",
                             path);
    return DT_OK;
}

static dt_status write_diffusers(ctx *c, const dit *m, const contents *k, const char *path)
{
    const size_t count = (size_t)alias_count(&dit_diffusers_names, m->config.depth);
    if (diffusers_folder_check(path, &c->error) != DT_OK || check_positions(c, m, path) != DT_OK)
        return c->error.status;
    tensor_source *source = arena_alloc(&c->scratch, count * sizeof *source, &c->error);
    alias_name *name = arena_alloc(&c->scratch, count * sizeof *name, &c->error);
    int64_t(*dims)[4] = arena_alloc(&c->scratch, count * sizeof *dims, &c->error);
    if (ctx_failed(c)) return c->error.status;
    alias_sources(source, name, dims, &dit_diffusers_names, k->source, k->source_count, m->config.depth);
    char *config = dit_diffusers_config(&m->config);
    diffusers_folder_write(path, config, source, count, k->pair, k->pair_count, &c->error);
    free(config);
    return c->error.status;
}

/* ---- all formats ---- */

dt_status dit_check_format(const dit *m, dt_model_format format, const char *path, dt_error *err)
{
    if (format == DT_MODEL_ORIGINAL)
        return error_set(
            err, DT_ERR_UNSUPPORTED,
            "%s: the original layout is for networks of Stable Diffusion; a DiT has its own as safetensors "
            "or pt",
            path);
    if (format != DT_MODEL_DIFFUSERS) return err->status;
    if (m->config.flow)
        return error_set(err, DT_ERR_UNSUPPORTED,
                         "%s: diffusers has no SiT: as a DiT of its own the model would draw noise", path);
    if (m->config.null_time)
        return error_set(err, DT_ERR_UNSUPPORTED,
                         "%s: the model has a null time (" MODEL_NULL_TIME
                         ", of time_dropout), for which diffusers' format has no place",
                         path);
    return err->status;
}

dt_status dit_write(ctx *c, const dit *m, const denoiser_file *f)
{
    contents k;
    dt_error *err = &c->error;
    const arena_place mark = arena_mark(&c->scratch);
    if (dit_check_format(m, f->format, f->path, err) == DT_OK && gather(&k, c, m, f) == DT_OK) switch (f->format) {
        case DT_MODEL_SAFETENSORS:
            safetensors_write(f->path, k.source, k.source_count, k.pair, k.pair_count, f->hash, err);
            break;
        case DT_MODEL_PT: pytorch_write(f->path, k.source, k.source_count, k.pair, k.pair_count, f->hash, err); break;
        case DT_MODEL_DIFFUSERS: write_diffusers(c, m, &k, f->path); break;
        case DT_MODEL_ORIGINAL: break; /* refused */
        }
    arena_release(&c->scratch, mark);
    return err->status;
}
