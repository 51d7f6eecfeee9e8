#include "model/dit/dit_diffusers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/json_file.h"

enum { QKV_PARTS = 3, POSITION_VALUES_MAX = 1 << 28 };

/* ---- names: one table for both directions ---- */

typedef struct alias {
    const char *diffusers, *dit;
    int part;  /* 1..3: this third of the DiT tensor's rows; 0: all of it */
    bool copy; /* one tensor in DiT, one of equal values in every block of diffusers */
} alias;

static const alias once[] = {
    {"pos_embed.proj.weight", "x_embedder.proj.weight", 0, false},
    {"pos_embed.proj.bias", "x_embedder.proj.bias", 0, false},
    {"proj_out_1.weight", "final_layer.adaLN_modulation.1.weight", 0, false},
    {"proj_out_1.bias", "final_layer.adaLN_modulation.1.bias", 0, false},
    {"proj_out_2.weight", "final_layer.linear.weight", 0, false},
    {"proj_out_2.bias", "final_layer.linear.bias", 0, false},
};

/* Below "transformer_blocks.N." and, but for copies, "blocks.N." */
static const alias per_block[] = {
    {"norm1.emb.timestep_embedder.linear_1.weight", "t_embedder.mlp.0.weight", 0, true},
    {"norm1.emb.timestep_embedder.linear_1.bias", "t_embedder.mlp.0.bias", 0, true},
    {"norm1.emb.timestep_embedder.linear_2.weight", "t_embedder.mlp.2.weight", 0, true},
    {"norm1.emb.timestep_embedder.linear_2.bias", "t_embedder.mlp.2.bias", 0, true},
    {"norm1.emb.class_embedder.embedding_table.weight", "y_embedder.embedding_table.weight", 0, true},
    {"norm1.linear.weight", "adaLN_modulation.1.weight", 0, false},
    {"norm1.linear.bias", "adaLN_modulation.1.bias", 0, false},
    {"attn1.to_q.weight", "attn.qkv.weight", 1, false},
    {"attn1.to_k.weight", "attn.qkv.weight", 2, false},
    {"attn1.to_v.weight", "attn.qkv.weight", 3, false},
    {"attn1.to_q.bias", "attn.qkv.bias", 1, false},
    {"attn1.to_k.bias", "attn.qkv.bias", 2, false},
    {"attn1.to_v.bias", "attn.qkv.bias", 3, false},
    {"attn1.to_out.0.weight", "attn.proj.weight", 0, false},
    {"attn1.to_out.0.bias", "attn.proj.bias", 0, false},
    {"ff.net.0.proj.weight", "mlp.fc1.weight", 0, false},
    {"ff.net.0.proj.bias", "mlp.fc1.bias", 0, false},
    {"ff.net.2.weight", "mlp.fc2.weight", 0, false},
    {"ff.net.2.bias", "mlp.fc2.bias", 0, false},
};

enum { ONCE_COUNT = sizeof once / sizeof *once, BLOCK_COUNT = sizeof per_block / sizeof *per_block };

int dit_diffusers_count(int64_t depth)
{
    return ONCE_COUNT + (int)depth * BLOCK_COUNT;
}

/* Number i of all names, in full. */
static const alias *full_alias(dit_diffusers_name diffusers, dit_diffusers_name own, int i)
{
    const alias *a = i < ONCE_COUNT ? &once[i] : &per_block[(i - ONCE_COUNT) % BLOCK_COUNT];
    int block = (i - ONCE_COUNT) / BLOCK_COUNT;
    if (i < ONCE_COUNT)
        snprintf(diffusers, sizeof(dit_diffusers_name), "%s", a->diffusers);
    else
        snprintf(diffusers, sizeof(dit_diffusers_name), "transformer_blocks.%d.%s", block, a->diffusers);
    if (i < ONCE_COUNT || a->copy)
        snprintf(own, sizeof(dit_diffusers_name), "%s", a->dit);
    else
        snprintf(own, sizeof(dit_diffusers_name), "blocks.%d.%s", block, a->dit);
    return a;
}

/* ---- config.json ---- */

char *dit_diffusers_config(const dit_config *k)
{
    json_t *config = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s, s:s, s:b, s:f, s:f}",
                               "_class_name", "DiTTransformer2DModel", "sample_size", (json_int_t)k->input_size,
                               "patch_size", (json_int_t)k->patch, "in_channels", (json_int_t)k->channels,
                               "out_channels", (json_int_t)(k->learn_sigma ? 2 : 1) * k->channels, "num_layers",
                               (json_int_t)k->depth, "num_attention_heads", (json_int_t)k->heads, "attention_head_dim",
                               (json_int_t)(k->hidden / k->heads), "num_embeds_ada_norm", (json_int_t)k->class_count,
                               "attention_bias", 1, "activation_fn", "gelu-approximate", "norm_type", "ada_norm_zero",
                               "norm_elementwise_affine", 0, "norm_eps", 1e-6, "dropout", 0.0);
    char *text = json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    json_decref(config);
    return text;
}

typedef struct config_file {
    char path[DT_PATH_MAX];
    json_t *object;
    dt_error *err;
} config_file;

static dt_status config_open(config_file *k, const char *weights_path, dt_error *err)
{
    const char *slash = strrchr(weights_path, '/');
    *k = (config_file){.err = err};
    snprintf(k->path, sizeof k->path, "%.*s" DIT_DIFFUSERS_CONFIG, (int)(slash ? slash + 1 - weights_path : 0),
             weights_path);
    if (!file_exists(k->path))
        return error_set(err, DT_ERR_IO,
                         "%s has diffusers' names, so %s is needed beside it: nothing else says the input "
                         "size and the head count",
                         weights_path, k->path);
    k->object = json_file_read(k->path, err);
    return err->status;
}

static int64_t config_number(const config_file *k, const char *key)
{
    const json_t *value = json_object_get(k->object, key);
    int64_t number = json_is_integer(value) ? json_integer_value(value) : 0;
    if (number < 1 || number > 1 << 20)
        error_set(k->err, DT_ERR_FORMAT, "%s: %s: a whole number above 0 expected", k->path, key);
    return number;
}

/* A key that may be missing but must not say anything else. */
static void config_word(const config_file *k, const char *key, const char *expected)
{
    const char *found = json_string_value(json_object_get(k->object, key));
    if (json_object_get(k->object, key) && (!found || strcmp(found, expected)))
        error_set(k->err, DT_ERR_UNSUPPORTED, "%s: %s: %s expected, found %s", k->path, key, expected,
                  found ? found : "no text");
}

/* ---- reading ---- */

bool dit_diffusers_fits(const tensor_file *f)
{
    return tensor_file_find(f, "transformer_blocks.0.attn1.to_q.weight") != NULL;
}

static int64_t count_blocks(const tensor_file *f)
{
    for (int64_t i = 0;; i++) {
        char name[64];
        snprintf(name, sizeof name, "transformer_blocks.%d.attn1.to_q.weight", (int)i);
        if (!tensor_file_find(f, name)) return i;
    }
}

typedef struct view {
    tensor_file *f;
    int64_t depth;
    arena memory; /* names, joined tensors, positions */
    tensor_entry *entries;
    size_t count;
    size_t used; /* tensors of the file that were met */
    dt_error *err;
} view;

static dt_status refuse(const view *v, const char *name, const char *why)
{
    return error_set(v->err, DT_ERR_SHAPE, "%s: tensor %s %s", v->f->path, name, why);
}

static tensor_entry *add_entry(view *v, const tensor_entry *like, const char *name)
{
    char *kept = arena_alloc(&v->memory, strlen(name) + 1, v->err);
    if (!kept) return NULL;
    strcpy(kept, name);
    tensor_entry *e = &v->entries[v->count++];
    *e = *like;
    e->name = kept;
    return e;
}

/* `e` without strides, in f32, in memory of the view. */
static void join(view *v, const tensor_entry *first, int parts, const tensor_entry *const part[], const char *name)
{
    int64_t *dims = arena_alloc(&v->memory, (size_t)first->dim_count * sizeof *dims, v->err);
    float *values = arena_alloc(&v->memory, (size_t)(parts * first->count) * sizeof *values, v->err);
    tensor_entry *e = values ? add_entry(v, first, name) : NULL;
    if (!e) return;
    memcpy(dims, first->dims, (size_t)first->dim_count * sizeof *dims);
    dims[0] *= parts;
    for (int i = 0; i < parts && v->err->status == DT_OK; i++)
        tensor_read_f32(values + i * first->count, part[i], v->err);
    e->dtype = SAFETENSORS_F32;
    e->dims = dims;
    e->strides = NULL;
    e->count = parts * first->count;
    e->data = values;
    e->bytes = e->count * (int64_t)sizeof *values;
}

static bool same_shape(const tensor_entry *a, const tensor_entry *b)
{
    return a->dim_count == b->dim_count && !memcmp(a->dims, b->dims, (size_t)a->dim_count * sizeof a->dims[0]);
}

/* q is met first; k and v have its shape. */
static void join_qkv(view *v, const tensor_entry *q, int i, const char *dit_name)
{
    const tensor_entry *part[QKV_PARTS] = {q};
    for (int k = 1; k < QKV_PARTS; k++) {
        dit_diffusers_name name, other;
        full_alias(name, other, i + k);
        part[k] = tensor_file_find(v->f, name);
        if (!part[k] || !same_shape(q, part[k])) {
            refuse(v, name, part[k] ? "has another shape than to_q" : "is missing");
            return;
        }
    }
    if (q->dim_count < 1)
        refuse(v, q->name, "has no dimension");
    else
        join(v, q, QKV_PARTS, part, dit_name);
}

static bool same_bytes(const tensor_entry *a, const tensor_entry *b)
{
    if (a->dtype != b->dtype || !same_shape(a, b) || a->strides || b->strides) return false;
    return a->data == b->data || !memcmp(a->data, b->data, (size_t)a->bytes);
}

/* Every block's copy must be the first block's. */
static void check_copy(view *v, const tensor_entry *e, int i)
{
    dit_diffusers_name first, own;
    full_alias(first, own, ONCE_COUNT + (i - ONCE_COUNT) % BLOCK_COUNT);
    if (!same_bytes(e, tensor_file_find(v->f, first)))
        refuse(v, e->name, "differs from block 0's: DiT has one embedding for all blocks");
}

static void take_name(view *v, int i)
{
    dit_diffusers_name name, own;
    const alias *a = full_alias(name, own, i);
    const tensor_entry *e = tensor_file_find(v->f, name);
    if (!e) {
        refuse(v, name, "is missing");
        return;
    }
    v->used++;
    if (a->copy && i >= ONCE_COUNT + BLOCK_COUNT)
        check_copy(v, e, i);
    else if (a->part == 1)
        join_qkv(v, e, i, own);
    else if (a->part == 0)
        add_entry(v, e, own);
}

static void name_stranger(const view *v)
{
    for (size_t k = 0; k < v->f->count; k++) {
        bool known = false;
        for (int i = 0; i < dit_diffusers_count(v->depth) && !known; i++) {
            dit_diffusers_name name, own;
            full_alias(name, own, i);
            known = !strcmp(name, v->f->entries[k].name);
        }
        if (!known) refuse(v, v->f->entries[k].name, "is not part of a DiT in diffusers' layout");
    }
}

static void add_positions(view *v, int64_t grid, int64_t width)
{
    int64_t count = grid * grid * width;
    int64_t *dims = arena_alloc(&v->memory, 3 * sizeof *dims, v->err);
    float *values = arena_alloc(&v->memory, (size_t)count * sizeof *values, v->err);
    if (!values) return;
    dit_positions(values, grid, width);
    memcpy(dims, (int64_t[]){1, grid * grid, width}, 3 * sizeof *dims);
    const tensor_entry positions = {.path = v->f->path,
                                    .dtype = SAFETENSORS_F32,
                                    .dim_count = 3,
                                    .dims = dims,
                                    .count = count,
                                    .data = values,
                                    .bytes = count * (int64_t)sizeof *values};
    add_entry(v, &positions, "pos_embed");
}

static void add_heads(const view *v, int64_t heads)
{
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)heads);
    if (!v->f->metadata) v->f->metadata = json_object();
    if (json_object_set_new(v->f->metadata, "difftune.heads", json_string(number)) != 0)
        error_set(v->err, DT_ERR_MEMORY, "%s: no memory for its metadata", v->f->path);
}

/* Positions and heads, which only config.json tells. */
static void add_told(view *v, const config_file *k)
{
    int64_t size = config_number(k, "sample_size"), patch = config_number(k, "patch_size");
    int64_t heads = config_number(k, "num_attention_heads"), head_dim = config_number(k, "attention_head_dim");
    config_word(k, "norm_type", "ada_norm_zero");
    config_word(k, "activation_fn", "gelu-approximate");
    if (v->err->status != DT_OK) return;
    const tensor_entry *bias = tensor_file_find(v->f, "pos_embed.proj.bias");
    int64_t grid = size / patch, width = heads * head_dim;
    if (!bias || bias->dim_count != 1 || bias->dims[0] != width) {
        refuse(v, "pos_embed.proj.bias", "has another width than num_attention_heads and attention_head_dim say");
    } else if (size % patch || width % 4 || grid > 1024 || grid * grid * width > POSITION_VALUES_MAX) {
        error_set(v->err, DT_ERR_FORMAT,
                  "%s: sample_size: a multiple of patch_size expected, and no larger than a model", k->path);
    } else {
        add_positions(v, grid, width);
        add_heads(v, heads);
    }
}

/* Room for what a view makes: three parts in f32, names, and positions. */
static size_t memory_of(const tensor_file *f, int names)
{
    size_t bytes = POSITION_VALUES_MAX * sizeof(float) + (size_t)names * 4 * sizeof(dit_diffusers_name);
    for (size_t i = 0; i < f->count; i++)
        if (strstr(f->entries[i].name, ".attn1.to_")) bytes += (size_t)f->entries[i].count * sizeof(float);
    return bytes;
}

dt_status dit_diffusers_view(tensor_file *f, dt_error *err)
{
    view v = {.f = f, .depth = count_blocks(f), .err = err};
    config_file config = {0};
    int names = dit_diffusers_count(v.depth);
    v.entries = calloc((size_t)names + 1, sizeof *v.entries);
    if (!v.entries) error_set(err, DT_ERR_MEMORY, "%s: no memory for its tensors", f->path);
    if (err->status == DT_OK && config_open(&config, f->path, err) == DT_OK &&
        arena_open(&v.memory, "tensors of a diffusers file", memory_of(f, names), err) == DT_OK) {
        for (int i = 0; i < names && err->status == DT_OK; i++) take_name(&v, i);
        if (err->status == DT_OK && v.used != f->count) name_stranger(&v);
        if (err->status == DT_OK) add_told(&v, &config);
    }
    json_decref(config.object);
    if (err->status == DT_OK) {
        tensor_file_replace(f, v.entries, v.count, &v.memory, err);
    } else {
        free(v.entries);
        arena_close(&v.memory);
    }
    return err->status;
}

/* ---- writing ---- */

static const tensor_source *find_source(const tensor_source own[], size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(own[i].name, name)) return &own[i];
    return NULL;
}

void dit_diffusers_sources(tensor_source out[], dit_diffusers_name names[], int64_t dims[][4],
                           const tensor_source own[], size_t own_count, int64_t depth)
{
    for (int i = 0; i < dit_diffusers_count(depth); i++) {
        dit_diffusers_name name;
        const alias *a = full_alias(names[i], name, i);
        out[i] = *find_source(own, own_count, name);
        out[i].name = names[i];
        if (a->part == 0) continue;
        int64_t third = 1;
        memcpy(dims[i], out[i].dims, (size_t)out[i].dim_count * sizeof dims[i][0]);
        dims[i][0] /= QKV_PARTS;
        for (int k = 0; k < out[i].dim_count; k++) third *= dims[i][k];
        out[i].dims = dims[i];
        out[i].values += (a->part - 1) * third;
    }
}
