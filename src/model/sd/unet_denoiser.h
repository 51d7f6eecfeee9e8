/* A UNet as a denoiser (diffusion/denoiser.h), and as a kind of network that files hold and settings ask for. */
#ifndef SD_UNET_DENOISER_H
#define SD_UNET_DENOISER_H

#include "model/file/kind.h"
#include "model/sd/unet.h"

enum { UNET_CONTEXT_TOKENS = 77 }; /* of a prompt, as CLIP encodes it */

extern const model_kind unet_kind;

/* *d becomes the denoiser of `m`, which is borrowed. */
void unet_denoiser(denoiser *d, unet *m);

#endif
