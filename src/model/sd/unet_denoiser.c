#include "model/sd/unet_denoiser.h"

#include <string.h>

#include "model/sd/prompt.h"
#include "model/sd/unet_config.h"
#include "model/sd/unet_file.h"
#include "model/sd/unet_original.h"

#define UNET_NAME "UNet"

enum { INPAINTING = 9 }; /* channels in: the latents, a mask and what it leaves */

/* ---- as a denoiser ---- */

static tensor *forward(ctx *c, const denoiser *d, tensor *x, const real t[], const condition *k)
{
    return unet_forward(c, d->self, x, t, k);
}

static tensor *features(ctx *c, const denoiser *d, tensor *x, const real t[], const condition *k)
{
    return unet_features(c, d->self, x, t, k);
}

static dt_status write(ctx *c, const denoiser *d, const denoiser_file *f)
{
    return unet_write(c, d->self, f);
}

static dt_status check_format(const denoiser *d, dt_model_format format, const char *path, dt_error *err)
{
    return unet_check_format(d->self, format, path, err);
}

void unet_denoiser(denoiser *d, unet *m)
{
    static const denoiser_ops ops = {.kind = UNET_NAME,
                                     .forward = forward,
                                     .features = features,
                                     .write = write,
                                     .check_format = check_format,
                                     .diffusers_folder = "unet"};
    const unet_config *k = &m->config;
    *d = (denoiser){.ops = &ops,
                    .self = m,
                    .params = &m->params,
                    .sites = m->sites,
                    .shape = {k->in_channels, k->input_size, k->input_size},
                    .process = {k->noise, PREDICTS_NOISE, false},
                    .class_count = k->class_count,
                    .context_tokens = k->class_count ? 0 : UNET_CONTEXT_TOKENS,
                    .context_width = k->class_count ? 0 : k->context_width,
                    .feature_width = k->width[k->level_count - 1]};
}

/* ---- as a kind of network ---- */

static dt_status view(tensor_file *f, sample_shape *shape, dt_error *err)
{
    unet_config k;
    if (unet_file_view(f, err) != DT_OK || unet_file_config(&k, f, err) != DT_OK) return err->status;
    if (k.out_channels != k.in_channels)
        return error_set(err, DT_ERR_UNSUPPORTED, "%s: %lld channels in and %lld out%s: only as many are known here",
                         f->path, (long long)k.in_channels, (long long)k.out_channels,
                         k.in_channels == INPAINTING ? ", a UNet for inpainting" : "");
    *shape = (sample_shape){k.in_channels, k.input_size, k.input_size};
    return err->status;
}

static dt_status load(ctx *c, denoiser *d, const tensor_file *f, const model_info *info, const label_start *labels)
{
    unet *m = arena_alloc_zeroed(&c->model, sizeof *m, &c->error);
    if (m && unet_load(c, m, f, info, labels) == DT_OK) unet_denoiser(d, m);
    return c->error.status;
}

static dt_status open_encoder(ctx *c, context_encoder *e, const tensor_file *f, const char *model,
                              const char *vocabulary)
{
    unet_config k;
    *e = (context_encoder){0};
    if (unet_file_config(&k, f, &c->error) != DT_OK || k.class_count) return c->error.status;
    return prompt_context_encoder(c, e, model, vocabulary, UNET_CONTEXT_TOKENS, k.context_width);
}

static bool knows(const char *name)
{
    return !strcmp(name, UNET_NAME);
}

static dt_status make(ctx *c, denoiser *d, const model_size *size, uint64_t seed)
{
    unet_config k;
    unet *m = arena_alloc_zeroed(&c->model, sizeof *m, &c->error);
    if (!m || unet_config_new(&k, size, &c->error) != DT_OK || unet_open(c, m, &k) != DT_OK) return c->error.status;
    params_init(c, &m->params, seed);
    unet_denoiser(d, m);
    return c->error.status;
}

static const layer_rule rules[] = {
    {"time_embedding.*", "embedding"}, {"class_tokens.*", "embedding"},
    {"conv_in.*", "embedding"},        {"conv_out.*", "final"},
    {"conv_norm_out.*", "final"},      {"*.attn1.*", "attention"},
    {"*.attn2.*", "cross attention"},  {"*.ff.*", "mlp"},
    {"*.attentions.*", "transformer"}, {"*.time_emb_proj.*", "modulation"},
    {"*_block*", "convolution"},       {NULL, NULL},
};

static const layer_rules layers = {.blocks = "down_blocks.", .rule = rules};

const model_kind unet_kind = {.enter = unet_original_enter,
                              .fits = unet_file_fits,
                              .guess = unet_file_guess,
                              .view = view,
                              .load = load,
                              .class_count = unet_file_classes,
                              .knows = knows,
                              .make = make,
                              .open_encoder = open_encoder,
                              .layers = &layers,
                              .pipeline_prefix = "unet.",
                              .names = UNET_NAME};
