/* Adapter files (as run/run_folder.h's runs end in one, and other programs' LoRAs) that are joined to a model file.
 *
 * bitfit, difffit and lora are merged: what they change is put in the place of the file's tensors before the network is made from
 * them, so that nothing else knows of it. vpt-deep and adaptformer stay beside the network. A WEIGHT other than 1 takes that share
 * of the change. */
#ifndef ADAPTER_ADAPTER_FILE_H
#define ADAPTER_ADAPTER_FILE_H

#include "adapter/adapter.h"
#include "adapter/peft_config.h"
#include "container/tensor_file.h"
#include "model/file/aliases.h"

/* Metadata of an adapter file: its kind, what adaptformer's bottleneck is multiplied with, and the base it was trained on. */
#define ADAPTER_KIND  "difftune.adapter"
#define ADAPTER_SCALE "difftune.adapter_scale"
#define ADAPTER_BASE  "difftune.base_sha256"
/* PEFT's name of the file in a folder, beside which ADAPTER_CONFIG says how it was made. */
#define ADAPTER_WEIGHTS "adapter_model.safetensors"

typedef struct adapter_file {
    char path[DT_PATH_MAX];
    double weight;
    dt_adapter kind;
    char before[65]; /* the identity of those that were joined before it */
    tensor_file tensors;
} adapter_file;

typedef struct adapter_files {
    adapter_file *file;
    int count;
    arena memory;            /* of what is put in place of a model's tensors; empty until something is */
    dt_file_weights weights; /* of a run's checkpoint the trained rows, or their averages */
    char identity[65];       /* hash of files and weights; "" where there are none */
} adapter_files;

/* The adapter in a folder: its file, that in the folder final/ of a run, or of a checkpoint of such a run (ADAPTER_CONFIG lies in it) the
 * averaged rows, where they are asked for the trained ones. False: there is none. */
bool adapter_path(char out[DT_PATH_MAX], const char *path, dt_file_weights weights);

/* The same, and of a folder that a pipeline of diffusers saved a LoRA in. */
bool adapter_path_of_any(char out[DT_PATH_MAX], const char *folder, dt_file_weights weights);

/* None yet; of checkpoints `weights` are wanted. After a failure of it or of what follows *j may be closed. */
dt_status adapter_files_open(adapter_files *j, dt_file_weights weights, dt_error *err);
void adapter_files_close(adapter_files *j);

/* Opens one more: a file, or a folder as adapter_path has it. */
dt_status adapter_files_add(adapter_files *j, const char *path, double weight, dt_error *err);

/* Takes over an open file, also after a failure. */
dt_status adapter_files_take(adapter_files *j, tensor_file *tensors, double weight, dt_error *err);

/* Those of a list "PATH", "PATH:WEIGHT", parted by commas. */
dt_status adapter_files_add_list(adapter_files *j, const char *list, dt_error *err);

/* Whether one of them was made for a base that it knows by its hash. */
bool adapter_files_know_their_base(const adapter_files *j);

/* DT_ERR_ARG where the adapter was made neither for this base nor for that with those before it. */
dt_status adapter_file_check_base(const adapter_file *a, const char *base, const char *sha256, const char *joined,
                                  dt_error *err);

/* Merges into the tensors of a viewed model file, in their order. `names` are other programs' for the same network; may be NULL. The
 * files must stay open while the tensors are used. DT_ERR_SHAPE naming what does not fit. */
dt_status adapter_files_merge(adapter_files *j, tensor_file *base, const alias_table *names, dt_error *err);

/* Makes every tensor of `base` the share (1 - share) of itself and `share` of that of `other`, both viewed. Of a table of other
 * classes the null class's row, the last, is mixed alone; a null time that `other` lacks stays as it is. DT_ERR_SHAPE naming what
 * differs. */
dt_status adapter_files_blend(adapter_files *j, tensor_file *base, const tensor_file *other, double share,
                              dt_error *err);

/* Splits "PATH:NUMBER" at the last colon, unless all of it is a path that is there; `text` becomes PATH. DT_ERR_ARG, naming
 * `key`, for what is no number. Without a number *weight stays. */
dt_status adapter_split_weight(double *weight, char *text, const char *key, dt_error *err);

/* Joins those that stay beside the network to it. */
dt_status adapter_files_join(ctx *c, const adapter_files *j, denoiser *d);

/* What stands before the names of rows in a file of this kind. */
const char *adapter_prefix(const adapter_plan *plan);

/* Writes PEFT's description of an adapter: what of a LoRA PEFT needs to know, and where the base is, for every kind. */
dt_status adapter_config_write(const adapter_plan *plan, const denoiser *d, const char *base, const char *path,
                               dt_error *err);

/* The first that cannot be merged; NULL: all can. */
const adapter_file *adapter_files_unmerged(const adapter_files *j);

/* "lora" of an open file's tensors; NULL: it is none. */
const char *adapter_kind_of_file(const tensor_file *f);

#endif
