/* The maker of denoisers: opens model files and makes new networks, of whichever kinds this program knows. */
#ifndef MODEL_MAKER_H
#define MODEL_MAKER_H

#include "adapter/adapter_file.h"
#include "diffusion/denoiser.h"
#include "model/control_part.h"
#include "model/file/kind.h"

/* All kinds, ending with NULL. The last one tells what is wrong with a file that fits none. */
typedef const model_kind *const model_kinds[];
extern model_kinds model_kinds_all;
/* Those and what is no model by itself, a ControlNet: for opening files that are read and written, not computed with. */
extern model_kinds model_kinds_files;

/* What is asked for of a file that leaves a choice, and who is told what was taken or had to be guessed. */
typedef struct model_choice {
    dt_file_weights weights;
    int64_t heads; /* 0: the file's */
    dt_process process;
    const char *blend;           /* "PATH:SHARE" of another model to mix in; NULL or empty: none */
    double length;               /* of a run's folder, the average of this length (average/); 0: its result */
    control_choice control;      /* of a ControlNet that tells the model a control; by default none does */
    const char *adapters;        /* a list of adapter files (adapter/adapter_file.h); NULL: none */
    const dt_observer *observer; /* may be NULL */
} model_choice;

/* As the settings have it, but for the length and the control: those are for verbs that take ema_length or a ControlNet of the model
 * they are about. */
model_choice model_choice_of(const dt_settings *s, const dt_observer *observer);

/* The ControlNet of the settings: one that is named, or with `control` a new one. */
control_choice control_choice_of(const dt_settings *s);

/* An open model file. */
typedef struct model_file {
    char path[DT_PATH_MAX]; /* of the weights */
    tensor_file tensors;
    const model_kind *kind;
    sample_shape shape;   /* of x */
    bool beside_averages; /* the weights that were trained, of a file that has averages of them too */
    bool flow;            /* its process is SiT's (diffusion/flow.h) */
    int64_t added_heads;  /* said by the choice, not by the file; 0: none */
    bool added_flow;      /* likewise */
    adapter_files adapters;
    control_part control; /* its factor is for whoever opened the codec to say */
    file_hash hash;       /* of the file's bytes, where adapters asked for it; else empty */
} model_file;

/* Where the weights are: `model` itself, or when it is a folder, final/model.safetensors in it (a run), those of the base of an
 * adapter (PEFT's adapter_config.json in it, in final/ or in a checkpoint says where), the averaged weights of a checkpoint of a run, or
 * diffusers' file in it or in its folder transformer/ or unet/ (a pipeline): the file, the index of its shards, or its only variant
 * (".fp16."). DT_ERR_IO when there is none of them. */
dt_status model_path(char out[DT_PATH_MAX], const char *model, dt_error *err);

/* Opens `model` as model_path finds it and narrows it to its network: past the names that trainers and wrappers put before
 * (state_dict., module., _orig_mod. and others), and of averaged weights and those they are averages of (ema., model.), to
 * those that are asked for. Adapters are joined: that of a folder of one, then those of the choice; then `blend` is mixed in.
 * DT_ERR_ARG where there are no such weights, where the file states other heads or another process, where its name says that it is
 * a SiT and nothing else tells, and where an average of a length is asked of what kept none. A ControlNet that is asked for
 * is opened beside it; one of another base is told, one that does not fit is DT_ERR_SHAPE. A ControlNet in place of a model is
 * DT_ERR_UNSUPPORTED, unless the kinds have it. On failure *f is empty and may be
 * closed. */
dt_status model_file_open_as(model_file *f, const char *model, const model_choice *choice, model_kinds kinds,
                             dt_error *err);
/* The averaged weights where there are any, as DiT's own loader has it; nothing is told. */
dt_status model_file_open(model_file *f, const char *model, model_kinds kinds, dt_error *err);
void model_file_close(model_file *f);

/* Opens what encodes the prompts that the network of an open file is told (model_kind.open_encoder): the text encoder of
 * s->text_encoder, or where that is empty of s->pretrained_model. `given` are values of settings about prompts, each with its
 * name behind it, up to NULL. Where the network is told none e->encode is NULL, and it is DT_ERR_ARG to have given one. */
dt_status model_file_open_encoder(ctx *c, context_encoder *e, const model_file *f, const dt_settings *s,
                                  const char *const given[]);

/* Makes the denoiser of an open file. Every tensor of the network must be there with its shape, and every tensor of the file
 * must be used. With a control it is the denoiser of both (model/sd/controlled.h). `labels` may be NULL; `info` too: its hash
 * takes a pass over the file. The caller frees *info, also after a failure. */
dt_status model_file_load(ctx *c, denoiser *d, model_info *info, const model_file *f, const label_start *labels);

/* The three in one, by a choice or without. */
dt_status denoiser_load_as(ctx *c, denoiser *d, model_info *info, const char *model, const model_choice *choice,
                           model_kinds kinds);
dt_status denoiser_load(ctx *c, denoiser *d, model_info *info, const char *model, model_kinds kinds);

/* A new network. DT_ERR_ARG when no kind knows its name. */
dt_status denoiser_new(ctx *c, denoiser *d, const model_size *size, uint64_t seed, model_kinds kinds);

#endif
