/* Files of a ControlNet with diffusers' names, in f32, bf16 or f16 (computed in f32): this program's, which state the configuration
 * in their metadata (MODEL_CONTROLNET) and what base they are for (CONTROLNET_BASE), and diffusers' folders of a ControlNetModel, which
 * state the configuration in config.json. */
#ifndef SD_CONTROLNET_FILE_H
#define SD_CONTROLNET_FILE_H

#include "container/tensor_file.h"
#include "diffusion/denoiser.h"
#include "model/sd/controlnet.h"

/* Metadata: SHA-256 of the base's file that it was made for. */
#define CONTROLNET_BASE "difftune.controlnet_base_sha256"

/* Whether the file holds a ControlNet. */
bool controlnet_file_fits(const tensor_file *f);

/* What it says of itself, in its metadata or beside it. DT_ERR_IO where nothing does. */
dt_status controlnet_file_config(controlnet_config *k, const tensor_file *f, dt_error *err);

/* Makes the network of a file and fills it. Every tensor of the network must be there with its shape, and every tensor of the file
 * must be used. */
dt_status controlnet_load(ctx *c, controlnet *m, const tensor_file *f);

/* Writes the weights (diffusion/denoiser.h): a file of this program's or a folder of diffusers. base_sha256 may be empty. */
dt_status controlnet_write(ctx *c, const controlnet *m, const char *base_sha256, const denoiser_file *f);

#endif
