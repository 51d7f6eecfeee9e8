/* A UNet that is told a control picture by a ControlNet, as a denoiser: the UNet is frozen, the ControlNet is what trains and what is
 * written. Without a control in its condition it is the UNet alone. */
#ifndef SD_CONTROLLED_H
#define SD_CONTROLLED_H

#include "diffusion/denoiser.h"
#include "model/sd/controlnet.h"

/* *d becomes that denoiser. `base` is a UNet's (model/sd/unet_denoiser.h), whose rows are frozen but for those of its way up, which may
 * train; it and `m`, which fits it (controlnet_config_fits), are borrowed. base_sha256 is that of the base's file, or
 * empty. */
dt_status controlled_denoiser(ctx *c, denoiser *d, const denoiser *base, controlnet *m, const char *base_sha256);

#endif
