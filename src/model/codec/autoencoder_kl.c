#include "model/codec/autoencoder_kl.h"

#include <stdio.h>
#include <string.h>

#include "op/conv.h"
#include "op/op.h"

#define KL_EPSILON 1e-6

/* ---- names: the same network under the original names and under diffusers' ---- */

typedef struct reader {
    conv_file file;
    bool diffusers, old_attention; /* diffusers before 0.18 called the projections query, key, value, proj_attn */
    const autoencoder_kl *k;
    const char *half; /* "encoder", "decoder" */
} reader;

typedef char tensor_name[96];

static bool has(const tensor_file *f, const char *name)
{
    return tensor_file_find(f, name) != NULL;
}

/* "encoder.down.0.block.1": residual block `block` of level `level`. diffusers counts the decoder's levels from the
 * smallest image. */
static void level_name(tensor_name out, const reader *r, int level, const char *original, const char *diffusers)
{
    bool down = r->half[0] == 'e';
    if (r->diffusers)
        snprintf(out, sizeof(tensor_name), "%s.%s_blocks.%d.%s", r->half, down ? "down" : "up",
                 down ? level : r->k->level_count - 1 - level, diffusers);
    else
        snprintf(out, sizeof(tensor_name), "%s.%s.%d.%s", r->half, down ? "down" : "up", level, original);
}

static void block_name(tensor_name out, const reader *r, int level, int block)
{
    char original[32], diffusers[32];
    snprintf(original, sizeof original, "block.%d", block);
    snprintf(diffusers, sizeof diffusers, "resnets.%d", block);
    level_name(out, r, level, original, diffusers);
}

static void resample_name(tensor_name out, const reader *r, int level)
{
    bool down = r->half[0] == 'e';
    level_name(out, r, level, down ? "downsample.conv" : "upsample.conv",
               down ? "downsamplers.0.conv" : "upsamplers.0.conv");
}

/* `part` of the half, or of what has the name `part` itself. */
static void part_name(tensor_name out, const reader *r, const char *original, const char *diffusers)
{
    snprintf(out, sizeof(tensor_name), "%s.%s", r->half, r->diffusers ? diffusers : original);
}

/* ---- weights ---- */

static void read_conv(const reader *r, conv_weights *k, const char *prefix, const char *name, int64_t outputs,
                      int64_t inputs, int64_t side)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    conv_file_read(&r->file, k, full, outputs, inputs, side, true);
}

static void read_norm(const reader *r, kl_norm *norm, const char *prefix, int64_t width)
{
    char full[144];
    snprintf(full, sizeof full, "%s.weight", prefix);
    norm->weight = conv_file_vector(&r->file, full, width);
    snprintf(full, sizeof full, "%s.bias", prefix);
    norm->bias = conv_file_vector(&r->file, full, width);
}

static void read_block(const reader *r, kl_block *b, const char *prefix, int64_t inputs, int64_t outputs)
{
    char name[128];
    snprintf(name, sizeof name, "%s.norm1", prefix);
    read_norm(r, &b->norm1, name, inputs);
    read_conv(r, &b->conv1, prefix, "conv1", outputs, inputs, 3);
    snprintf(name, sizeof name, "%s.norm2", prefix);
    read_norm(r, &b->norm2, name, outputs);
    read_conv(r, &b->conv2, prefix, "conv2", outputs, outputs, 3);
    if (inputs != outputs)
        read_conv(r, &b->shortcut, prefix, r->diffusers ? "conv_shortcut" : "nin_shortcut", outputs, inputs, 1);
}

static void read_attention(const reader *r, kl_attention *a, int64_t width)
{
    static const char *const names[3][5] = {{"norm", "q", "k", "v", "proj_out"},
                                            {"group_norm", "to_q", "to_k", "to_v", "to_out.0"},
                                            {"group_norm", "query", "key", "value", "proj_attn"}};
    const char *const *name = names[r->diffusers ? 1 + r->old_attention : 0];
    tensor_name prefix;
    char full[128];
    ctx *c = r->file.c;
    part_name(prefix, r, "mid.attn_1", "mid_block.attentions.0");
    snprintf(full, sizeof full, "%s.%s", prefix, name[0]);
    read_norm(r, &a->norm, full, width);
    a->qkv = tensor_new(c, &c->model, 2, (int64_t[]){3 * width, width});
    a->qkv_bias = tensor_new(c, &c->model, 1, (int64_t[]){3 * width});
    a->out = tensor_new(c, &c->model, 2, (int64_t[]){width, width});
    a->out_bias = tensor_new(c, &c->model, 1, &width);
    for (int i = 0; i < 4; i++) {
        snprintf(full, sizeof full, "%s.%s", prefix, name[1 + i]);
        if (i < 3)
            conv_file_rows(&r->file, a->qkv, a->qkv_bias, i * width, full, width, width);
        else
            conv_file_rows(&r->file, a->out, a->out_bias, 0, full, width, width);
    }
}

static void read_middle(const reader *r, kl_half *h, int64_t width)
{
    tensor_name name;
    part_name(name, r, "mid.block_1", "mid_block.resnets.0");
    read_block(r, &h->before, name, width, width);
    read_attention(r, &h->attention, width);
    part_name(name, r, "mid.block_2", "mid_block.resnets.1");
    read_block(r, &h->after, name, width, width);
}

static void read_ends(const reader *r, kl_half *h, int64_t inputs, int64_t first, int64_t last, int64_t outputs)
{
    tensor_name name;
    read_conv(r, &h->conv_in, r->half, "conv_in", first, inputs, 3);
    part_name(name, r, "norm_out", "conv_norm_out");
    read_norm(r, &h->norm_out, name, last);
    read_conv(r, &h->conv_out, r->half, "conv_out", outputs, last, 3);
}

static void read_encoder(reader *r, kl_half *h)
{
    const autoencoder_kl *k = r->k;
    tensor_name name;
    int last = k->level_count - 1;
    r->half = "encoder";
    read_ends(r, h, 3, k->width[0], k->width[last], 2 * k->latents);
    for (int level = 0; level <= last; level++) {
        for (int i = 0; i < k->block_count; i++) {
            block_name(name, r, level, i);
            read_block(r, &h->level[level].block[i], name, k->width[i || !level ? level : level - 1], k->width[level]);
        }
        resample_name(name, r, level);
        if (level < last)
            conv_file_read(&r->file, &h->level[level].resample, name, k->width[level], k->width[level], 3, true);
    }
    read_middle(r, h, k->width[last]);
    conv_file_read(&r->file, &h->quant, "quant_conv", 2 * k->latents, 2 * k->latents, 1, true);
}

static void read_decoder(reader *r, kl_half *h)
{
    const autoencoder_kl *k = r->k;
    tensor_name name;
    int last = k->level_count - 1;
    r->half = "decoder";
    read_ends(r, h, k->latents, k->width[last], k->width[0], 3);
    for (int level = last; level >= 0; level--) {
        for (int i = 0; i <= k->block_count; i++) {
            block_name(name, r, level, i);
            read_block(r, &h->level[level].block[i], name, k->width[i || level == last ? level : level + 1],
                       k->width[level]);
        }
        resample_name(name, r, level);
        if (level > 0)
            conv_file_read(&r->file, &h->level[level].resample, name, k->width[level], k->width[level], 3, true);
    }
    read_middle(r, h, k->width[last]);
    conv_file_read(&r->file, &h->quant, "post_quant_conv", k->latents, k->latents, 1, true);
}

/* ---- shape of the network ---- */

bool autoencoder_kl_fits(const tensor_file *f)
{
    return has(f, "encoder.down.0.block.0.conv1.weight") || has(f, "encoder.down_blocks.0.resnets.0.conv1.weight");
}

/* The first dimension of a tensor of `dim_count` dimensions, 1..most; 0 when there is none. */
static int64_t first_dim(const tensor_file *f, const char *name, int64_t most)
{
    const tensor_entry *e = tensor_file_find(f, name);
    return e && e->dim_count >= 2 && e->dims[0] <= most ? e->dims[0] : 0;
}

static dt_status read_shape(autoencoder_kl *k, reader *r, dt_error *err)
{
    const tensor_file *f = r->file.file;
    tensor_name name;
    char full[128];
    r->half = "encoder";
    for (; k->level_count < KL_LEVELS_MAX; k->level_count++) {
        block_name(name, r, k->level_count, 0);
        snprintf(full, sizeof full, "%s.conv1.weight", name);
        int64_t width = first_dim(f, full, 1 << 14);
        if (width == 0) break;
        if (width % k->groups)
            return error_set(err, DT_ERR_SHAPE, "%s: tensor %s: a width divisible by %lld groups expected, found %lld",
                             f->path, full, (long long)k->groups, (long long)width);
        k->width[k->level_count] = width;
    }
    for (bool more = true; more && k->block_count < KL_BLOCKS_MAX - 1; k->block_count += more) {
        block_name(name, r, 0, k->block_count);
        snprintf(full, sizeof full, "%s.conv1.weight", name);
        more = has(f, full);
    }
    k->latents = first_dim(f, "post_quant_conv.weight", 1 << 10);
    if (k->level_count && k->block_count && k->latents) return DT_OK;
    return error_set(err, DT_ERR_SHAPE, "%s: tensor %s expected (AutoencoderKL), found none of a usable shape", f->path,
                     k->latents ? full : "post_quant_conv.weight");
}

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* A network with more in it (attention at other levels, say) would be computed wrongly. */
static dt_status refuse_strangers(const conv_file *r)
{
    for (size_t i = 0; i < r->file->count; i++) {
        const char *name = r->file->entries[i].name;
        bool ours = begins(name, "encoder.") || begins(name, "decoder.") || begins(name, "quant_conv.") ||
                    begins(name, "post_quant_conv.");
        if (ours && !r->used[i])
            return error_set(&r->c->error, DT_ERR_SHAPE, "%s: tensor %s is not one of this AutoencoderKL's",
                             r->file->path, name);
    }
    return DT_OK;
}

dt_status autoencoder_kl_open(ctx *c, autoencoder_kl *k, const tensor_file *f, int64_t groups)
{
    if (ctx_failed(c)) return c->error.status;
    *k = (autoencoder_kl){.groups = groups};
    reader r = {.file = {.c = c, .file = f, .net = "AutoencoderKL"},
                .diffusers = has(f, "encoder.down_blocks.0.resnets.0.conv1.weight"),
                .old_attention = has(f, "encoder.mid_block.attentions.0.query.weight"),
                .k = k};
    const arena_place mark = arena_mark(&c->scratch);
    r.file.used = arena_alloc_zeroed(&c->scratch, f->count * sizeof *r.file.used, &c->error);
    if (ctx_failed(c) || read_shape(k, &r, &c->error) != DT_OK) return c->error.status;
    read_encoder(&r, &k->encoder);
    read_decoder(&r, &k->decoder);
    if (!ctx_failed(c)) refuse_strangers(&r.file);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

/* ---- the network ---- */

static tensor *convolve(ctx *c, const conv_weights *k, tensor *x, int64_t pad)
{
    return op_conv2d(c, x, k->weight, k->bias, 1, pad);
}

static tensor *norm(ctx *c, const autoencoder_kl *k, const kl_norm *n, tensor *x)
{
    return op_group_norm(c, x, n->weight, n->bias, k->groups, (real)KL_EPSILON);
}

static tensor *norm_silu(ctx *c, const autoencoder_kl *k, const kl_norm *n, tensor *x)
{
    return op_silu(c, norm(c, k, n, x));
}

/* What one call of `tape_inference` needs: the network and the part of it that is run. */
typedef tensor *part_function(ctx *c, const void *arg, tensor *x);
typedef struct part {
    const autoencoder_kl *k;
    const void *weights;
    part_function *forward;
} part;

static tensor *block_forward(ctx *c, const void *arg, tensor *x)
{
    const part *p = arg;
    const kl_block *b = p->weights;
    tensor *h = convolve(c, &b->conv1, norm_silu(c, p->k, &b->norm1, x), 1);
    h = convolve(c, &b->conv2, norm_silu(c, p->k, &b->norm2, h), 1);
    return op_add(c, b->shortcut.weight ? convolve(c, &b->shortcut, x, 0) : x, h);
}

static tensor *attention_forward(ctx *c, const void *arg, tensor *x)
{
    const part *p = arg;
    const kl_attention *a = p->weights;
    tensor *h = norm(c, p->k, &a->norm, x);
    if (!h) return NULL;
    h = op_reshape(c, h, 3, (int64_t[]){x->dim[0], x->dim[1] * x->dim[2], x->dim[3]});
    h = op_linear(c, op_attention(c, op_linear(c, h, a->qkv, a->qkv_bias), 1), a->out, a->out_bias);
    return h ? op_add(c, x, op_reshape(c, h, 4, x->dim)) : NULL;
}

static tensor *downsample_forward(ctx *c, const void *arg, tensor *x)
{
    const conv_weights *k = ((const part *)arg)->weights;
    return op_conv2d(c, op_pad_end(c, x), k->weight, k->bias, 2, 0);
}

static tensor *upsample_forward(ctx *c, const void *arg, tensor *x)
{
    return convolve(c, ((const part *)arg)->weights, op_upsample(c, x), 1);
}

static tensor *end_forward(ctx *c, const void *arg, tensor *x)
{
    const part *p = arg;
    const kl_half *h = p->weights;
    return convolve(c, &h->conv_out, norm_silu(c, p->k, &h->norm_out, x), 1);
}

static void part_on_tape(ctx *c, const void *arg, tensor *const in[], tensor *out[])
{
    out[0] = ((const part *)arg)->forward(c, arg, in[0]);
}

static tensor *run(ctx *c, const autoencoder_kl *k, part_function *f, const void *weights, tensor *x)
{
    const part p = {k, weights, f};
    tensor *y;
    tape_inference(c, part_on_tape, &p, &x, 1, &y, 1);
    return y;
}

static tensor *middle_forward(ctx *c, const autoencoder_kl *k, const kl_half *h, tensor *x)
{
    x = run(c, k, block_forward, &h->before, x);
    x = run(c, k, attention_forward, &h->attention, x);
    return run(c, k, block_forward, &h->after, x);
}

static tensor *down_forward(ctx *c, const void *arg, tensor *x)
{
    const part *p = arg;
    const kl_level *l = p->weights;
    for (int i = 0; i < p->k->block_count; i++) x = run(c, p->k, block_forward, &l->block[i], x);
    return l->resample.weight ? run(c, p->k, downsample_forward, &l->resample, x) : x;
}

static tensor *up_forward(ctx *c, const void *arg, tensor *x)
{
    const part *p = arg;
    const kl_level *l = p->weights;
    for (int i = 0; i <= p->k->block_count; i++) x = run(c, p->k, block_forward, &l->block[i], x);
    return l->resample.weight ? run(c, p->k, upsample_forward, &l->resample, x) : x;
}

tensor *autoencoder_kl_encode(ctx *c, const autoencoder_kl *k, tensor *x)
{
    const kl_half *h = &k->encoder;
    x = convolve(c, &h->conv_in, x, 1);
    for (int i = 0; i < k->level_count; i++) x = run(c, k, down_forward, &h->level[i], x);
    x = middle_forward(c, k, h, x);
    return convolve(c, &h->quant, run(c, k, end_forward, h, x), 0);
}

tensor *autoencoder_kl_decode(ctx *c, const autoencoder_kl *k, tensor *z)
{
    const kl_half *h = &k->decoder;
    tensor *x = middle_forward(c, k, h, convolve(c, &h->conv_in, convolve(c, &h->quant, z, 0), 1));
    for (int i = k->level_count - 1; i >= 0; i--) x = run(c, k, up_forward, &h->level[i], x);
    return run(c, k, end_forward, h, x);
}
