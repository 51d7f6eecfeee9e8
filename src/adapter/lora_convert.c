/* A LoRA in other programs' layouts: this program's maps, or the parts of them that diffusers has, each with its own matrices. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/adapter_file.h"
#include "adapter/lora_file.h"
#include "adapter/peft_config.h"
#include "container/safetensors.h"
#include "file/folder.h"
#include "file/json_file.h"
#include "model/file/params_file.h"

enum { NAME_MAX_BYTES = 2 * ALIAS_NAME_MAX, TENSORS_OF_MODULE = 3 };

typedef struct converting {
    const tensor_file *f, *base;
    const model_kind *kind;
    dt_adapter_format format;
    safetensors_dtype dtype;
    arena room, alike; /* `alike`: matrices made anew */
    bool dora;
    tensor_source *source;
    size_t count;
    peft_module *module; /* in a layout of PEFT, by their names in it */
    size_t module_count;
    json_t *targets; /* ends of the names of modules, as PEFT wants them */
    json_t *saved;   /* names of modules that go along whole */
    dt_error *err;
} converting;

/* The text in memory that stays. NULL after a failure. */
static const char *keep(converting *v, const char *text)
{
    char *kept = arena_alloc(&v->room, strlen(text) + 1, v->err);
    return kept ? strcpy(kept, text) : NULL;
}

static void add(converting *v, const char *name, int dim_count, const int64_t dims[], const float *values)
{
    const char *kept = keep(v, name);
    int64_t *shape = arena_alloc(&v->room, (size_t)(dim_count + 1) * sizeof *shape, v->err);
    if (!kept || !shape) return;
    for (int i = 0; i < dim_count; i++) shape[i] = dims[i];
    v->source[v->count++] = (tensor_source){
        .name = kept, .dtype = v->dtype, .dim_count = dim_count, .dims = shape, .values = values, .finite = true};
}

/* The map's weight where it is a convolution, whose matrices and magnitudes are shaped as PyTorch's of one; else NULL. */
static const tensor_entry *convolution_of(const converting *v, const lora_pair *p)
{
    char weight[NAME_MAX_BYTES];
    snprintf(weight, sizeof weight, "%s.weight", p->map);
    const tensor_entry *map = tensor_file_find(v->base, weight);
    return map && map->dim_count == 4 ? map : NULL;
}

/* A [rank, in] or [rank, in, h, w], B [out, rank] or [out, rank, 1, 1]. */
static void add_matrices(converting *v, const char *name_a, const char *name_b, const lora_pair *p, const float *b,
                         int64_t out)
{
    const tensor_entry *conv = convolution_of(v, p);
    const int64_t dim_a[] = {p->rank, conv ? conv->dims[1] : p->in, conv ? conv->dims[2] : 1, conv ? conv->dims[3] : 1};
    add(v, name_a, conv ? 4 : 2, dim_a, p->a);
    add(v, name_b, conv ? 4 : 2, (int64_t[]){out, p->rank, 1, 1}, b);
}

static float alpha_of(const lora_pair *p)
{
    return (float)(p->scale * (double)p->rank);
}

/* kohya's: dots as underscores, and alpha beside the matrices. */
static void add_kohya(converting *v, const char *module, const lora_pair *p, const float *b, int64_t out)
{
    char name[NAME_MAX_BYTES], up[NAME_MAX_BYTES], plain[ALIAS_NAME_MAX];
    float *alpha = arena_alloc(&v->room, sizeof *alpha, v->err);
    snprintf(plain, sizeof plain, "%s", module);
    for (char *c = plain; *c; c++)
        if (*c == '.') *c = '_';
    if (!alpha) return;
    *alpha = alpha_of(p);
    snprintf(name, sizeof name, "lora_unet_%s.lora_down.weight", plain);
    snprintf(up, sizeof up, "lora_unet_%s.lora_up.weight", plain);
    add_matrices(v, name, up, p, b, out);
    snprintf(name, sizeof name, "lora_unet_%s.alpha", plain);
    add(v, name, 0, NULL, alpha);
}

/* What of "transformer_blocks.3.attn1.to_q" is the same in every block: "attn1.to_q". */
static const char *end_of_module(const char *module)
{
    const char *digits = strpbrk(module, "0123456789");
    const char *dot = digits ? strchr(digits, '.') : NULL;
    const bool numbered = dot && digits > module && digits[-1] == '.' && dot[-1] >= '0' && dot[-1] <= '9';
    return numbered && dot[1] ? dot + 1 : module;
}

static bool is_listed(const json_t *list, const char *text)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!strcmp(json_string_value(json_array_get(list, i)), text)) return true;
    return false;
}

/* Of outputs `first` to first + out - 1 of a map. With PEFT all modules have magnitudes or none has. */
static void add_magnitudes(converting *v, const char *prefix, const char *module, const lora_pair *p, int64_t first,
                           int64_t out)
{
    char name[NAME_MAX_BYTES];
    const float *magnitude = p->magnitude ? p->magnitude + first : NULL;
    for (int64_t i = 0; i < out; i++)
        if (!magnitude || isnan(magnitude[i])) {
            error_set(v->err, DT_ERR_UNSUPPORTED, "%s: of DoRA's magnitudes those of %s are missing", v->f->path,
                      module);
            return;
        }
    snprintf(name, sizeof name, "%s%s.lora_magnitude_vector", prefix, module);
    if (convolution_of(v, p))
        add(v, name, 4, (int64_t[]){1, out, 1, 1}, magnitude);
    else
        add(v, name, 1, &out, magnitude);
}

/* Outputs `first` to first + out - 1 of a map. */
static void add_peft(converting *v, const char *module, const lora_pair *p, int64_t first, int64_t out)
{
    const float *b = p->b + first * p->rank;
    char name[NAME_MAX_BYTES], up[NAME_MAX_BYTES];
    const char *end = end_of_module(module);
    snprintf(name, sizeof name, PEFT_PREFIX "%s.lora_A.weight", module);
    snprintf(up, sizeof up, PEFT_PREFIX "%s.lora_B.weight", module);
    add_matrices(v, name, up, p, b, out);
    if (v->dora) add_magnitudes(v, PEFT_PREFIX, module, p, first, out);
    if (!is_listed(v->targets, end)) json_add(&v->targets, json_string(end));
    v->module[v->module_count++] =
        (peft_module){.name = keep(v, module), .rank = p->rank, .alpha = p->scale * (double)p->rank};
}

/* Of a pipeline, for which the pairs were made alike. */
static void add_pipeline(converting *v, const lora_pair *p)
{
    char name[NAME_MAX_BYTES], up[NAME_MAX_BYTES];
    const char *prefix = v->kind->pipeline_prefix;
    snprintf(name, sizeof name, "%s%s.lora_A.weight", prefix, p->map);
    snprintf(up, sizeof up, "%s%s.lora_B.weight", prefix, p->map);
    add_matrices(v, name, up, p, p->b, p->out);
    if (v->dora) add_magnitudes(v, prefix, p->map, p, 0, p->out);
}

static bool is_for_pipeline(const converting *v)
{
    return v->format == DT_ADAPTER_DIFFUSERS && v->kind->pipeline_prefix;
}

static bool have_one_alpha(const lora_pairs *pairs)
{
    for (int i = 1; i < pairs->count; i++)
        if (alpha_of(&pairs->pair[i]) != alpha_of(&pairs->pair[0])) return false;
    return true;
}

/* The same product by matrices of that rank, of which what is beyond their own is zeros, and of that scale. */
static void remake_pair(converting *v, lora_pair *p, int64_t rank, double scale)
{
    float *a = arena_alloc_zeroed(&v->alike, (size_t)(rank * p->in) * sizeof *a, v->err);
    float *b = arena_alloc_zeroed(&v->alike, (size_t)(rank * p->out) * sizeof *b, v->err);
    if (!a || !b) return;
    memcpy(a, p->a, (size_t)(p->rank * p->in) * sizeof *a);
    for (int64_t i = 0; i < p->out * p->rank; i++)
        b[i / p->rank * rank + i % p->rank] = (float)(p->scale / scale * (double)p->b[i]);
    p->a = a;
    p->b = b;
    p->rank = rank;
    p->scale = scale;
}

/* For diffusers' loaders. A pipeline's file says no alpha: the rank is taken for it, before diffusers 0.40 the first module's rank for
 * that of all, so all get the same rank, the greatest. Of alphas in kohya's layout that differ only some are taken (0.42), so all get
 * the same, of that number. */
static void make_alike(converting *v, lora_pairs *pairs)
{
    enum { BESIDE = 256 }; /* where blocks of an arena begin */
    int64_t most = 0;
    size_t bytes = BESIDE;
    for (int i = 0; i < pairs->count; i++)
        if (pairs->pair[i].rank > most) most = pairs->pair[i].rank;
    for (int i = 0; i < pairs->count; i++)
        bytes += (size_t)(most * (pairs->pair[i].in + pairs->pair[i].out)) * sizeof(float) + BESIDE;
    arena_open(&v->alike, "a LoRA of one rank or alpha", bytes, v->err);
    for (int i = 0; i < pairs->count && v->err->status == DT_OK; i++) {
        lora_pair *p = &pairs->pair[i];
        if (is_for_pipeline(v))
            remake_pair(v, p, most, 1);
        else
            remake_pair(v, p, p->rank, (double)most / (double)p->rank);
    }
}

/* The map under its own name, or in diffusers' parts. */
static void add_pair(converting *v, const lora_pair *p, int64_t blocks)
{
    alias_name theirs, own;
    char weight[NAME_MAX_BYTES];
    snprintf(weight, sizeof weight, "%s.weight", p->map);
    if (v->format == DT_ADAPTER_KOHYA) add_kohya(v, p->map, p, p->b, p->out);
    if (v->format == DT_ADAPTER_PEFT) add_peft(v, p->map, p, 0, p->out);
    if (is_for_pipeline(v)) add_pipeline(v, p);
    for (int i = 0;
         v->format == DT_ADAPTER_DIFFUSERS && v->kind->other_names && i < alias_count(v->kind->other_names, blocks);
         i++) {
        const alias *a = alias_at(theirs, own, v->kind->other_names, i);
        if (strcmp(own, weight)) continue;
        const int64_t rows = p->out / (a->parts ? a->parts : 1), first = a->parts ? (a->part - 1) * rows : 0;
        theirs[strlen(theirs) - strlen(".weight")] = '\0';
        add_peft(v, theirs, p, first, rows);
    }
}

/* Rows of the network itself, which only this program's names tell. */
static void add_rows(converting *v, bool *left_out)
{
    char name[NAME_MAX_BYTES];
    *left_out = false;
    for (size_t i = 0; i < v->f->count && v->err->status == DT_OK; i++) {
        const tensor_entry *e = &v->f->entries[i];
        const char *bare = lora_bare_name(e->name);
        const bool null_time = !strcmp(bare, MODEL_NULL_TIME); /* which is no module, and the base need not have it */
        if (lora_is_name(bare)) continue;
        if (!null_time && !tensor_file_find(v->base, bare)) {
            error_set(v->err, DT_ERR_SHAPE, "%s: tensor %s is neither a LoRA's nor the network's", v->f->path, e->name);
            return;
        }
        if (v->format != DT_ADAPTER_PEFT) {
            *left_out = true;
            continue;
        }
        float *values = arena_alloc(&v->room, (size_t)e->count * sizeof *values, v->err);
        if (!values || tensor_read_finite(values, e, v->err) != DT_OK) return;
        snprintf(name, sizeof name, PEFT_PREFIX "%s", bare);
        add(v, name, e->dim_count, e->dims, values);
        const char *dot = strrchr(bare, '.');
        if (null_time) continue;
        json_add(&v->saved, json_stringn(bare, dot ? (size_t)(dot - bare) : strlen(bare)));
    }
}

/* PEFT has one rank and one alpha for all modules, and exceptions from them by name. */
static json_t *describe(const converting *v, const char *base_path)
{
    const peft_module *first = v->module;
    json_t *config = peft_config_new("LORA", base_path);
    peft_config_add_lora(&config, first->rank, first->alpha, false, json_incref(v->targets), json_incref(v->saved));
    if (v->dora) json_put(&config, "use_dora", json_true());
    peft_config_add_exceptions(&config, v->module, v->module_count);
    return config;
}

static dt_status write(const converting *v, const char *base_path, const char *output)
{
    const metadata_pair metadata[] = {{"format", "pt"}, {"difftune.tool", "difftune " DT_VERSION}};
    char path[DT_PATH_MAX];
    if (v->format == DT_ADAPTER_KOHYA) return safetensors_write(output, v->source, v->count, metadata, 2, NULL, v->err);
    if (file_make_dirs(output, v->err) != DT_OK) return v->err->status;
    if (is_for_pipeline(v)) {
        file_join(path, output, LORA_PIPELINE_WEIGHTS);
        return safetensors_write(path, v->source, v->count, metadata, 2, NULL, v->err);
    }
    file_join(path, output, ADAPTER_CONFIG);
    if (json_file_write(path, describe(v, base_path), NULL, v->err) != DT_OK) return v->err->status;
    file_join(path, output, ADAPTER_WEIGHTS);
    return safetensors_write(path, v->source, v->count, metadata, 2, NULL, v->err);
}

/* As how many modules a map is written at most: its parts, or a copy in every block. */
static size_t modules_of_map(int64_t blocks)
{
    return blocks > ALIAS_PARTS_MAX ? (size_t)blocks : ALIAS_PARTS_MAX;
}

dt_status lora_convert(const tensor_file *f, const tensor_file *base, const char *base_path, const model_kind *kind,
                       dt_adapter_format format, dt_file_dtype dtype, const char *output, bool *left_out, dt_error *err)
{
    const alias_table *names = kind->other_names;
    converting v = {
        .f = f, .base = base, .kind = kind, .format = format, .dtype = params_file_dtype(dtype), .err = err};
    lora_pairs pairs;
    if (format == DT_ADAPTER_DIFFUSERS && !names && !kind->pipeline_prefix)
        return error_set(err, DT_ERR_UNSUPPORTED, "%s: diffusers has no such network", base_path);
    if (arena_open(&v.room, "a LoRA in another layout", 2 * lora_room(f), err) != DT_OK) return err->status;
    if (lora_read(&pairs, f, base, names, &v.room, err) == DT_OK && pairs.count == 0)
        error_set(err, DT_ERR_ARG, "%s: no LoRA: only a LoRA has other programs' layouts", f->path);
    for (int i = 0; i < pairs.count; i++) v.dora = v.dora || pairs.pair[i].magnitude;
    if (v.dora && format == DT_ADAPTER_KOHYA)
        error_set(err, DT_ERR_UNSUPPORTED, "%s: is a DoRA, which is not written in kohya's layout", f->path);
    const int64_t blocks = names ? alias_own_blocks(names, base) : 0;
    const size_t modules = (size_t)pairs.count * modules_of_map(blocks);
    v.source = calloc(modules * TENSORS_OF_MODULE + f->count + 1, sizeof *v.source);
    v.module = calloc(modules + 1, sizeof *v.module);
    v.targets = json_array();
    v.saved = json_array();
    if (!v.source || !v.module) error_set(err, DT_ERR_MEMORY, "%s: no memory to list its matrices", output);
    if (err->status == DT_OK && (is_for_pipeline(&v) || (format == DT_ADAPTER_KOHYA && !have_one_alpha(&pairs))))
        make_alike(&v, &pairs);
    for (int i = 0; i < pairs.count && err->status == DT_OK; i++) add_pair(&v, &pairs.pair[i], blocks);
    if (err->status == DT_OK) add_rows(&v, left_out);
    if (err->status == DT_OK) write(&v, base_path, output);
    json_decref(v.targets);
    json_decref(v.saved);
    free(v.source);
    free(v.module);
    arena_close(&v.room);
    arena_close(&v.alike);
    return err->status;
}
