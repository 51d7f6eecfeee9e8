/* What the maker of denoisers (model/maker.h) knows of one kind of network. */
#ifndef FILE_KIND_H
#define FILE_KIND_H

#include "diffusion/context_encoder.h"
#include "diffusion/denoiser.h"
#include "model/file/label_table.h"
#include "model/file/layers.h"

/* Names in diffusers' folders. */
#define DIFFUSERS_CONFIG  "config.json"
#define DIFFUSERS_STEM    "diffusion_pytorch_model"
#define DIFFUSERS_WEIGHTS DIFFUSERS_STEM ".safetensors"
#define DIFFUSERS_PICKLE  DIFFUSERS_STEM ".bin" /* what older folders have instead */

/* Metadata: the number of attention heads. */
#define MODEL_HEADS "difftune.heads"

/* Metadata: the process that a network was trained for, MODEL_DDPM or MODEL_SIT. */
#define MODEL_PROCESS "difftune.process"
#define MODEL_DDPM    "ddpm"
#define MODEL_SIT     "sit"

/* Name of the row that stands for no time, in files of networks that have one. */
#define MODEL_NULL_TIME "t_embedder.null"

/* What a file says of it, under this program's name or the plain one; NULL: nothing. */
static inline const char *model_process_said(const tensor_file *f)
{
    const char *own = tensor_file_metadata(f, MODEL_PROCESS);
    return own ? own : tensor_file_metadata(f, "process");
}

/* What only a UNet is asked; names as diffusers has them (model/sd/unet_config.h). */
typedef struct model_unet {
    const char *block_out_channels, *down_block_types; /* lists with commas */
    int64_t layers_per_block, cross_attention_dim, norm_num_groups;
    bool linear; /* DiT's noise; else Stable Diffusion's */
} model_unet;

/* What a new network is asked to be. */
typedef struct model_size {
    const char *name; /* settings' `model`: "DiT-S/2", or "custom" with the numbers below */
    int64_t hidden, depth, patch;
    int64_t heads; /* 0: as the kind has them */
    bool learned_variance;
    bool flow; /* a SiT (diffusion/flow.h) */
    sample_shape shape;
    int64_t class_count;
    model_unet unet;
} model_size;

/* One kind of network. */
typedef struct model_kind {
    /* Narrows a file that holds such a network among others to it, and of averaged weights and those they are averages of to what
     * is asked for; *both: it has both. Other files stay as they are. NULL: there are none that wrappers' names do not tell. */
    dt_status (*enter)(tensor_file *f, dt_file_weights weights, bool *both, dt_error *err);
    /* Whether a file holds one, in one of the layouts that `view` knows. */
    bool (*fits)(const tensor_file *f);
    /* Gives the file's tensors the names of this program and says the shape of x. */
    dt_status (*view)(tensor_file *f, sample_shape *shape, dt_error *err);
    /* Settles which process the network of a file, not viewed yet, was trained for: `asked` is put into the file's metadata
     * where that does not say it. `model` is the path as it was given. DT_ERR_ARG when they contradict each other or when
     * neither tells. NULL: the kind has one process, which is no flow. */
    dt_status (*settle)(tensor_file *f, const char *model, dt_process asked, dt_error *err);
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
    /* Opens, in the model arena, what encodes the prompts that the network of a viewed file is told: the text encoder of `model`, a path,
     * with the vocabulary at that path (empty: by the text encoder). Leaves e->encode NULL for a network that is told no context.
     * DT_ERR_SHAPE where the network is told contexts of another shape. NULL: none is told any. */
    dt_status (*open_encoder)(ctx *c, context_encoder *e, const tensor_file *f, const char *model,
                              const char *vocabulary);
    /* Whether the network of a viewed file is told a control picture. NULL: none is. */
    bool (*is_controlled)(const tensor_file *f);
    const char *names; /* of new networks, for messages */
    /* Another program's names for the same network (model/file/aliases.h); NULL: none. */
    const struct alias_table *other_names;
    /* Of a network whose own names are diffusers': what stands before them in a pipeline's LoRA ("unet."). NULL: another one. */
    const char *pipeline_prefix;
    const layer_rules *layers; /* NULL: its rows are told apart by nothing */
} model_kind;

#endif
