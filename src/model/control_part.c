#include "model/control_part.h"

#include <stdio.h>

#include "container/tensor_open.h"
#include "model/sd/controlled.h"
#include "model/sd/controlnet_config.h"
#include "model/sd/controlnet_file.h"
#include "model/sd/unet_file.h"
#include "model/sd/unet_original.h"

static dt_status open_file(control_part *k, const tensor_file *base, dt_error *err)
{
    unet_config unet_k;
    controlnet_config own;
    if (tensor_file_open(&k->tensors, k->path, err) != DT_OK || control_original_enter(&k->tensors, err) != DT_OK)
        return err->status;
    if (!controlnet_file_fits(&k->tensors))
        return error_set(err, DT_ERR_FORMAT,
                         "%s: no ControlNet: it has no tensor controlnet_cond_embedding.conv_in.weight, and none "
                         "control_model.input_hint_block.0.weight",
                         k->path);
    if (unet_file_config(&unet_k, base, err) != DT_OK || controlnet_file_view(&k->tensors, &unet_k, err) != DT_OK ||
        controlnet_file_config(&own, &k->tensors, err) != DT_OK)
        return err->status;
    tensor_file_sha256(&k->hash, &k->tensors);
    return controlnet_config_fits(&own, &unet_k, k->path, err);
}

dt_status control_part_open(control_part *k, const control_choice *choice, const char *path, const tensor_file *base,
                            dt_error *err)
{
    *k = (control_part){.choice = *choice};
    snprintf(k->path, sizeof k->path, "%s", path);
    if (path[0] && open_file(k, base, err) != DT_OK) control_part_close(k);
    return err->status;
}

void control_part_close(control_part *k)
{
    tensor_file_close(&k->tensors);
    *k = (control_part){0};
}

const char *control_part_base(const control_part *k)
{
    return tensor_file_metadata(&k->tensors, CONTROLNET_BASE);
}

static dt_status start(ctx *c, controlnet *m, const control_part *k, const unet *base)
{
    controlnet_config config;
    const int64_t factor = k->factor ? k->factor : 1;
    if (controlnet_config_new(&config, &base->config, factor, k->choice.stem ? k->choice.stem : "", &c->error) ==
            DT_OK &&
        controlnet_open(c, m, &config) == DT_OK)
        controlnet_start(c, m, base, k->choice.seed);
    return c->error.status;
}

static dt_status load(ctx *c, controlnet *m, const control_part *k)
{
    if (controlnet_load(c, m, &k->tensors) != DT_OK) return c->error.status;
    const int64_t factor = controlnet_factor(&m->config);
    if (k->factor && k->factor != factor)
        return error_set(&c->error, DT_ERR_SHAPE,
                         "%s: made for control pictures %lld times as wide as what the model sees, and here they are "
                         "%lld times",
                         k->path, (long long)factor, (long long)k->factor);
    if (k->choice.scale != 1) controlnet_scale(c, m, k->choice.scale);
    return c->error.status;
}

dt_status control_part_join(ctx *c, denoiser *d, const control_part *k, const char *base_sha256)
{
    denoiser *base = arena_alloc(&c->model, sizeof *base, &c->error);
    controlnet *m = arena_alloc_zeroed(&c->model, sizeof *m, &c->error);
    if (!base || !m) return c->error.status;
    *base = *d;
    if ((k->path[0] ? load(c, m, k) : start(c, m, k, base->self)) != DT_OK) return c->error.status;
    return controlled_denoiser(c, d, base, m, base_sha256);
}
