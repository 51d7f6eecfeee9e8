/* DiT as a denoiser (diffusion/denoiser.h), and as a kind of network that files hold and settings ask for. */
#ifndef DIT_DIT_DENOISER_H
#define DIT_DIT_DENOISER_H

#include "model/dit/dit.h"
#include "model/file/kind.h"

extern const model_kind dit_kind;

/* *d becomes the denoiser of `m`, which is borrowed. */
void dit_denoiser(denoiser *d, dit *m);

#endif
