#include "model/sd/unet.h"

#include <math.h>
#include <stdio.h>

#include "nn/timestep.h"
#include "op/conv.h"
#include "op/op.h"

enum { TIME_RATIO = 4 };

/* ---- configuration ---- */

static void check_range(const char *object, const char *field, int64_t value, int64_t least, int64_t most,
                        dt_error *err)
{
    if (value < least || value > most)
        error_set(err, DT_ERR_SHAPE, "%s: %s must be %lld..%lld, found %lld", object, field, (long long)least,
                  (long long)most, (long long)value);
}

static void check_multiple(const char *object, const char *field, int64_t value, const char *of, int64_t divisor,
                           dt_error *err)
{
    if (err->status == DT_OK && value % divisor)
        error_set(err, DT_ERR_SHAPE, "%s: %s %lld is not a multiple of %s %lld", object, field, (long long)value, of,
                  (long long)divisor);
}

dt_status unet_config_check(const unet_config *k, const char *object, dt_error *err)
{
    check_range(object, "sample_size", k->input_size, 1, 1024, err);
    check_range(object, "in_channels", k->in_channels, 1, 1024, err);
    check_range(object, "out_channels", k->out_channels, 1, 1024, err);
    check_range(object, "number of block_out_channels", k->level_count, 1, UNET_LEVELS_MAX, err);
    check_range(object, "layers_per_block", k->layers, 1, UNET_LAYERS_MAX, err);
    check_range(object, "cross_attention_dim", k->context_width, 1, 16384, err);
    check_range(object, "norm_num_groups", k->groups, 1, 1024, err);
    check_range(object, "classes", k->class_count, 0, 1 << 20, err);
    if (err->status == DT_OK && !(k->epsilon > 0 && k->epsilon < 1))
        error_set(err, DT_ERR_SHAPE, "%s: norm_eps must be between 0 and 1, found %g", object, k->epsilon);
    for (int64_t i = 0; err->status == DT_OK && i < k->level_count; i++) {
        check_range(object, "block_out_channels", k->width[i], 2, 16384, err);
        check_range(object, "attention_head_dim", k->heads[i], 1, 1024, err);
        check_multiple(object, "block_out_channels", k->width[i], "norm_num_groups", k->groups, err);
        if (k->down_attends[i] || k->up_attends[i] || i == k->level_count - 1)
            check_multiple(object, "block_out_channels", k->width[i], "attention_head_dim (the number of heads)",
                           k->heads[i], err);
    }
    check_multiple(object, "the first of block_out_channels", k->width[0], "the two halves of the time's embedding:", 2,
                   err);
    check_multiple(object, "sample_size", k->input_size,
                   "the stride of its levels:", (int64_t)1 << (k->level_count - 1), err);
    return err->status;
}

/* ---- weights ---- */

int unet_skip_count(const unet_config *k)
{
    return (int)(k->level_count * (k->layers + 1));
}

unet_maker unet_maker_of(ctx *c, params *p, const unet_config *k, int64_t more)
{
    enum { OTHER_MAPS = 2 };
    const int64_t layers = k->level_count * (2 * k->layers + 1) + 2;
    network_sites *s = arena_alloc_zeroed(&c->model, sizeof *s, &c->error);
    const size_t maps = (size_t)(layers * UNET_LAYER_MAPS + OTHER_MAPS + more);
    lin_w **map = arena_alloc(&c->model, maps * sizeof *map, &c->error);
    if (s) *s = (network_sites){.map = map, .attention = "to_k,to_q,to_v,to_out.0"};
    return (unet_maker){.c = c,
                        .params = p,
                        .sites = s,
                        .groups = k->groups,
                        .time_width = TIME_RATIO * k->width[0],
                        .context_width = k->context_width,
                        .epsilon = k->epsilon};
}

static bool add_layers(unet_maker *maker, unet_level *l, int64_t count)
{
    l->layer_count = count;
    l->layer = arena_alloc_zeroed(&maker->c->model, (size_t)count * sizeof *l->layer, &maker->c->error);
    return l->layer != NULL;
}

static void add_down(unet_maker *maker, unet_level *l, const unet_config *k, int64_t level)
{
    char prefix[32], name[64];
    const int64_t width = k->width[level], from = k->width[level ? level - 1 : 0];
    if (!add_layers(maker, l, k->layers)) return;
    snprintf(prefix, sizeof prefix, "down_blocks.%d", (int)level);
    for (int64_t i = 0; i < k->layers; i++)
        unet_add_layer(maker, &l->layer[i], width, i ? width : from, k->down_attends[level] ? k->heads[level] : 0,
                       prefix, (int)i);
    snprintf(name, sizeof name, "%s.downsamplers.0.conv", prefix);
    if (level < k->level_count - 1) unet_add_conv(maker, &l->resample, UNET_START, width, width, name);
}

void unet_add_encoder(unet_maker *maker, unet_encoder *e, const unet_config *k)
{
    const int64_t last = k->level_count - 1, width = k->width[last], time = maker->time_width;
    unet_add_conv(maker, &e->conv_in, UNET_START, k->width[0], k->in_channels, "conv_in");
    unet_add_map(maker, &e->time1, UNET_START, time, k->width[0], true, false, "time_embedding.linear_1");
    unet_add_map(maker, &e->time2, UNET_START, time, time, true, false, "time_embedding.linear_2");
    for (int64_t i = 0; i <= last; i++) add_down(maker, &e->down[i], k, i);
    unet_add_layer(maker, &e->middle, width, width, k->heads[last], "mid_block", 0);
    unet_add_layer(maker, &e->after, width, width, 0, "mid_block", 1);
}

/* Layer i is given the skip that the way down left i-th from the end: of its own level, the last one of the level before. */
static void add_up(unet_maker *maker, unet_level *l, const unet_config *k, int64_t index)
{
    char prefix[32], name[64];
    const int64_t level = k->level_count - 1 - index, width = k->width[level];
    const int64_t from = k->width[index ? level + 1 : level], above = k->width[level ? level - 1 : 0];
    if (!add_layers(maker, l, k->layers + 1)) return;
    snprintf(prefix, sizeof prefix, "up_blocks.%d", (int)index);
    for (int64_t i = 0; i <= k->layers; i++)
        unet_add_layer(maker, &l->layer[i], width, (i ? width : from) + (i < k->layers ? width : above),
                       k->up_attends[level] ? k->heads[level] : 0, prefix, (int)i);
    snprintf(name, sizeof name, "%s.upsamplers.0.conv", prefix);
    if (level > 0) unet_add_conv(maker, &l->resample, UNET_START, width, width, name);
}

dt_status unet_open(ctx *c, unet *m, const unet_config *k)
{
    *m = (unet){.config = *k};
    if (unet_config_check(k, "model", &c->error) != DT_OK) return c->error.status;
    unet_maker maker = unet_maker_of(c, &m->params, k, 0);
    if (ctx_failed(c)) return c->error.status;
    m->sites = maker.sites;
    unet_add_encoder(&maker, &m->encoder, k);
    for (int64_t i = 0; i < k->level_count; i++) add_up(&maker, &m->up[i], k, i);
    unet_add_norm(&maker, &m->norm_out, k->width[0], "conv_norm_out");
    unet_add_conv(&maker, &m->conv_out, UNET_START_ZERO, k->out_channels, k->width[0], "conv_out");
    if (!k->class_count) return c->error.status;
    /* Of variance 1, as the tokens of a text are. */
    m->class_tokens = params_add_uniform(c, &m->params, sqrt(3), 2, (int64_t[]){k->class_count + 1, k->context_width},
                                         "class_tokens.weight");
    m->sites->label_rows = "class_tokens.*";
    return c->error.status;
}

/* ---- forward ---- */

tensor *unet_pixels(ctx *c, tensor *x)
{
    return op_reshape(c, op_patchify(c, x, 1), 4, (int64_t[]){x->dim[0], x->dim[2], x->dim[3], x->dim[1]});
}

tensor *unet_embed_time(ctx *c, const unet_encoder *e, const real t[], int64_t n)
{
    if (ctx_failed(c)) return NULL;
    tensor *time = lin(c, &e->time1, timestep_embedding(c, t, n, e->time1.w->dim[1]), 0); /* [N,T] */
    return op_silu(c, lin(c, &e->time2, op_silu(c, time), 0));                            /* [N,T] */
}

tensor *unet_context(ctx *c, const unet *m, const condition *k, int64_t n)
{
    if (!m->class_tokens || ctx_failed(c)) return k->context;
    tensor *token = op_embedding(c, m->class_tokens, k->label, n); /* [N,W] */
    return op_reshape(c, token, 3, (int64_t[]){n, 1, m->config.context_width});
}

void unet_encode(ctx *c, const unet_encoder *e, const unet_config *k, unet_inner *inner, tensor *x, tensor *time,
                 tensor *context)
{
    inner->skip_count = 0;
    inner->skip[inner->skip_count++] = x;
    for (int64_t i = 0; i < k->level_count; i++) {
        const unet_level *l = &e->down[i];
        for (int64_t j = 0; j < l->layer_count; j++)
            inner->skip[inner->skip_count++] = x = unet_run_layer(c, &l->layer[j], x, NULL, time, context);
        if (l->resample.w) inner->skip[inner->skip_count++] = x = unet_downsample(c, &l->resample, x);
    }
    x = unet_run_layer(c, &e->middle, x, NULL, time, context);
    inner->middle = unet_run_layer(c, &e->after, x, NULL, time, context);
}

tensor *unet_decode(ctx *c, const unet *m, const unet_inner *inner, tensor *time, tensor *context)
{
    int left = inner->skip_count;
    tensor *x = inner->middle;
    for (int64_t i = 0; i < m->config.level_count; i++) {
        const unet_level *l = &m->up[i];
        for (int64_t j = 0; j < l->layer_count; j++)
            x = unet_run_layer(c, &l->layer[j], x, inner->skip[--left], time, context);
        if (l->resample.w) x = unet_upsample(c, &l->resample, x);
    }
    x = op_group_norm(c, x, m->norm_out.weight, m->norm_out.bias, m->config.groups, (real)m->config.epsilon);
    x = unet_convolve(c, &m->conv_out, op_silu(c, x)); /* [N,H,W,Cout] */
    if (ctx_failed(c)) return NULL;
    const int64_t n = x->dim[0], height = x->dim[1], width = x->dim[2], channels = x->dim[3];
    x = op_reshape(c, x, 3, (int64_t[]){n, height * width, channels});
    return op_unpatchify(c, x, 1, channels, height, width); /* [N,Cout,H,W] */
}

unet_inner unet_look(ctx *c, const unet *m, tensor *x, tensor *time, tensor *context)
{
    unet_inner inner = {0};
    tensor *h = unet_convolve(c, &m->encoder.conv_in, unet_pixels(c, x)); /* [N,H,W,width[0]] */
    unet_encode(c, &m->encoder, &m->config, &inner, h, time, context);
    return inner;
}

tensor *unet_forward(ctx *c, const unet *m, tensor *x, const real t[], const condition *k)
{
    if (ctx_failed(c)) return NULL;
    tensor *time = unet_embed_time(c, &m->encoder, t, x->dim[0]); /* [N,T] */
    tensor *context = unet_context(c, m, k, x->dim[0]);           /* [N,S,W] */
    const unet_inner inner = unet_look(c, m, x, time, context);
    return unet_decode(c, m, &inner, time, context);
}

tensor *unet_features(ctx *c, const unet *m, tensor *x, const real t[], const condition *k)
{
    if (ctx_failed(c)) return NULL;
    tensor *time = unet_embed_time(c, &m->encoder, t, x->dim[0]);
    tensor *context = unet_context(c, m, k, x->dim[0]);
    tensor *h = unet_look(c, m, x, time, context).middle; /* [N,h,w,C] */
    if (ctx_failed(c)) return NULL;
    return op_mean_tokens(c, op_reshape(c, h, 3, (int64_t[]){h->dim[0], h->dim[1] * h->dim[2], h->dim[3]}));
}
