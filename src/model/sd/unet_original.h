/* Files of Stable Diffusion 1 in the original code's layout (CompVis/stable-diffusion): the network's names
 * (model/sd/unet_names.h), alone or among everything else that a checkpoint holds. */
#ifndef SD_UNET_ORIGINAL_H
#define SD_UNET_ORIGINAL_H

#include "container/tensor_file.h"
#include "container/tensor_source.h"
#include "difftune.h"
#include "model/sd/unet.h"

/* Before the network's names in a checkpoint. */
#define UNET_ORIGINAL_PREFIX    "model.diffusion_model."
#define CONTROL_ORIGINAL_PREFIX "control_model."

/* Narrows a whole checkpoint to its UNet: to the averages of its weights ("model_ema.", names without dots) where they are asked
 * for and there, else to the weights. *both: it has both. Other files stay as they are. DT_ERR_UNSUPPORTED names what is of
 * Stable Diffusion 2 or XL, predicts something else or was trained with other noise; DT_ERR_SHAPE the average that is missing. */
dt_status unet_original_enter(tensor_file *f, dt_file_weights weights, bool *both, dt_error *err);

/* The same for the ControlNet in a file: control_model.*, alone or beside a whole Stable Diffusion (lllyasviel/ControlNet's own files). */
dt_status control_original_enter(tensor_file *f, dt_error *err);

/* Whether a file, not entered, holds a ControlNet and a UNet. */
bool control_original_is_beside_unet(const tensor_file *f);

/* Whether a file, entered, has the original's names. */
bool unet_original_fits(const tensor_file *f);
bool control_original_fits(const tensor_file *f);

/* The configuration that the shapes show. What no shape shows is as Stable Diffusion 1 has it: 8 heads unless the metadata says
 * MODEL_HEADS, 32 groups, its noise, latents of 64 x 64. DT_ERR_SHAPE naming a tensor; DT_ERR_UNSUPPORTED as above. With `control`
 * it is that of a ControlNet, whose way up is left as the way down. */
dt_status unet_original_config(unet_config *k, const tensor_file *f, bool control, dt_error *err);

/* Puts own names in place of the file's. DT_ERR_SHAPE naming the tensor that is no part of the network. */
dt_status unet_original_rename(tensor_file *f, const unet_config *k, bool control, dt_error *err);

/* Gives sources with own names those that they have in a checkpoint, the prefix included; the names lie in the arena. DT_ERR_UNSUPPORTED
 * naming a row that the original has not. */
dt_status unet_original_sources(arena *a, tensor_source sources[], size_t count, const unet_config *k, bool control,
                                dt_error *err);

#endif
