#include "adapter/adapter_file.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/lora_file.h"
#include "container/tensor_open.h"
#include "file/json_file.h"
#include "file/names.h"
#include "model/file/kind.h"
#include "model/file/of_run.h"
#include "model/file/params_file.h"

enum { FILES_MAX = 64, ROOM_FOR_SMALL = 1 << 16, TOKENS_MAX = 1 << 20 };

/* What is multiplied by which of difffit's vectors. */
static const struct {
    const char *vector, *map;
} gammas[] = {{"attn.gamma1", "attn.qkv"},
              {"attn.gamma2", "attn.proj"},
              {"gamma1", "attn.proj"},
              {"gamma2", "mlp.fc2"},
              {"mlp.gamma", "mlp.fc2"}};
enum { GAMMAS = sizeof gammas / sizeof *gammas };

/* ---- what a file is ---- */

static bool any_name(const tensor_file *f, const char *pattern)
{
    for (size_t i = 0; i < f->count; i++)
        if (fnmatch(pattern, f->entries[i].name, 0) == 0) return true;
    return false;
}

static bool any_lora(const tensor_file *f)
{
    for (size_t i = 0; i < f->count; i++)
        if (lora_is_name(f->entries[i].name)) return true;
    return false;
}

static dt_adapter kind_of(const tensor_file *f)
{
    if (any_lora(f)) return DT_ADAPTER_LORA;
    if (any_name(f, "*.adaptmlp.down_proj.weight")) return DT_ADAPTER_ADAPTFORMER;
    if (any_name(f, "*.prompt_embeddings")) return DT_ADAPTER_VPT_DEEP;
    if (any_name(f, "blocks.*gamma*")) return DT_ADAPTER_DIFFFIT;
    const char *said = tensor_file_metadata(f, ADAPTER_KIND);
    return said && !strcmp(said, adapter_kind_name(DT_ADAPTER_BITFIT)) ? DT_ADAPTER_BITFIT : DT_ADAPTER_NONE;
}

const char *adapter_kind_of_file(const tensor_file *f)
{
    const dt_adapter kind = kind_of(f);
    return kind == DT_ADAPTER_NONE ? NULL : adapter_kind_name(kind);
}

static bool is_merged(dt_adapter kind)
{
    return kind == DT_ADAPTER_BITFIT || kind == DT_ADAPTER_DIFFFIT || kind == DT_ADAPTER_LORA;
}

/* ---- opening ---- */

/* A run's (run/checkpoint.h). */
static bool is_checkpoint(const char *folder)
{
    char manifest[DT_PATH_MAX], averages[DT_PATH_MAX];
    file_join(manifest, folder, MANIFEST_FILE);
    file_join(averages, folder, AVERAGES_FILE);
    return file_exists(manifest) && file_exists(averages);
}

bool adapter_path(char out[DT_PATH_MAX], const char *path, dt_file_weights weights)
{
    static const char *const inside[] = {ADAPTER_WEIGHTS, "final/" ADAPTER_WEIGHTS};
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        file_join(out, path, inside[i]);
        if (file_exists(out)) return true;
    }
    file_join(out, path, ADAPTER_CONFIG);
    if (!is_checkpoint(path) || !file_exists(out)) return false;
    file_join(out, path, weights == DT_FILE_WEIGHTS_MODEL ? WEIGHTS_FILE : AVERAGES_FILE);
    return file_exists(out);
}

/* What is joined is known by the hash of all that was joined before it, of its file and of its weight. */
static void identify(adapter_files *j, const tensor_file *f, double weight)
{
    char text[160];
    file_hash hash;
    tensor_file_sha256(&hash, f);
    const int length = snprintf(text, sizeof text, "%s %s %.9g", j->identity, hash.hex, weight);
    file_sha256_bytes(&hash, text, (size_t)length);
    memcpy(j->identity, hash.hex, sizeof j->identity);
}

dt_status adapter_files_open(adapter_files *j, dt_file_weights weights, dt_error *err)
{
    *j = (adapter_files){.file = calloc(FILES_MAX, sizeof *j->file), .weights = weights};
    return j->file ? DT_OK : error_set(err, DT_ERR_MEMORY, "no memory to list adapters");
}

dt_status adapter_files_take(adapter_files *j, tensor_file *tensors, double weight, dt_error *err)
{
    adapter_file *a = &j->file[j->count];
    if (j->count == FILES_MAX) {
        error_set(err, DT_ERR_ARG, "%s: the %dth adapter, one too many", tensors->path, FILES_MAX + 1);
        tensor_file_close(tensors);
        return err->status;
    }
    *a = (adapter_file){.weight = weight, .kind = kind_of(tensors), .tensors = *tensors};
    snprintf(a->path, sizeof a->path, "%s", tensors->path);
    memcpy(a->before, j->identity, sizeof a->before);
    j->count++;
    if (any_name(tensors, "unet:*:up"))
        error_set(err, DT_ERR_UNSUPPORTED,
                  "%s: a LoRA of cloneofsimo's lora, whose modules are numbers and not names; convert it to diffusers' "
                  "or kohya's names first",
                  a->path);
    else if (a->kind == DT_ADAPTER_NONE)
        error_set(err, DT_ERR_FORMAT, "%s: no adapter: neither a LoRA's matrices nor another kind's rows", a->path);
    else if (a->kind == DT_ADAPTER_VPT_DEEP && weight != 1)
        error_set(err, DT_ERR_ARG, "%s: tokens of vpt-deep are there or not: weight 1 expected, not %g", a->path,
                  weight);
    if (err->status == DT_OK) identify(j, &a->tensors, weight);
    return err->status;
}

bool adapter_path_of_any(char out[DT_PATH_MAX], const char *folder, dt_file_weights weights)
{
    if (adapter_path(out, folder, weights)) return true;
    file_join(out, folder, LORA_PIPELINE_WEIGHTS);
    return file_exists(out);
}

static dt_status refuse_folder(const char *path, dt_error *err)
{
    if (is_checkpoint(path))
        return error_set(err, DT_ERR_IO,
                         "%s: a checkpoint without " ADAPTER_CONFIG
                         ", of no adapter or of a version that wrote none; its run writes one when it goes on",
                         path);
    return error_set(err, DT_ERR_IO, "%s: a folder without " ADAPTER_WEIGHTS ", which is no adapter", path);
}

dt_status adapter_files_add(adapter_files *j, const char *path, double weight, dt_error *err)
{
    char inside[DT_PATH_MAX];
    tensor_file tensors;
    snprintf(inside, sizeof inside, "%s", path);
    if (file_is_folder(path) && !adapter_path_of_any(inside, path, j->weights)) return refuse_folder(path, err);
    if (tensor_file_open(&tensors, inside, err) != DT_OK) return err->status;
    of_run_complete(&tensors, err);
    return adapter_files_take(j, &tensors, weight, err);
}

dt_status adapter_split_weight(double *weight, char *text, const char *key, dt_error *err)
{
    char *colon = strrchr(text, ':'), *end;
    if (!colon || file_exists(text) || !strncmp(colon, "://", 3)) return DT_OK;
    const double number = strtod(colon + 1, &end);
    if (end == colon + 1 || *end || !isfinite(number))
        return error_set(err, DT_ERR_ARG, "%s %s: PATH or PATH:WEIGHT expected, a weight is a number", key, text);
    *weight = number;
    *colon = '\0';
    return DT_OK;
}

static dt_status add_weighted(adapter_files *j, char *text, dt_error *err)
{
    double weight = 1;
    if (adapter_split_weight(&weight, text, "adapter_weights", err) != DT_OK) return err->status;
    return adapter_files_add(j, text, weight, err);
}

dt_status adapter_files_add_list(adapter_files *j, const char *list, dt_error *err)
{
    char *copy = strdup(list), *rest = copy, *one;
    if (!copy) return error_set(err, DT_ERR_MEMORY, "adapter_weights: no memory for their list");
    while (err->status == DT_OK && (one = strsep(&rest, ",")) != NULL)
        if (one[0])
            add_weighted(j, one, err);
        else if (list[0])
            error_set(err, DT_ERR_ARG, "adapter_weights %s: a part between its commas is empty", list);
    free(copy);
    return err->status;
}

void adapter_files_close(adapter_files *j)
{
    for (int i = 0; i < j->count; i++) tensor_file_close(&j->file[i].tensors);
    free(j->file);
    if (j->memory.base) arena_close(&j->memory);
    *j = (adapter_files){0};
}

const adapter_file *adapter_files_unmerged(const adapter_files *j)
{
    for (int i = 0; i < j->count; i++)
        if (!is_merged(j->file[i].kind)) return &j->file[i];
    return NULL;
}

bool adapter_files_know_their_base(const adapter_files *j)
{
    for (int i = 0; i < j->count; i++)
        if (tensor_file_metadata(&j->file[i].tensors, ADAPTER_BASE)) return true;
    return false;
}

dt_status adapter_file_check_base(const adapter_file *a, const char *base, const char *sha256, const char *joined,
                                  dt_error *err)
{
    const char *said = tensor_file_metadata(&a->tensors, ADAPTER_BASE);
    if (!said || !said[0] || !strcmp(said, sha256) || !strcmp(said, joined)) return err->status;
    return error_set(err, DT_ERR_ARG, "%s: trained on another base than %s (SHA-256 %.12s.., this one's is %.12s..)",
                     a->path, base, said, sha256);
}

/* ---- merging ---- */

typedef struct merging {
    adapter_files *j;
    const adapter_file *a;
    tensor_file *base;
    const alias_table *names;
    dt_error *err;
} merging;

static dt_status refuse(const merging *m, const char *name, const char *why)
{
    return error_set(m->err, DT_ERR_SHAPE, "%s: tensor %s %s", m->a->path, name, why);
}

static tensor_entry *find_own(const merging *m, const char *name)
{
    return (tensor_entry *)tensor_file_find(m->base, name);
}

/* A tensor that repeats its storage may claim any number of values: then more than can be had. */
static size_t values_bytes(const tensor_file *f)
{
    size_t bytes = 0;
    for (size_t i = 0; i < f->count; i++) {
        const size_t values = (size_t)f->entries[i].count;
        if (values > LORA_ROOM_MAX / sizeof(float)) return LORA_ROOM_MAX;
        bytes += values * sizeof(float);
        if (bytes > LORA_ROOM_MAX) return LORA_ROOM_MAX;
    }
    return bytes;
}

/* The entry's values in memory, to be changed; made once for each tensor however often it is merged into. */
static float *own_values(adapter_files *j, tensor_entry *e, dt_error *err)
{
    const unsigned char *start = j->memory.base, *data = e->data;
    if (data >= start && data < start + j->memory.used) return (float *)e->data;
    float *values = arena_alloc(&j->memory, (size_t)e->count * sizeof *values, err);
    if (!values || tensor_read_finite(values, e, err) != DT_OK) return NULL;
    tensor_take_values(e, values);
    return values;
}

/* A table of classes may have other rows: those of the user's classes, with which the adapter was trained. */
static bool is_other_table(const tensor_entry *own, const tensor_entry *e)
{
    return own->dim_count == 2 && e->dim_count == 2 && own->dims[1] == e->dims[1] && strstr(own->name, "y_embedder");
}

/* As many others are told by their names. Where the base has none, those of the adapter are taken if its rows are. */
static bool names_other_classes(const merging *m)
{
    const char *classes = tensor_file_metadata(&m->a->tensors, MODEL_CLASSES);
    const char *own = tensor_file_metadata(m->base, MODEL_CLASSES);
    return classes && (own ? strcmp(classes, own) != 0 : m->a->weight == 1);
}

static dt_status take_table(const merging *m, tensor_entry *own, const tensor_entry *e)
{
    const char *classes = tensor_file_metadata(&m->a->tensors, MODEL_CLASSES), *name = own->name;
    if (m->a->weight != 1)
        return error_set(m->err, DT_ERR_ARG, "%s: has other classes than its base: weight 1 expected, not %g",
                         m->a->path, m->a->weight);
    *own = *e;
    own->name = name;
    if (!m->base->metadata) m->base->metadata = json_object();
    if (classes)
        json_put(&m->base->metadata, MODEL_CLASSES, json_string(classes));
    else
        json_object_del(m->base->metadata, MODEL_CLASSES);
    if (!m->base->metadata) error_set(m->err, DT_ERR_MEMORY, "%s: no memory for its metadata", m->base->path);
    return m->err->status;
}

/* What stands for no time came with the adapter: of any weight all of it, as there is nothing in the base to start from. */
static dt_status add_null_time(const merging *m, const tensor_entry *e)
{
    tensor_entry own = *e;
    own.name = MODEL_NULL_TIME;
    return tensor_file_add(m->base, &own, m->err);
}

/* A row of the network that trained: that share of the way from the base's to the adapter's. */
static dt_status merge_row(const merging *m, const tensor_entry *e, const char *name)
{
    tensor_entry *own = find_own(m, name);
    if (!own && !strcmp(name, MODEL_NULL_TIME)) return add_null_time(m, e);
    if (!own) return refuse(m, e->name, "is neither an adapter's nor the network's");
    const bool same = tensor_same_shape(own, e);
    if (is_other_table(own, e) && (!same || names_other_classes(m))) return take_table(m, own, e);
    if (!same) return refuse(m, e->name, "has another shape here: it was made for another base");
    float *values = own_values(m->j, own, m->err), *changed = NULL;
    const arena_place mark = arena_mark(&m->j->memory);
    if (values) changed = arena_alloc(&m->j->memory, (size_t)e->count * sizeof *changed, m->err);
    if (changed && tensor_read_finite(changed, e, m->err) == DT_OK)
        for (int64_t i = 0; i < e->count; i++)
            values[i] =
                m->a->weight == 1 ? changed[i] : (float)(values[i] + m->a->weight * ((double)changed[i] - values[i]));
    arena_release(&m->j->memory, mark);
    return m->err->status;
}

static double product_at(const lora_pair *p, int64_t o, int64_t i)
{
    double sum = 0;
    for (int64_t k = 0; k < p->rank; k++) sum += (double)p->b[o * p->rank + k] * p->a[k * p->in + i];
    return sum;
}

/* A row of W goes that weight of the way to (m / n) (W + scale B A), n the length of what m / n multiplies. */
static void stretch_row(float *w, const lora_pair *p, int64_t o, double weight)
{
    double squares = 0;
    for (int64_t i = 0; i < p->in; i++) squares += pow((double)w[i] + p->scale * product_at(p, o, i), 2);
    const double factor = squares > 0 ? (double)p->magnitude[o] / sqrt(squares) : 1;
    for (int64_t i = 0; i < p->in; i++) {
        const double made = factor * ((double)w[i] + p->scale * product_at(p, o, i));
        w[i] = (float)((double)w[i] + weight * (made - (double)w[i]));
    }
}

/* W += weight scale B A, a row at a time, summed in double. */
static dt_status merge_pair(const merging *m, const lora_pair *p)
{
    char name[ALIAS_NAME_MAX + 16];
    snprintf(name, sizeof name, "%s.weight", p->map);
    float *w = own_values(m->j, find_own(m, name), m->err);
    const double factor = m->a->weight * p->scale;
    if (!w) return m->err->status;
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < p->out; o++) {
        float *row = w + o * p->in;
        if (p->magnitude && !isnan(p->magnitude[o]))
            stretch_row(row, p, o, m->a->weight);
        else
            for (int64_t i = 0; i < p->in; i++) row[i] = (float)(row[i] + factor * product_at(p, o, i));
    }
    return DT_OK;
}

static dt_status merge_lora(const merging *m)
{
    const tensor_file *f = &m->a->tensors;
    arena room = {0};
    lora_pairs pairs;
    if (arena_open(&room, "matrices of a LoRA", lora_room(f), m->err) != DT_OK) return m->err->status;
    lora_read(&pairs, f, m->base, m->names, &room, m->err);
    for (int i = 0; i < pairs.count && m->err->status == DT_OK; i++) merge_pair(m, &pairs.pair[i]);
    arena_close(&room);
    return m->err->status;
}

/* The map that a vector of difffit multiplies: "blocks.3.attn.qkv" of "blocks.3.attn.gamma1". False: it is no such vector. */
static bool multiplied_map(char map[ALIAS_NAME_MAX], const char *name)
{
    int block, end = 0;
    if (sscanf(name, "blocks.%d.%n", &block, &end) != 1 || !end) return false;
    for (int i = 0; i < GAMMAS; i++)
        if (!strcmp(name + end, gammas[i].vector)) {
            snprintf(map, ALIAS_NAME_MAX, "blocks.%d.%s", block, gammas[i].map);
            return true;
        }
    return false;
}

/* gamma (W x + b): rows of W and entries of b. */
static dt_status merge_gamma(const merging *m, const tensor_entry *e, const char *map)
{
    char name[ALIAS_NAME_MAX + 16];
    for (int bias = 0; bias < 2 && m->err->status == DT_OK; bias++) {
        snprintf(name, sizeof name, "%s.%s", map, bias ? "bias" : "weight");
        tensor_entry *own = find_own(m, name);
        if (!own || own->dim_count < 1 || e->count < 1 || own->dims[0] != e->count)
            return refuse(m, e->name, "does not fit: it was made for another base");
        float *values = own_values(m->j, own, m->err), *gamma = NULL;
        const arena_place mark = arena_mark(&m->j->memory);
        if (values) gamma = arena_alloc(&m->j->memory, (size_t)e->count * sizeof *gamma, m->err);
        if (gamma && tensor_read_finite(gamma, e, m->err) == DT_OK)
            for (int64_t i = 0, width = own->count / e->count; i < own->count; i++)
                values[i] = (float)(values[i] * (1 + m->a->weight * ((double)gamma[i / width] - 1)));
        arena_release(&m->j->memory, mark);
    }
    return m->err->status;
}

static bool stays_beside(const char *name)
{
    return strstr(name, ".adaptmlp.") || strstr(name, ".prompt_embeddings");
}

/* Rows first: vectors multiply the biases that were trained with them. */
static dt_status merge_file(const merging *m)
{
    const tensor_file *f = &m->a->tensors;
    char map[ALIAS_NAME_MAX];
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < f->count && m->err->status == DT_OK; i++) {
            const tensor_entry *e = &f->entries[i];
            const char *name = lora_bare_name(e->name);
            const bool multiplies = multiplied_map(map, name);
            if (lora_is_name(name) || stays_beside(name)) continue;
            if (multiplies && pass) merge_gamma(m, e, map);
            if (!multiplies && !pass) merge_row(m, e, name);
        }
    return m->err->status == DT_OK && m->a->kind == DT_ADAPTER_LORA ? merge_lora(m) : m->err->status;
}

/* Room for every tensor of the base, and for one of the others at a time. */
static dt_status open_memory(adapter_files *j, const tensor_file *base, size_t more, dt_error *err)
{
    if (j->memory.base) return DT_OK;
    const size_t room = values_bytes(base) + base->count * ROOM_FOR_SMALL + more;
    return arena_open(&j->memory, "merged weights", room, err);
}

/* The codec and the text encoder that the adapter was trained with are the model's now. */
static void take_parts(const merging *m)
{
    static const char *const keys[] = {MODEL_CODEC, MODEL_ENCODER};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *hash = tensor_file_metadata(&m->a->tensors, keys[i]);
        if (!hash) continue;
        if (!m->base->metadata) m->base->metadata = json_object();
        json_put(&m->base->metadata, keys[i], json_string(hash));
        if (!m->base->metadata) error_set(m->err, DT_ERR_MEMORY, "%s: no memory for its metadata", m->base->path);
    }
}

dt_status adapter_files_merge(adapter_files *j, tensor_file *base, const alias_table *names, dt_error *err)
{
    size_t more = 0;
    for (int i = 0; i < j->count; i++) more += values_bytes(&j->file[i].tensors);
    if (j->count) open_memory(j, base, more, err);
    for (int i = 0; i < j->count && err->status == DT_OK; i++) {
        const merging m = {.j = j, .a = &j->file[i], .base = base, .names = names, .err = err};
        if (merge_file(&m) == DT_OK) take_parts(&m);
    }
    return err->status;
}

/* ---- blending ---- */

static void mix(float *values, const float *other, int64_t count, double share)
{
    for (int64_t i = 0; i < count; i++) values[i] = (float)((1 - share) * values[i] + share * other[i]);
}

static dt_status blend_tensor(adapter_files *j, tensor_entry *own, const tensor_entry *other, double share,
                              dt_error *err)
{
    const bool same = tensor_same_shape(own, other);
    if (!same && !is_other_table(own, other))
        return error_set(err, DT_ERR_SHAPE, "%s: tensor %s has another shape in %s", other->path, own->name, own->path);
    const int64_t count = same ? own->count : own->dims[1];
    float *values = own_values(j, own, err), *others = NULL;
    const arena_place mark = arena_mark(&j->memory);
    if (values) others = arena_alloc(&j->memory, (size_t)other->count * sizeof *others, err);
    if (others && tensor_read_finite(others, other, err) == DT_OK)
        mix(values + own->count - count, others + other->count - count, count, share);
    arena_release(&j->memory, mark);
    return err->status;
}

dt_status adapter_files_blend(adapter_files *j, tensor_file *base, const tensor_file *other, double share,
                              dt_error *err)
{
    if (open_memory(j, base, values_bytes(other), err) != DT_OK) return err->status;
    for (size_t i = 0; i < base->count && err->status == DT_OK; i++) {
        const tensor_entry *e = tensor_file_find(other, base->entries[i].name);
        if (e)
            blend_tensor(j, &base->entries[i], e, share, err);
        else if (strcmp(base->entries[i].name, MODEL_NULL_TIME)) /* which a model may have or not */
            error_set(err, DT_ERR_SHAPE, "%s: tensor %s is missing, which %s has", other->path, base->entries[i].name,
                      base->path);
    }
    identify(j, other, share);
    return err->status;
}

/* ---- those that stay beside the network ---- */

/* Whether a dimension of the tensor can be the size of something: else its row, made of size 1, will not fit. */
static bool is_size(const tensor_entry *e, int dim_count, int dim)
{
    return e && e->dim_count == dim_count && e->dims[dim] > 0 && e->dims[dim] <= TOKENS_MAX;
}

static adapter_plan plan_of(const adapter_file *a)
{
    const tensor_file *f = &a->tensors;
    const char *scale = tensor_file_metadata(f, ADAPTER_SCALE);
    const tensor_entry *down = tensor_file_find(f, "blocks.0.adaptmlp.down_proj.weight");
    const tensor_entry *prompts = tensor_file_find(f, "blocks.0.prompt_embeddings");
    return (adapter_plan){.kind = a->kind,
                          .tokens = is_size(prompts, 3, 1) ? prompts->dims[1] : 1,
                          .width = is_size(down, 2, 0) ? down->dims[0] : 1,
                          .scale = (scale ? strtod(scale, NULL) : 0.1) * a->weight};
}

static dt_status join_file(ctx *c, const adapter_file *a, denoiser *d)
{
    static const params_words words = {"an adapter of this network", "an adapter of this network"};
    const adapter_plan plan = plan_of(a);
    adapter *joined = arena_alloc_zeroed(&c->model, sizeof *joined, &c->error);
    if (!joined || adapter_open(c, joined, d, &plan, 0) != DT_OK) return c->error.status;
    for (int i = 0; i < joined->params.count && !ctx_failed(c); i++)
        params_read_row(c, &joined->params.row[i], &a->tensors, &words);
    if (!ctx_failed(c)) params_round(c, &joined->params);
    return c->error.status;
}

dt_status adapter_files_join(ctx *c, const adapter_files *j, denoiser *d)
{
    for (int i = 0; i < j->count && !ctx_failed(c); i++)
        if (!is_merged(j->file[i].kind)) join_file(c, &j->file[i], d);
    return c->error.status;
}

/* ---- PEFT's description ---- */

const char *adapter_prefix(const adapter_plan *plan)
{
    return plan->kind == DT_ADAPTER_LORA ? PEFT_PREFIX : "";
}

static json_t *list_of(const char *words)
{
    json_t *list = json_array();
    for (const char *w = words; *w; w += strspn(w, ", ")) {
        const size_t length = strcspn(w, ", ");
        json_add(&list, json_stringn(w, length));
        w += length;
    }
    return list;
}

/* Modules that are saved whole, by the names of their weights: "y_embedder.embedding_table". */
static json_t *saved_modules(const denoiser *d)
{
    json_t *list = json_array();
    for (int i = 0; i < d->params->count && d->sites->label_rows; i++) {
        const char *name = d->params->row[i].name;
        if (fnmatch(d->sites->label_rows, name, 0) == 0)
            json_add(&list, json_stringn(name, (size_t)(strrchr(name, '.') - name)));
    }
    return list;
}

dt_status adapter_config_write(const adapter_plan *plan, const denoiser *d, const char *base, const char *path,
                               dt_error *err)
{
    char *resolved = realpath(base, NULL);
    const bool lora = plan->kind == DT_ADAPTER_LORA;
    json_t *config = peft_config_new(lora ? "LORA" : adapter_kind_name(plan->kind), resolved ? resolved : base);
    free(resolved);
    if (lora) {
        const bool all = !strcmp(plan->targets, "all-linear");
        peft_config_add_lora(&config, plan->rank, plan->alpha > 0 ? plan->alpha : (double)plan->rank, plan->root,
                             all ? json_string(plan->targets) : list_of(plan->targets), saved_modules(d));
        if (plan->dora) json_put(&config, "use_dora", json_true());
    }
    return json_file_write(path, config, NULL, err);
}
