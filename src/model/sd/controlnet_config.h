/* The configuration of a ControlNet as text: diffusers' config.json of a ControlNetModel, also as this program's files have it in their
 * metadata (MODEL_CONTROLNET). */
#ifndef SD_CONTROLNET_CONFIG_H
#define SD_CONTROLNET_CONFIG_H

#include <jansson.h>

#include "model/sd/controlnet.h"

/* Metadata: the configuration. */
#define MODEL_CONTROLNET "difftune.controlnet"

/* Reads an object of the file `path`. Errors are unet_config_read's, naming the key. */
dt_status controlnet_config_read(controlnet_config *k, const json_t *object, const char *path, dt_error *err);

/* The same of a text. */
dt_status controlnet_config_parse(controlnet_config *k, const char *text, const char *path, dt_error *err);

/* The object; NULL when memory is out. */
json_t *controlnet_config_json(const controlnet_config *k);

/* The configuration of a new one for a UNet whose pictures are `factor` times as wide as x. `stem`: a list with commas of
 * conditioning_embedding_out_channels; empty: as many of Stable Diffusion's as the factor needs. DT_ERR_ARG for a list that does not lead
 * to the size of x. */
dt_status controlnet_config_new(controlnet_config *k, const unet_config *base, int64_t factor, const char *stem,
                                dt_error *err);

#endif
