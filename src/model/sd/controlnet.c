#include "model/sd/controlnet.h"

#include <stdio.h>

#include "op/op.h"

/* ---- configuration ---- */

int64_t controlnet_factor(const controlnet_config *k)
{
    return (int64_t)1 << (k->stem_count - 1);
}

dt_status controlnet_config_check(const controlnet_config *k, const char *object, dt_error *err)
{
    if (k->control_channels < 1 || k->control_channels > 1024)
        return error_set(err, DT_ERR_SHAPE, "%s: conditioning_channels must be 1..1024, found %lld", object,
                         (long long)k->control_channels);
    if (k->stem_count < 1 || k->stem_count > CONTROLNET_STEM_MAX)
        return error_set(err, DT_ERR_SHAPE, "%s: 1 to %d conditioning_embedding_out_channels expected, found %lld",
                         object, CONTROLNET_STEM_MAX, (long long)k->stem_count);
    for (int64_t i = 0; i < k->stem_count; i++)
        if (k->stem_width[i] < 1 || k->stem_width[i] > 16384)
            return error_set(err, DT_ERR_SHAPE, "%s: conditioning_embedding_out_channels must be 1..16384, found %lld",
                             object, (long long)k->stem_width[i]);
    return unet_config_check(&k->unet, object, err);
}

static void compare(const char *object, const char *field, int64_t own, int64_t base, dt_error *err)
{
    if (err->status == DT_OK && own != base)
        error_set(err, DT_ERR_SHAPE,
                  "%s: a ControlNet whose %s is %lld, and the model's is %lld: of another kind of base", object, field,
                  (long long)own, (long long)base);
}

dt_status controlnet_config_fits(const controlnet_config *k, const unet_config *base, const char *object, dt_error *err)
{
    const unet_config *u = &k->unet;
    compare(object, "in_channels", u->in_channels, base->in_channels, err);
    compare(object, "number of block_out_channels", u->level_count, base->level_count, err);
    compare(object, "layers_per_block", u->layers, base->layers, err);
    compare(object, "cross_attention_dim", u->context_width, base->context_width, err);
    for (int64_t i = 0; err->status == DT_OK && i < base->level_count; i++)
        compare(object, "block_out_channels", u->width[i], base->width[i], err);
    return err->status;
}

/* ---- weights ---- */

static void add_stem(unet_maker *maker, control_stem *s, const controlnet_config *k)
{
    static const char prefix[] = "controlnet_cond_embedding";
    char name[64];
    const int64_t *width = k->stem_width;
    s->count = k->stem_count - 1;
    snprintf(name, sizeof name, "%s.conv_in", prefix);
    unet_add_conv(maker, &s->in, UNET_START, width[0], k->control_channels, name);
    for (int64_t i = 0; i < s->count; i++) {
        snprintf(name, sizeof name, "%s.blocks.%d", prefix, (int)(2 * i));
        unet_add_conv(maker, &s->same[i], UNET_START, width[i], width[i], name);
        snprintf(name, sizeof name, "%s.blocks.%d", prefix, (int)(2 * i + 1));
        unet_add_conv(maker, &s->down[i], UNET_START, width[i + 1], width[i], name);
    }
    snprintf(name, sizeof name, "%s.conv_out", prefix);
    unet_add_conv(maker, &s->out, UNET_START_ZERO, k->unet.width[0], width[s->count], name);
}

static void add_zero(unet_maker *maker, lin_w *l, int64_t width, const char *name)
{
    unet_add_map(maker, l, UNET_START_ZERO, width, width, true, true, name);
}

/* One for conv_in, for each layer and for each way down. */
static void add_outputs(unet_maker *maker, controlnet *m)
{
    const unet_config *k = &m->config.unet;
    char name[64];
    int count = 0;
    for (int64_t level = 0; level < k->level_count; level++) {
        const bool leaves = level < k->level_count - 1;
        const int64_t outputs = (level == 0) + k->layers + leaves;
        for (int64_t i = 0; i < outputs; i++, count++) {
            snprintf(name, sizeof name, "controlnet_down_blocks.%d", count);
            add_zero(maker, &m->skip_out[count], k->width[level], name);
        }
    }
    add_zero(maker, &m->middle_out, k->width[k->level_count - 1], "controlnet_mid_block");
}

dt_status controlnet_open(ctx *c, controlnet *m, const controlnet_config *k)
{
    *m = (controlnet){.config = *k};
    if (controlnet_config_check(k, "ControlNet", &c->error) != DT_OK) return c->error.status;
    unet_maker maker = unet_maker_of(c, &m->params, &k->unet, unet_skip_count(&k->unet) + 1);
    if (ctx_failed(c)) return c->error.status;
    m->sites = maker.sites;
    unet_add_encoder(&maker, &m->encoder, &k->unet);
    add_stem(&maker, &m->stem, k);
    add_outputs(&maker, m);
    return c->error.status;
}

void controlnet_start(ctx *c, controlnet *m, const unet *from, uint64_t seed)
{
    for (int i = 0; i < m->params.count && !ctx_failed(c); i++) {
        tensor *row = m->params.row[i].tensor;
        const param *same = params_find(&from->params, m->params.row[i].name);
        if (same)
            c->engine.memory.copy(row->data, same->tensor->data, tensor_bytes(row));
        else
            params_start(c, row->data, &m->params, i, seed);
    }
    params_round(c, &m->params);
}

static void multiply(ctx *c, tensor *t, double scale)
{
    const arena_place mark = arena_mark(&c->scratch);
    const int64_t count = tensor_count(t);
    real *values = numbers_read(c, &c->scratch, t->data, count);
    for (int64_t i = 0; values && i < count; i++) values[i] = (real)(scale * (double)values[i]);
    if (values) numbers_send(c, t->data, values, count);
    arena_release(&c->scratch, mark);
}

void controlnet_scale(ctx *c, controlnet *m, double scale)
{
    for (int i = 0; i <= unet_skip_count(&m->config.unet); i++) {
        const lin_w *l = i ? &m->skip_out[i - 1] : &m->middle_out;
        multiply(c, l->w, scale);
        multiply(c, l->b, scale);
    }
    params_round(c, &m->params);
}

/* ---- forward ---- */

/* in: the control [N,C',fH,fW] */
static void stem_on_tape(ctx *c, const void *weights, tensor *const in[], tensor *out[])
{
    const control_stem *s = weights;
    tensor *h = op_silu(c, unet_convolve(c, &s->in, unet_pixels(c, in[0]))); /* [N,fH,fW,width[0]] */
    for (int64_t i = 0; i < s->count; i++) {
        h = op_silu(c, unet_convolve(c, &s->same[i], h));
        h = op_silu(c, unet_downsample(c, &s->down[i], h));
    }
    out[0] = unet_convolve(c, &s->out, h); /* [N,H,W,C] */
}

void controlnet_forward(ctx *c, const controlnet *m, unet_inner *out, tensor *x, const real t[], tensor *context,
                        tensor *control)
{
    *out = (unet_inner){0};
    if (ctx_failed(c)) return;
    tensor *time = unet_embed_time(c, &m->encoder, t, x->dim[0]);         /* [N,T] */
    tensor *h = unet_convolve(c, &m->encoder.conv_in, unet_pixels(c, x)); /* [N,H,W,width[0]] */
    h = op_add(c, h, unet_run(c, stem_on_tape, &m->stem, &control, 1));
    unet_encode(c, &m->encoder, &m->config.unet, out, h, time, context);
    for (int i = 0; i < out->skip_count; i++) out->skip[i] = lin(c, &m->skip_out[i], out->skip[i], 0);
    out->middle = lin(c, &m->middle_out, out->middle, 0);
}
