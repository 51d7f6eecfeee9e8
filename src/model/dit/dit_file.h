/* DiT checkpoints in any container of container/tensor_file.h, with the published names, in f32, bf16 or f16 (computed in f32).
 * Widths, depth, patch size, channels and classes are read off the tensors' shapes; the head count, which no shape shows,
 * from the metadata key "difftune.heads", else from the published width (384, 768: 64 wide; 1024, 1152: 16 heads), else
 * 64 wide. */
#ifndef DIT_DIT_FILE_H
#define DIT_DIT_FILE_H

#include "container/safetensors.h"
#include "model/dit/dit.h"

/* What else a model file says about itself. */
typedef struct dit_file_info {
    char sha256[65];   /* of the whole file */
    json_t *metadata;  /* an object of texts; may be NULL */
    char **class_name; /* from metadata "difftune.classes" (JSON list); NULL: the file does not say */
    int64_t class_name_count;
} dit_file_info;

void dit_file_info_free(dit_file_info *info);

/* Where the weights are: `model` itself, or when it is a folder, final/model.safetensors in it (a run), or diffusers' file
 * in it or in its folder transformer/ (a pipeline). DT_ERR_IO when there is none of them. */
dt_status dit_file_path(char out[DT_PATH_MAX], const char *model, dt_error *err);

/* Opens a file and narrows it to its model: in a training checkpoint of the reference code ({model, ema, opt, args})
 * that is the averaged weights, as DiT's own loader has it, else `model`; else the whole file. Tensors in diffusers' layout
 * get DiT's names (model/dit/dit_diffusers.h). */
dt_status dit_file_open(tensor_file *f, const char *path, dt_error *err);

/* The head count of the published models of this width (64 wide elsewhere). */
int64_t dit_implied_heads(int64_t hidden);

/* Configuration of an open file; DT_ERR_SHAPE names the file and the tensor that is missing or odd. */
dt_status dit_file_config(dit_config *config, const tensor_file *f, dt_error *err);

/* Opens `path`, makes the model and fills it. Every tensor of the model must be there with its shape and every tensor
 * of the file must be used. `info` may be NULL. */
dt_status dit_load(ctx *c, dit *m, dit_file_info *info, const char *path);

/* How the label table starts when the classes change. Names of the new classes are needed for DT_LABEL_NEAREST_NAME. */
typedef struct dit_labels {
    int64_t class_count;
    char *const *class_name;
    dt_label_init init;
    uint64_t seed;
    void *user;
    void (*log)(void *user, const char *line); /* told in one line what was done; may be NULL */
} dit_labels;

/* As dit_load, with a label table of labels->class_count rows and the null class: the null row is kept, the others start
 * by labels->init. A table that already fits in count and (where both say) names is kept as it is. */
dt_status dit_load_for_classes(ctx *c, dit *m, dit_file_info *info, const char *path, const dit_labels *labels);

/* Writes the weights (values[i] for row i instead of the model's own where `values` is not NULL) as safetensors with
 * `metadata`, to which "difftune.heads" is added unless there is no other and the width implies the heads. */
dt_status dit_save(ctx *c, const dit *m, real *const values[], const char *path, dt_file_dtype dtype,
                   const metadata_pair metadata[], size_t metadata_count, file_hash *hash);

/* Writes the same for other programs: a file of safetensors, a .pt file that torch.load gives to DiT's own code (its
 * metadata in a record of our own), or a folder that diffusers loads as DiTTransformer2DModel, which replaces an earlier one
 * as a whole. DT_ERR_CONFLICT when such a folder holds other things; DT_ERR_UNSUPPORTED when diffusers would compute other
 * positions than the model has. */
dt_status dit_export(ctx *c, const dit *m, real *const values[], const char *path, dt_model_format format,
                     dt_file_dtype dtype, const metadata_pair metadata[], size_t metadata_count);

/* All of a tensor of a file as float, to where the engine keeps numbers. */
dt_status dit_file_numbers(ctx *c, real *numbers, const tensor_entry *e);

#endif
