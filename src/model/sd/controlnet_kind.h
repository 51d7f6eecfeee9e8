/* A ControlNet's file by itself, without the base that it tells, as a kind of network: it is read, written in another format and moved to
 * another base, and predicts nothing. Beside its base it is opened by model/control_part.h. */
#ifndef SD_CONTROLNET_KIND_H
#define SD_CONTROLNET_KIND_H

#include "model/file/kind.h"

/* Of a file with a whole Stable Diffusion too the ControlNet is taken. Names no new network. The denoiser's ops are those of writing. */
extern const model_kind controlnet_kind;

#endif
