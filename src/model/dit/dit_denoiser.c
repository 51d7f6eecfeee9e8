#include "model/dit/dit_denoiser.h"

#include <string.h>

#include "diffusion/flow.h"
#include "model/dit/dit_diffusers.h"
#include "model/dit/dit_file.h"
#include "model/dit/dit_layers.h"

/* ---- as a denoiser ---- */

static tensor *forward(ctx *c, const denoiser *d, tensor *x, const real t[], const condition *k)
{
    return dit_forward(c, d->self, x, t, k);
}

static tensor *middle_features(ctx *c, const denoiser *d, tensor *x, const real t[], const condition *k)
{
    const dit *m = d->self;
    return dit_features(c, m, x, t, k, (m->config.depth + 1) / 2);
}

static dt_status write(ctx *c, const denoiser *d, const denoiser_file *f)
{
    return dit_write(c, d->self, f);
}

static dt_status check_format(const denoiser *d, dt_model_format format, const char *path, dt_error *err)
{
    return dit_check_format(d->self, format, path, err);
}

/* Over all steps, of a flow over the middles of all levels. */
static dt_status start_null_time(ctx *c, denoiser *d)
{
    real t[SCHEDULE_STEPS];
    for (int32_t i = 0; i < SCHEDULE_STEPS; i++)
        t[i] = process_is_flow(&d->process) ? (real)flow_time(i, 0.5) : (real)i;
    if (dit_start_null_time(c, d->self, t, SCHEDULE_STEPS) == DT_OK) d->null_time = MODEL_NULL_TIME;
    return c->error.status;
}

void dit_denoiser(denoiser *d, dit *m)
{
    static const denoiser_ops ops = {.kind = "DiT",
                                     .forward = forward,
                                     .features = middle_features,
                                     .write = write,
                                     .check_format = check_format,
                                     .diffusers_folder = "transformer",
                                     .start_null_time = start_null_time,
                                     .guides_three = true},
                              flow_ops = {.kind = "SiT",
                                          .forward = forward,
                                          .features = middle_features,
                                          .write = write,
                                          .check_format = check_format,
                                          .diffusers_folder = "transformer",
                                          .start_null_time = start_null_time,
                                          .guides_three = true};
    static const process flow = {NOISE_STRAIGHT, PREDICTS_VELOCITY, false};
    const dit_config *k = &m->config;
    *d = (denoiser){.ops = k->flow ? &flow_ops : &ops,
                    .self = m,
                    .params = &m->params,
                    .sites = m->sites,
                    .shape = {k->channels, k->input_size, k->input_size},
                    .process = k->flow ? flow : (process){NOISE_LINEAR, PREDICTS_NOISE, k->learn_sigma},
                    .class_count = k->class_count,
                    .null_time = k->null_time ? MODEL_NULL_TIME : NULL,
                    .feature_width = k->hidden};
}

/* ---- as a kind of network ---- */

static bool fits(const tensor_file *f)
{
    return tensor_file_find(f, "x_embedder.proj.weight") || dit_diffusers_fits(f);
}

static dt_status view(tensor_file *f, sample_shape *shape, dt_error *err)
{
    dit_config k;
    if (dit_diffusers_fits(f) && dit_diffusers_view(f, err) != DT_OK) return err->status;
    if (dit_file_config(&k, f, err) == DT_OK) *shape = (sample_shape){k.channels, k.input_size, k.input_size};
    return err->status;
}

static dit *new_dit(ctx *c)
{
    return arena_alloc_zeroed(&c->model, sizeof(dit), &c->error);
}

static dt_status load(ctx *c, denoiser *d, const tensor_file *f, const model_info *info, const label_start *labels)
{
    dit *m = new_dit(c);
    if (m && dit_load(c, m, f, info, labels) == DT_OK) dit_denoiser(d, m);
    return c->error.status;
}

static bool knows(const char *name)
{
    dit_config k;
    return !strcmp(name, "custom") || dit_named(&k, name);
}

static dt_status make(ctx *c, denoiser *d, const model_size *size, uint64_t seed)
{
    dit *m = new_dit(c);
    dit_config k = {.input_size = size->shape.height,
                    .patch = size->patch,
                    .channels = size->shape.channels,
                    .hidden = size->hidden,
                    .depth = size->depth,
                    .heads = size->heads ? size->heads : DT_HEADS_OF_NEW,
                    .class_count = size->class_count,
                    .learn_sigma = size->learned_variance,
                    .flow = size->flow};
    dit_named(&k, size->name); /* custom: the numbers as they stand */
    if (k.input_size % k.patch)
        return error_set(&c->error, DT_ERR_ARG,
                         "the model's input of %lldx%lld is not divisible by its patches of %lld",
                         (long long)k.input_size, (long long)k.input_size, (long long)k.patch);
    if (!m || dit_open(c, m, &k) != DT_OK) return c->error.status;
    params_init(c, &m->params, seed);
    dit_denoiser(d, m);
    return c->error.status;
}

const model_kind dit_kind = {.fits = fits,
                             .view = view,
                             .settle = dit_file_settle,
                             .guess = dit_file_guess,
                             .load = load,
                             .class_count = dit_file_classes,
                             .knows = knows,
                             .make = make,
                             .other_names = &dit_diffusers_names,
                             .layers = &dit_layers,
                             .names = "custom or one of DiT-{S,B,L,XL}/{2,4,8}"};
