/* Names of the rows of a UNet and a ControlNet: diffusers', which are this program's, and those of the original code
 * (CompVis/latent-diffusion, openaimodel.py; lllyasviel/ControlNet, cldm.py), both ways and for any configuration. */
#ifndef SD_UNET_NAMES_H
#define SD_UNET_NAMES_H

#include "model/file/aliases.h"
#include "model/sd/unet.h"

/* A part of the network: what its rows' names begin with, without the dot behind. */
typedef struct unet_name {
    char own[48], original[32];
    bool resnet; /* what stands behind is called otherwise too */
} unet_name;

enum { UNET_NAMES_MAX = 32 + UNET_LEVELS_MAX * (4 * UNET_LAYERS_MAX + 4) + UNET_SKIPS_MAX };

typedef struct unet_names {
    unet_name name[UNET_NAMES_MAX];
    int count;
} unet_names;

/* Those of a UNet, or of a ControlNet beside one of this configuration, which is within unet_config_check's bounds. */
void unet_names_open(unet_names *n, const unet_config *k, bool control);

/* The other name of a row; false where the network has no such part, and for rows that the original has not. */
bool unet_names_original(alias_name out, const unet_names *n, const char *own);
bool unet_names_own(alias_name out, const unet_names *n, const char *original);

#endif
