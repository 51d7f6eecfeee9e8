#include "model/sd/clip_text.h"

#include <stdio.h>
#include <string.h>

#include "model/file/conv_file.h"
#include "op/op.h"

/* ---- where the network is ---- */

#define TOKENS "embeddings.token_embedding.weight"

static bool holds(const tensor_file *f, const char *part)
{
    for (size_t i = 0; i < f->count; i++)
        if (strstr(f->entries[i].name, part)) return true;
    return false;
}

dt_status clip_text_enter(tensor_file *f, dt_error *err)
{
    static const char *const inside[] = {
        "cond_stage_model.transformer.text_model.",
        "state_dict.cond_stage_model.transformer.text_model.",
        "text_model.",
        "cond_stage_model.transformer.",
        "state_dict.cond_stage_model.transformer.",
    };
    if (holds(f, "conditioner.embedders.") || (holds(f, "text_projection.weight") && !holds(f, "vision_model.")))
        return error_set(err, DT_ERR_UNSUPPORTED,
                         "%s: the text encoders of Stable Diffusion XL; that of Stable Diffusion 1.x expected",
                         f->path);
    if (holds(f, "transformer.resblocks."))
        return error_set(err, DT_ERR_UNSUPPORTED,
                         "%s: OpenCLIP, the text encoder of Stable Diffusion 2; that of 1.x (CLIP ViT-L/14) expected",
                         f->path);
    for (size_t i = 0; i < sizeof inside / sizeof *inside && !tensor_file_find(f, TOKENS); i++)
        tensor_file_enter(f, inside[i]);
    if (tensor_file_find(f, TOKENS)) return DT_OK;
    return error_set(err, DT_ERR_FORMAT,
                     "%s: CLIP's text encoder expected (text_model." TOKENS "), found none in the file", f->path);
}

/* ---- weights ---- */

typedef char weight_name[96];

static clip_map read_map(const conv_file *f, const char *prefix, const char *name, int64_t outputs, int64_t inputs)
{
    clip_map m = {0};
    char full[160];
    if (ctx_failed(f->c)) return m;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    m.w = tensor_new(f->c, &f->c->model, 2, (int64_t[]){outputs, inputs});
    m.b = tensor_new(f->c, &f->c->model, 1, &outputs);
    conv_file_rows(f, m.w, m.b, 0, full, outputs, inputs);
    return m;
}

static clip_norm read_norm(const conv_file *f, const char *prefix, const char *name, int64_t width)
{
    char weight[160], bias[160];
    snprintf(weight, sizeof weight, "%s%s.weight", prefix, name);
    snprintf(bias, sizeof bias, "%s%s.bias", prefix, name);
    return (clip_norm){conv_file_vector(f, weight, width), conv_file_vector(f, bias, width)};
}

static clip_block read_block(const conv_file *f, const clip_text *k, int64_t layer, int64_t inner)
{
    weight_name p;
    const int64_t d = k->width;
    snprintf(p, sizeof p, "encoder.layers.%lld.", (long long)layer);
    return (clip_block){.norm1 = read_norm(f, p, "layer_norm1", d),
                        .norm2 = read_norm(f, p, "layer_norm2", d),
                        .q = read_map(f, p, "self_attn.q_proj", d, d),
                        .k = read_map(f, p, "self_attn.k_proj", d, d),
                        .v = read_map(f, p, "self_attn.v_proj", d, d),
                        .out = read_map(f, p, "self_attn.out_proj", d, d),
                        .fc1 = read_map(f, p, "mlp.fc1", inner, d),
                        .fc2 = read_map(f, p, "mlp.fc2", d, inner)};
}

/* Rows of a matrix; 0 where there is none. */
static int64_t rows_of(const tensor_file *f, const char *name)
{
    const tensor_entry *e = tensor_file_find(f, name);
    return e && e->dim_count == 2 ? e->dims[0] : 0;
}

/* Widths and heads. *inner is the width of the mlp. */
static dt_status read_shape(clip_text *k, int64_t *inner, const tensor_file *f, dt_error *err)
{
    weight_name name = "";
    const tensor_entry *table = tensor_file_find(f, TOKENS);
    k->vocabulary = rows_of(f, TOKENS);
    k->width = k->vocabulary ? table->dims[1] : 0;
    k->tokens = rows_of(f, "embeddings.position_embedding.weight");
    *inner = rows_of(f, "encoder.layers.0.mlp.fc1.weight");
    for (int64_t rows = 1; rows && k->layers <= CLIP_LAYERS_MAX; k->layers += rows != 0) {
        snprintf(name, sizeof name, "encoder.layers.%lld.mlp.fc1.weight", (long long)k->layers);
        rows = rows_of(f, name);
    }
    if (k->vocabulary < 1 || k->vocabulary > 1 << 20 || k->width < 1 || k->width > 1 << 14 || k->tokens < 2 ||
        k->tokens > 1 << 12 || *inner < 1 || *inner > 1 << 16 || k->layers > CLIP_LAYERS_MAX)
        return error_set(
            err, DT_ERR_SHAPE,
            "%s: a text encoder expected, found %lld ids, %lld positions, widths %lld and %lld, %lld layers", f->path,
            (long long)k->vocabulary, (long long)k->tokens, (long long)k->width, (long long)*inner,
            (long long)k->layers);
    if (k->config.layers && k->config.layers != k->layers)
        return error_set(err, DT_ERR_UNSUPPORTED,
                         "%s: its config.json has num_hidden_layers %lld, the file %lld layers: all are used", f->path,
                         (long long)k->config.layers, (long long)k->layers);
    if (!k->config.heads) k->config.heads = k->width < 64 ? 1 : k->width / 64;
    if (k->width % k->config.heads || k->width / k->config.heads > ATTENTION_WIDTH_MAX)
        return error_set(err, DT_ERR_SHAPE, "%s: width %lld cannot be shared by %lld heads", f->path,
                         (long long)k->width, (long long)k->config.heads);
    return DT_OK;
}

static dt_status refuse_strangers(const conv_file *r)
{
    for (size_t i = 0; i < r->file->count && !ctx_failed(r->c); i++)
        if (!r->used[i] && strcmp(r->file->entries[i].name, "embeddings.position_ids") != 0)
            error_set(&r->c->error, DT_ERR_SHAPE, "%s: tensor %s is not one of this text encoder's", r->file->path,
                      r->file->entries[i].name);
    return r->c->error.status;
}

dt_status clip_text_open(ctx *c, clip_text *k, const tensor_file *f, const clip_config *config)
{
    int64_t inner;
    *k = (clip_text){.config = *config};
    if (ctx_failed(c) || read_shape(k, &inner, f, &c->error) != DT_OK) return c->error.status;
    const arena_place mark = arena_mark(&c->scratch);
    bool *used = arena_alloc_zeroed(&c->scratch, f->count * sizeof *used, &c->error);
    const conv_file r = {.c = c, .file = f, .net = "CLIP's text encoder", .used = used};
    k->block = arena_alloc_zeroed(&c->model, (size_t)k->layers * sizeof *k->block, &c->error);
    k->embedding = conv_file_matrix(&r, TOKENS, k->vocabulary, k->width);
    k->positions = conv_file_matrix(&r, "embeddings.position_embedding.weight", k->tokens, k->width);
    for (int64_t i = 0; i < k->layers && !ctx_failed(c); i++) k->block[i] = read_block(&r, k, i, inner);
    k->last = read_norm(&r, "", "final_layer_norm", k->width);
    refuse_strangers(&r);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

/* ---- identity ---- */

static void hash_tensor(ctx *c, struct sha256_ctx *hash, const tensor *t)
{
    const arena_place mark = arena_mark(&c->scratch);
    const real *values = ctx_failed(c) ? NULL : numbers_read(c, &c->scratch, t->data, tensor_count(t));
    if (values) sha256_update(hash, tensor_bytes(t), (const uint8_t *)values);
    arena_release(&c->scratch, mark);
}

dt_status clip_text_sha256(ctx *c, char hex[65], const clip_text *k)
{
    char text[DT_TEXT_MAX];
    struct sha256_ctx hash;
    file_hash out;
    sha256_init(&hash);
    snprintf(text, sizeof text, "clip text %lld %lld %lld %lld %lld %d %.17g", (long long)k->vocabulary,
             (long long)k->tokens, (long long)k->width, (long long)k->layers, (long long)k->config.heads,
             (int)k->config.activation, k->config.epsilon);
    sha256_update(&hash, strlen(text), (const uint8_t *)text);
    hash_tensor(c, &hash, k->embedding);
    hash_tensor(c, &hash, k->positions);
    for (int64_t i = 0; i < k->layers; i++) {
        const clip_block *b = &k->block[i];
        const tensor *const all[] = {b->norm1.weight, b->norm1.bias, b->norm2.weight, b->norm2.bias, b->q.w,   b->q.b,
                                     b->k.w,          b->k.b,        b->v.w,          b->v.b,        b->out.w, b->out.b,
                                     b->fc1.w,        b->fc1.b,      b->fc2.w,        b->fc2.b};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++) hash_tensor(c, &hash, all[j]);
    }
    hash_tensor(c, &hash, k->last.weight);
    hash_tensor(c, &hash, k->last.bias);
    file_hash_finish(&out, &hash);
    memcpy(hex, out.hex, sizeof out.hex);
    return c->error.status;
}

/* ---- the network ---- */

/* What one call of `tape_inference` needs. */
typedef struct part {
    const clip_text *k;
    const clip_block *b;
} part;

static tensor *map(ctx *c, const clip_map *m, tensor *x)
{
    return op_linear(c, x, m->w, m->b);
}

static tensor *norm(ctx *c, const clip_text *k, const clip_norm *n, tensor *x)
{
    return op_layer_norm(c, x, n->weight, n->bias, (real)k->config.epsilon);
}

/* GELU as it is defined: op_geglu of ones beside x. */
static tensor *gelu(ctx *c, tensor *x)
{
    tensor *ones = x ? tensor_new(c, &c->step, x->dim_count, x->dim) : NULL;
    real *values = ones ? numbers_prepare(c, &c->step, ones->data, tensor_count(ones)) : NULL;
    for (int64_t i = 0; values && i < tensor_count(ones); i++) values[i] = 1;
    if (values) numbers_send(c, ones->data, values, tensor_count(ones));
    return values ? op_geglu(c, op_concat(c, ones, x, 2)) : NULL;
}

static void block_forward(ctx *c, const void *arg, tensor *const in[], tensor *out[])
{
    const part *p = arg;
    const clip_block *b = p->b;
    tensor *x = in[0];                                                                 /* [N,S,D] */
    tensor *h = norm(c, p->k, &b->norm1, x);                                           /* [N,S,D] */
    tensor *q = map(c, &b->q, h), *keys = map(c, &b->k, h), *v = map(c, &b->v, h);     /* [N,S,D] */
    h = op_attention_apart(c, q, keys, v, p->k->config.heads, true);                   /* [N,S,D] */
    x = op_add(c, x, map(c, &b->out, h));                                              /* [N,S,D] */
    h = map(c, &b->fc1, norm(c, p->k, &b->norm2, x));                                  /* [N,S,4D] */
    h = p->k->config.activation == CLIP_QUICK_GELU ? op_quick_gelu(c, h) : gelu(c, h); /* [N,S,4D] */
    out[0] = op_add(c, x, map(c, &b->fc2, h));                                         /* [N,S,D] */
}

tensor *clip_text_forward(ctx *c, const clip_text *k, const int32_t ids[], int64_t n)
{
    const int precision = ctx_set_precision(c, 0);
    tensor *x = op_embedding(c, k->embedding, ids, n * k->tokens); /* [N*S,D] */
    x = x ? op_reshape(c, x, 3, (int64_t[]){n, k->tokens, k->width}) : NULL;
    x = op_add_row(c, x, k->positions); /* [N,S,D] */
    for (int64_t i = 0; i < k->layers && ctx_go_on(c); i++) {
        const part p = {k, &k->block[i]};
        tape_inference(c, block_forward, &p, &x, 1, &x, 1);
    }
    x = norm(c, k, &k->last, x);
    ctx_set_precision(c, precision);
    return x;
}
