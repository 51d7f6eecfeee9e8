#include "model/sd/controlnet_kind.h"

#include <stdio.h>
#include <string.h>

#include "model/sd/controlnet_config.h"
#include "model/sd/controlnet_file.h"
#include "model/sd/unet_original.h"

static dt_status enter(tensor_file *f, dt_file_weights weights, bool *both, dt_error *err)
{
    (void)weights; /* no file has averages of a ControlNet under names of their own */
    *both = false;
    return control_original_enter(f, err);
}

static void guess(const tensor_file *f, char text[DT_TEXT_MAX])
{
    text[0] = '\0';
    if (control_original_fits(f) && !tensor_file_metadata(f, MODEL_CONTROLNET) && !tensor_file_metadata(f, MODEL_HEADS))
        snprintf(text, DT_TEXT_MAX,
                 "does not say its number of heads: 8 are taken, as Stable Diffusion 1 has (num_heads)");
}

static dt_status view(tensor_file *f, sample_shape *shape, dt_error *err)
{
    controlnet_config k;
    if (controlnet_file_view(f, NULL, err) != DT_OK || controlnet_file_config(&k, f, err) != DT_OK) return err->status;
    *shape = (sample_shape){k.unet.in_channels, k.unet.input_size, k.unet.input_size};
    return err->status;
}

static int64_t class_count(const tensor_file *f)
{
    (void)f;
    return 0;
}

/* The base stays the one that the metadata names. */
static dt_status write(ctx *c, const denoiser *d, const denoiser_file *f)
{
    const char *base_sha256 = "";
    for (size_t i = 0; i < f->metadata_count; i++)
        if (!strcmp(f->metadata[i].key, CONTROLNET_BASE)) base_sha256 = f->metadata[i].value;
    return controlnet_write(c, d->self, base_sha256, f);
}

static dt_status load(ctx *c, denoiser *d, const tensor_file *f, const model_info *info, const label_start *labels)
{
    static const denoiser_ops ops = {.kind = "ControlNet", .write = write, .diffusers_folder = "controlnet"};
    controlnet *m = arena_alloc_zeroed(&c->model, sizeof *m, &c->error);
    (void)info, (void)labels; /* it has no classes */
    if (m && controlnet_load(c, m, f) == DT_OK) *d = (denoiser){.ops = &ops, .self = m, .params = &m->params};
    return c->error.status;
}

const model_kind controlnet_kind = {.enter = enter,
                                    .fits = controlnet_file_fits,
                                    .guess = guess,
                                    .view = view,
                                    .load = load,
                                    .class_count = class_count,
                                    .names = "ControlNet"};
