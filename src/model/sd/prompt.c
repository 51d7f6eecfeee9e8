#include "model/sd/prompt.h"

#include <stdio.h>
#include <string.h>

#include "container/tensor_open.h"
#include "file/json_file.h"

enum { PROMPT_BATCH = 8 };

/* ---- opening ---- */

static bool find_below(char out[DT_PATH_MAX], const char *folder, const char *name)
{
    file_join(out, folder, name);
    return file_exists(out);
}

/* The folder of the text encoder: below that of a pipeline, or the folder itself. */
static dt_status find_encoder(char out[DT_PATH_MAX], const char *model, dt_error *err)
{
    char path[DT_PATH_MAX];
    if (find_below(path, model, "text_encoder_2"))
        return error_set(err, DT_ERR_UNSUPPORTED,
                         "%s: a folder with two text encoders, as Stable Diffusion XL and 3 have; that of Stable "
                         "Diffusion 1.x expected",
                         model);
    if (!find_below(out, model, "text_encoder")) snprintf(out, DT_PATH_MAX, "%s", model);
    return DT_OK;
}

static dt_status find_weights(char out[DT_PATH_MAX], const char *folder, dt_error *err)
{
    static const char *const names[] = {"model.safetensors", "pytorch_model.bin", "model.fp16.safetensors",
                                        "pytorch_model.fp16.bin"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (find_below(out, folder, names[i])) return DT_OK;
    return error_set(err, DT_ERR_IO, "%s: a text encoder expected (text_encoder/model.safetensors), found none",
                     folder);
}

/* What transformers' config.json says; what it leaves out is as in transformers, but for the heads. */
static dt_status read_config(clip_config *out, const char *folder, dt_error *err)
{
    char path[DT_PATH_MAX];
    if (!folder[0] || !find_below(path, folder, "config.json")) return DT_OK;
    json_t *config = json_file_read(path, err);
    if (!config) return err->status;
    const json_t *heads = json_object_get(config, "num_attention_heads"),
                 *layers = json_object_get(config, "num_hidden_layers"),
                 *epsilon = json_object_get(config, "layer_norm_eps");
    const char *activation = json_text_at(config, "hidden_act");
    const bool exact = !strcmp(activation, "gelu");
    if (heads) out->heads = json_integer_value(heads);
    if (layers) out->layers = json_integer_value(layers);
    if (epsilon) out->epsilon = json_number_value(epsilon);
    if (exact) out->activation = CLIP_GELU;
    if (json_integer_value(json_object_get(config, "hidden_size")) == 1024 && exact)
        error_set(err, DT_ERR_UNSUPPORTED,
                  "%s: OpenCLIP, the text encoder of Stable Diffusion 2; that of 1.x (CLIP ViT-L/14) expected", path);
    else if (heads && (out->heads < 1 || out->heads > 1 << 14))
        error_set(err, DT_ERR_FORMAT, "%s: num_attention_heads: a whole number above 0 expected", path);
    else if (!(out->epsilon >= 0 && out->epsilon <= 1))
        error_set(err, DT_ERR_FORMAT, "%s: layer_norm_eps: a number from 0 to 1 expected", path);
    else if (activation[0] && !exact && strcmp(activation, "quick_gelu") != 0)
        error_set(err, DT_ERR_UNSUPPORTED, "%s: hidden_act quick_gelu or gelu expected, found %.100s", path,
                  activation);
    json_decref(config);
    return err->status;
}

static dt_status open_network(ctx *c, prompt_encoder *p, const char *path, const char *folder)
{
    tensor_file f;
    clip_config config = {.epsilon = 1e-5};
    if (read_config(&config, folder, &c->error) != DT_OK || tensor_file_open(&f, path, &c->error) != DT_OK)
        return c->error.status;
    if (clip_text_enter(&f, &c->error) == DT_OK) clip_text_open(c, &p->network, &f, &config);
    tensor_file_close(&f);
    return c->error.status;
}

/* The vocabulary of `model`, or beside the folder of its text encoder. */
static dt_status open_vocabulary(ctx *c, prompt_encoder *p, const char *model, const char *vocabulary)
{
    char path[DT_PATH_MAX], beside[DT_PATH_MAX];
    snprintf(path, sizeof path, "%s", vocabulary);
    snprintf(beside, sizeof beside, "%.*s/..", DT_PATH_MAX - 4, model);
    if (path[0] || tokenizer_find(path, model) || (file_is_folder(model) && tokenizer_find(path, beside)))
        return tokenizer_open(c, &p->tokenizer, path);
    return error_set(&c->error, DT_ERR_IO,
                     "%s: no vocabulary for its text encoder; put tokenizer/ of diffusers' folder or openai/CLIP's "
                     "bpe_simple_vocab_16e6.txt.gz beside it, or name it (tokenizer)",
                     model);
}

static void hash_both(prompt_encoder *p, const char network[65])
{
    char both[2 * sizeof p->sha256];
    file_hash hash;
    memcpy(both, p->tokenizer.sha256, sizeof p->sha256);
    memcpy(both + sizeof p->sha256, network, sizeof p->sha256);
    file_sha256_bytes(&hash, both, sizeof both);
    memcpy(p->sha256, hash.hex, sizeof p->sha256);
}

dt_status prompt_encoder_open(ctx *c, prompt_encoder *p, const char *model, const char *vocabulary)
{
    char path[DT_PATH_MAX], folder[DT_PATH_MAX] = "", network[65];
    dt_error *err = &c->error;
    *p = (prompt_encoder){0};
    snprintf(path, sizeof path, "%s", model);
    if (ctx_failed(c)) return err->status;
    if (file_is_folder(model) &&
        (find_encoder(folder, model, err) != DT_OK || find_weights(path, folder, err) != DT_OK))
        return err->status;
    if (open_network(c, p, path, folder) != DT_OK || open_vocabulary(c, p, model, vocabulary) != DT_OK ||
        clip_text_sha256(c, network, &p->network) != DT_OK)
        return err->status;
    p->tokens = p->network.tokens;
    p->width = p->network.width;
    hash_both(p, network);
    if (p->tokenizer.count <= p->network.vocabulary) return DT_OK;
    return error_set(err, DT_ERR_SHAPE,
                     "%s: the tokenizer does not fit the text encoder: it has %lld ids, the text encoder %lld", model,
                     (long long)p->tokenizer.count, (long long)p->network.vocabulary);
}

/* ---- encoding ---- */

static void encode_batch(ctx *c, const prompt_encoder *p, float *context, const char *const text[], int64_t n)
{
    int64_t wanted;
    const arena_place mark = arena_mark(&c->step);
    int32_t *ids = arena_alloc(&c->step, (size_t)(n * p->tokens) * sizeof *ids, &c->error);
    for (int64_t i = 0; ids && i < n; i++)
        tokenizer_encode(c, &p->tokenizer, ids + i * p->tokens, p->tokens, text[i], &wanted);
    const tensor *y = ctx_failed(c) ? NULL : clip_text_forward(c, &p->network, ids, n);
    if (y) numbers_fetch(c, context, y->data, tensor_count(y));
    arena_release(&c->step, mark);
}

dt_status prompt_encode(ctx *c, const prompt_encoder *p, float *context, const char *const text[], int64_t n)
{
    for (int64_t i = 0; i < n && ctx_go_on(c); i += PROMPT_BATCH)
        encode_batch(c, p, context + i * p->tokens * p->width, text + i, n - i < PROMPT_BATCH ? n - i : PROMPT_BATCH);
    return c->error.status;
}

dt_status prompt_count_cut(ctx *c, const prompt_encoder *p, int64_t *cut, const char *const text[], int64_t n)
{
    const arena_place mark = arena_mark(&c->scratch);
    int32_t *ids = arena_alloc(&c->scratch, (size_t)p->tokens * sizeof *ids, &c->error);
    *cut = 0;
    for (int64_t i = 0; ids && i < n && ctx_go_on(c); i++) {
        int64_t wanted = 0;
        tokenizer_encode(c, &p->tokenizer, ids, p->tokens, text[i], &wanted);
        *cut += wanted > p->tokens;
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}

/* ---- for a network ---- */

static dt_status encode(ctx *c, void *user, float *context, const char *const text[], int64_t n)
{
    return prompt_encode(c, user, context, text, n);
}

static dt_status count_cut(ctx *c, void *user, int64_t *cut, const char *const text[], int64_t n)
{
    return prompt_count_cut(c, user, cut, text, n);
}

dt_status prompt_context_encoder(ctx *c, context_encoder *e, const char *model, const char *vocabulary, int64_t tokens,
                                 int64_t width)
{
    *e = (context_encoder){0};
    prompt_encoder *p = arena_alloc(&c->model, sizeof *p, &c->error);
    if (!p || prompt_encoder_open(c, p, model, vocabulary) != DT_OK) return c->error.status;
    if (p->tokens != tokens || p->width != width)
        return error_set(&c->error, DT_ERR_SHAPE,
                         "%s: the text encoder gives %lld tokens of width %lld, but the model is told %lld of width "
                         "%lld",
                         model, (long long)p->tokens, (long long)p->width, (long long)tokens, (long long)width);
    *e = (context_encoder){.tokens = tokens, .width = width, .user = p, .encode = encode, .count_cut = count_cut};
    memcpy(e->sha256, p->sha256, sizeof e->sha256);
    return DT_OK;
}
