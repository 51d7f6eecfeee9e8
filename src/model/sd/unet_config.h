/* The configuration of a UNet as text: diffusers' config.json of a UNet2DConditionModel, also as this program's files have it in their
 * metadata (MODEL_UNET), where "beta_schedule" says what noise it was trained for. */
#ifndef SD_UNET_CONFIG_H
#define SD_UNET_CONFIG_H

#include <jansson.h>

#include "base/error.h"
#include "model/file/kind.h"
#include "model/sd/unet.h"

/* Metadata: the configuration. */
#define MODEL_UNET "difftune.unet"

/* Stable Diffusion 1.5's. */
unet_config unet_config_sd15(void);

/* Reads an object of the file `path`. What is missing is as diffusers has it. DT_ERR_FORMAT naming the key of what is malformed;
 * DT_ERR_UNSUPPORTED naming the key of what would change the computation and is not known here, Stable Diffusion 2 and SDXL by their
 * names. The class count is left 0. */
dt_status unet_config_read(unet_config *k, const json_t *object, const char *path, dt_error *err);

/* The same of a text. */
dt_status unet_config_parse(unet_config *k, const char *text, const char *path, dt_error *err);

/* Reads a pipeline's scheduler_config.json: the noise. DT_ERR_UNSUPPORTED naming the key of a process that is not Stable Diffusion
 * 1's (v prediction, other betas, no signal at the end). */
dt_status unet_config_read_scheduler(unet_config *k, const json_t *object, const char *path, dt_error *err);

/* A flag for its text: fractions are written as people write them, 1e-5. */
#define UNET_CONFIG_REALS JSON_REAL_PRECISION(15)

/* The object, with "beta_schedule" where `own`; NULL when memory is out. */
json_t *unet_config_json(const unet_config *k, bool own);

/* The configuration of a new network. DT_ERR_ARG naming the setting that makes none. */
dt_status unet_config_new(unet_config *k, const model_size *size, dt_error *err);

#endif
