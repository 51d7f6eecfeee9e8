/* The maker of denoisers: opens model files and makes new networks, of whichever kinds this program knows. */
#ifndef MODEL_MAKER_H
#define MODEL_MAKER_H

#include "diffusion/denoiser.h"
#include "model/file/kind.h"

/* All kinds, ending with NULL. The last one tells what is wrong with a file that fits none. */
typedef const model_kind *const model_kinds[];
extern model_kinds model_kinds_all;

/* An open model file. */
typedef struct model_file {
    char path[DT_PATH_MAX]; /* of the weights */
    tensor_file tensors;
    const model_kind *kind;
    sample_shape shape; /* of x */
} model_file;

/* Where the weights are: `model` itself, or when it is a folder, final/model.safetensors in it (a run), or diffusers' file
 * in it or in its folder transformer/ (a pipeline). DT_ERR_IO when there is none of them. */
dt_status model_path(char out[DT_PATH_MAX], const char *model, dt_error *err);

/* Opens `model` as model_path finds it and narrows it to its network: in a training checkpoint of the reference code
 * ({model, ema, opt, args}) that is the averaged weights, as DiT's own loader has it, else `model`; else the whole file. On
 * failure *f is empty and may be closed. */
dt_status model_file_open(model_file *f, const char *model, model_kinds kinds, dt_error *err);
void model_file_close(model_file *f);

/* Makes the denoiser of an open file. Every tensor of the network must be there with its shape, and every tensor of the file
 * must be used. `labels` may be NULL; `info` too: its hash takes a pass over the file. The caller frees *info, also after a
 * failure. */
dt_status model_file_load(ctx *c, denoiser *d, model_info *info, const model_file *f, const label_start *labels);

/* The three in one. */
dt_status denoiser_load(ctx *c, denoiser *d, model_info *info, const char *model, model_kinds kinds);

/* A new network. DT_ERR_ARG when no kind knows its name. */
dt_status denoiser_new(ctx *c, denoiser *d, const model_size *size, uint64_t seed, model_kinds kinds);

#endif
