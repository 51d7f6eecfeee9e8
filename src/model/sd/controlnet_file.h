/* Files of a ControlNet, in f32, bf16 or f16 (computed in f32): with diffusers' names this program's, which state the configuration
 * in their metadata (MODEL_CONTROLNET) and what base they are for (CONTROLNET_BASE), and diffusers' folders of a ControlNetModel, which
 * state the configuration in config.json; with the original names (model/sd/unet_original.h) lllyasviel/ControlNet's. */
#ifndef SD_CONTROLNET_FILE_H
#define SD_CONTROLNET_FILE_H

#include "container/tensor_file.h"
#include "diffusion/denoiser.h"
#include "model/sd/controlnet.h"

/* Metadata: SHA-256 of the base's file that it was made for. */
#define CONTROLNET_BASE "difftune.controlnet_base_sha256"

/* Whether the file, entered (control_original_enter), holds a ControlNet. */
bool controlnet_file_fits(const tensor_file *f);

/* Gives the file's tensors this program's names and puts the configuration and the head count into its metadata where they stand
 * elsewhere. What no shape shows is as the UNet `base` has it; NULL: as unet_original_config says. Errors are that function's and
 * controlnet_file_config's. */
dt_status controlnet_file_view(tensor_file *f, const unet_config *base, dt_error *err);

/* What a file with own names says of itself, in its metadata or beside it. DT_ERR_IO where nothing does. */
dt_status controlnet_file_config(controlnet_config *k, const tensor_file *f, dt_error *err);

/* Makes the network of a viewed file and fills it. Every tensor of the network must be there with its shape, and every tensor of the file
 * must be used. */
dt_status controlnet_load(ctx *c, controlnet *m, const tensor_file *f);

/* Writes the weights (diffusion/denoiser.h): safetensors and a .pt file with own names, a folder that diffusers loads as
 * ControlNetModel, or a file of the original layout (control_model.*). base_sha256 may be empty. DT_ERR_UNSUPPORTED for a stem that the
 * original has not, and for a whole checkpoint to be put in. */
dt_status controlnet_check_format(const controlnet *m, dt_model_format format, const char *path, dt_error *err);
dt_status controlnet_write(ctx *c, const controlnet *m, const char *base_sha256, const denoiser_file *f);

#endif
