/* What the maker of denoisers (model/maker.h) knows of one kind of network. */
#ifndef FILE_KIND_H
#define FILE_KIND_H

#include "diffusion/denoiser.h"
#include "model/file/label_table.h"

/* Names in diffusers' folders. */
#define DIFFUSERS_CONFIG  "config.json"
#define DIFFUSERS_STEM    "diffusion_pytorch_model"
#define DIFFUSERS_WEIGHTS DIFFUSERS_STEM ".safetensors"
#define DIFFUSERS_PICKLE  DIFFUSERS_STEM ".bin" /* what older folders have instead */

/* Metadata: the number of attention heads. */
#define MODEL_HEADS "difftune.heads"

/* What a new network is asked to be. */
typedef struct model_size {
    const char *name; /* settings' `model`: "DiT-S/2", or "custom" with the numbers below */
    int64_t hidden, depth, heads, patch;
    bool learned_variance;
    sample_shape shape;
    int64_t class_count;
} model_size;

/* One kind of network. */
typedef struct model_kind {
    /* Whether a file holds one, in one of the layouts that `view` knows. */
    bool (*fits)(const tensor_file *f);
    /* Gives the file's tensors the names of this program and says the shape of x. */
    dt_status (*view)(tensor_file *f, sample_shape *shape, dt_error *err);
    /* Half a sentence on what the file, not viewed yet, does not say and is taken for granted; "" where there is nothing. NULL:
     * never. */
    void (*guess)(const tensor_file *f, char text[DT_TEXT_MAX]);
    /* How many classes a viewed file's network knows. */
    int64_t (*class_count)(const tensor_file *f);
    /* Makes and fills the network of a viewed file; with other classes where `labels` is not NULL. */
    dt_status (*load)(ctx *c, denoiser *d, const tensor_file *f, const model_info *info, const label_start *labels);
    /* Whether `model` names a new network of this kind. */
    bool (*knows)(const char *name);
    /* Makes it, filled by the rules of its table with this seed. */
    dt_status (*make)(ctx *c, denoiser *d, const model_size *size, uint64_t seed);
    const char *names; /* of new networks, for messages */
    const struct alias_table
        *other_names; /* another program's for the same network (model/file/aliases.h); NULL: none */
} model_kind;

#endif
