#include "model/dit/dit_diffusers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/json_file.h"
#include "model/file/diffusers_folder.h"
#include "model/file/kind.h"

enum { POSITION_VALUES_MAX = 1 << 28 };

/* ---- names ---- */

static const alias once[] = {
    {"pos_embed.proj.weight", "x_embedder.proj.weight", 0, 0, false},
    {"pos_embed.proj.bias", "x_embedder.proj.bias", 0, 0, false},
    {"proj_out_1.weight", "final_layer.adaLN_modulation.1.weight", 0, 0, false},
    {"proj_out_1.bias", "final_layer.adaLN_modulation.1.bias", 0, 0, false},
    {"proj_out_2.weight", "final_layer.linear.weight", 0, 0, false},
    {"proj_out_2.bias", "final_layer.linear.bias", 0, 0, false},
};

static const alias per_block[] = {
    {"transformer_blocks.%d.norm1.emb.timestep_embedder.linear_1.weight", "t_embedder.mlp.0.weight", 0, 0, true},
    {"transformer_blocks.%d.norm1.emb.timestep_embedder.linear_1.bias", "t_embedder.mlp.0.bias", 0, 0, true},
    {"transformer_blocks.%d.norm1.emb.timestep_embedder.linear_2.weight", "t_embedder.mlp.2.weight", 0, 0, true},
    {"transformer_blocks.%d.norm1.emb.timestep_embedder.linear_2.bias", "t_embedder.mlp.2.bias", 0, 0, true},
    {"transformer_blocks.%d.norm1.emb.class_embedder.embedding_table.weight", "y_embedder.embedding_table.weight", 0, 0,
     true},
    {"transformer_blocks.%d.norm1.linear.weight", "blocks.%d.adaLN_modulation.1.weight", 0, 0, false},
    {"transformer_blocks.%d.norm1.linear.bias", "blocks.%d.adaLN_modulation.1.bias", 0, 0, false},
    {"transformer_blocks.%d.attn1.to_q.weight", "blocks.%d.attn.qkv.weight", 1, 3, false},
    {"transformer_blocks.%d.attn1.to_k.weight", "blocks.%d.attn.qkv.weight", 2, 3, false},
    {"transformer_blocks.%d.attn1.to_v.weight", "blocks.%d.attn.qkv.weight", 3, 3, false},
    {"transformer_blocks.%d.attn1.to_q.bias", "blocks.%d.attn.qkv.bias", 1, 3, false},
    {"transformer_blocks.%d.attn1.to_k.bias", "blocks.%d.attn.qkv.bias", 2, 3, false},
    {"transformer_blocks.%d.attn1.to_v.bias", "blocks.%d.attn.qkv.bias", 3, 3, false},
    {"transformer_blocks.%d.attn1.to_out.0.weight", "blocks.%d.attn.proj.weight", 0, 0, false},
    {"transformer_blocks.%d.attn1.to_out.0.bias", "blocks.%d.attn.proj.bias", 0, 0, false},
    {"transformer_blocks.%d.ff.net.0.proj.weight", "blocks.%d.mlp.fc1.weight", 0, 0, false},
    {"transformer_blocks.%d.ff.net.0.proj.bias", "blocks.%d.mlp.fc1.bias", 0, 0, false},
    {"transformer_blocks.%d.ff.net.2.weight", "blocks.%d.mlp.fc2.weight", 0, 0, false},
    {"transformer_blocks.%d.ff.net.2.bias", "blocks.%d.mlp.fc2.bias", 0, 0, false},
};

const alias_table dit_diffusers_names = {.once = once,
                                         .once_count = sizeof once / sizeof *once,
                                         .block = per_block,
                                         .block_count = sizeof per_block / sizeof *per_block,
                                         .network = "a DiT in diffusers' layout"};

/* ---- config.json ---- */

char *dit_diffusers_config(const dit_config *k)
{
    json_t *config = JSON_OBJECT(
        {"_class_name", json_string("DiTTransformer2DModel")}, {"sample_size", json_integer(k->input_size)},
        {"patch_size", json_integer(k->patch)}, {"in_channels", json_integer(k->channels)},
        {"out_channels", json_integer((k->learn_sigma ? 2 : 1) * k->channels)}, {"num_layers", json_integer(k->depth)},
        {"num_attention_heads", json_integer(k->heads)}, {"attention_head_dim", json_integer(k->hidden / k->heads)},
        {"num_embeds_ada_norm", json_integer(k->class_count)}, {"attention_bias", json_true()},
        {"activation_fn", json_string("gelu-approximate")}, {"norm_type", json_string("ada_norm_zero")},
        {"norm_elementwise_affine", json_false()}, {"norm_eps", json_real(1e-6)}, {"dropout", json_real(0)});
    char *text = json_text_of(config, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
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
    *k = (config_file){.err = err};
    k->object = diffusers_config_read(k->path, weights_path, "the input size and the head count", err);
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

static void add_positions(alias_view *v, int64_t grid, int64_t width)
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
    alias_add(v, &positions, "pos_embed");
}

static void add_heads(const alias_view *v, int64_t heads)
{
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)heads);
    if (!v->f->metadata) v->f->metadata = json_object();
    if (json_object_set_new(v->f->metadata, MODEL_HEADS, json_string(number)) != 0)
        error_set(v->err, DT_ERR_MEMORY, "%s: no memory for its metadata", v->f->path);
}

/* Positions and heads, which only config.json tells. */
static void add_told(alias_view *v, const void *user)
{
    const config_file *k = user;
    int64_t size = config_number(k, "sample_size"), patch = config_number(k, "patch_size");
    int64_t heads = config_number(k, "num_attention_heads"), head_dim = config_number(k, "attention_head_dim");
    config_word(k, "norm_type", "ada_norm_zero");
    config_word(k, "activation_fn", "gelu-approximate");
    if (v->err->status != DT_OK) return;
    const tensor_entry *bias = tensor_file_find(v->f, "pos_embed.proj.bias");
    int64_t grid = size / patch, width = heads * head_dim;
    if (!bias || bias->dim_count != 1 || bias->dims[0] != width) {
        alias_refuse(v, "pos_embed.proj.bias", "has another width than num_attention_heads and attention_head_dim say");
    } else if (size % patch || width % 4 || grid > 1024 || grid * grid * width > POSITION_VALUES_MAX) {
        error_set(v->err, DT_ERR_FORMAT,
                  "%s: sample_size: a multiple of patch_size expected, and no larger than a model", k->path);
    } else {
        add_positions(v, grid, width);
        add_heads(v, heads);
    }
}

dt_status dit_diffusers_view(tensor_file *f, dt_error *err)
{
    config_file config = {0};
    const alias_more more = {
        .complete = add_told, .user = &config, .entries = 1, .bytes = POSITION_VALUES_MAX * sizeof(float)};
    if (config_open(&config, f->path, err) == DT_OK)
        alias_read(f, &dit_diffusers_names, alias_blocks(&dit_diffusers_names, f), &more, err);
    json_decref(config.object);
    return err->status;
}
