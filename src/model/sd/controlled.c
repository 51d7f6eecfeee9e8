#include "model/sd/controlled.h"

#include <stdio.h>

#include "model/sd/controlnet_file.h"
#include "op/op.h"

/* In the model arena. */
typedef struct controlled {
    const denoiser *base;
    controlnet *net;
    char base_sha256[65];
} controlled;

/* out[N,Cout,H,W] as unet_forward's. The UNet's way down is never recorded and leaves the skips alone. */
static tensor *forward_both(ctx *c, const unet *base, const controlnet *m, tensor *x, const real t[],
                            const condition *k)
{
    unet_inner told;
    if (ctx_failed(c)) return NULL;
    const bool recording = c->recording;
    c->recording = false;
    tensor *time = unet_embed_time(c, &base->encoder, t, x->dim[0]); /* [N,T] */
    tensor *context = unet_context(c, base, k, x->dim[0]);           /* [N,S,W] */
    unet_inner inner = unet_look(c, base, x, time, context);
    c->recording = recording;
    controlnet_forward(c, m, &told, x, t, context, k->control);
    for (int i = 0; i < inner.skip_count; i++) inner.skip[i] = op_add(c, inner.skip[i], told.skip[i]);
    inner.middle = op_add(c, inner.middle, told.middle);
    return unet_decode(c, base, &inner, time, context);
}

static tensor *forward(ctx *c, const denoiser *d, tensor *x, const real t[], const condition *k)
{
    const controlled *s = d->self;
    return k->control ? forward_both(c, s->base->self, s->net, x, t, k) : denoiser_forward(c, s->base, x, t, k);
}

static tensor *features(ctx *c, const denoiser *d, tensor *x, const real t[], const condition *k)
{
    const controlled *s = d->self;
    return s->base->ops->features(c, s->base, x, t, k);
}

static dt_status write(ctx *c, const denoiser *d, const denoiser_file *f)
{
    const controlled *s = d->self;
    return controlnet_write(c, s->net, f->base_sha256 ? f->base_sha256 : s->base_sha256, f);
}

static dt_status check_format(const denoiser *d, dt_model_format format, const char *path, dt_error *err)
{
    const controlled *s = d->self;
    return controlnet_check_format(s->net, format, path, err);
}

dt_status controlled_denoiser(ctx *c, denoiser *d, const denoiser *base, controlnet *m, const char *base_sha256)
{
    static const denoiser_ops ops = {.kind = "ControlNet",
                                     .forward = forward,
                                     .features = features,
                                     .write = write,
                                     .check_format = check_format,
                                     .diffusers_folder = "controlnet"};
    const int64_t factor = controlnet_factor(&m->config);
    controlled *s = arena_alloc(&c->model, sizeof *s, &c->error);
    if (!s) return c->error.status;
    *s = (controlled){.base = base, .net = m};
    snprintf(s->base_sha256, sizeof s->base_sha256, "%s", base_sha256);
    *d = *base;
    d->ops = &ops;
    d->self = s;
    d->base = base;
    d->params = &m->params;
    d->sites = NULL;
    d->control = (sample_shape){m->config.control_channels, factor * base->shape.height, factor * base->shape.width};
    return c->error.status;
}
