/* DiT checkpoints with the published names, in f32, bf16 or f16 (computed in f32). Widths, depth, patch size, channels and
 * classes are read off the tensors' shapes; the head count, which no shape shows, from the metadata key "difftune.heads",
 * else from the published width (384, 768: 64 wide; 1024, 1152: 16 heads), else 64 wide. SiT's checkpoints have the same names
 * and shapes: that a file is one, the metadata says (MODEL_PROCESS). */
#ifndef DIT_DIT_FILE_H
#define DIT_DIT_FILE_H

#include "diffusion/denoiser.h"
#include "model/dit/dit.h"
#include "model/file/kind.h"
#include "model/file/label_table.h"
#include "model/file/params_file.h"

/* The head count of the published models of this width (64 wide elsewhere). */
int64_t dit_implied_heads(int64_t hidden);

/* Configuration of an open file; DT_ERR_SHAPE names the file and the tensor that is missing or odd. */
dt_status dit_file_config(dit_config *config, const tensor_file *f, dt_error *err);

/* model_kind.settle. A file that says neither is a DiT where this program or diffusers wrote it, and where its name does not say
 * that it is a SiT. */
dt_status dit_file_settle(tensor_file *f, const char *model, dt_process asked, dt_error *err);

/* model_kind.guess: heads, and that it is a DiT. */
void dit_file_guess(const tensor_file *f, char text[DT_TEXT_MAX]);

/* Classes of a file whose configuration was found good, the null class left out. */
int64_t dit_file_classes(const tensor_file *f);

/* Makes the model of an open file and fills it. Every tensor of the model must be there with its shape and every tensor
 * of the file must be used. With `labels` (may be NULL) the label table has labels->class_count rows and the null class
 * (model/label_table.h); one that already fits is kept as it is. */
dt_status dit_load(ctx *c, dit *m, const tensor_file *f, const model_info *info, const label_start *labels);

/* Writes the weights (diffusion/denoiser.h) as a file of safetensors; as a .pt file that torch.load gives to DiT's own code,
 * its metadata in a record of our own; or as a folder that diffusers loads as DiTTransformer2DModel, which replaces an
 * earlier one as a whole. "difftune.heads" is added to the metadata unless there is no other and the width implies the
 * heads; a SiT's says that it is one. DT_ERR_CONFLICT when such a folder holds other things; DT_ERR_UNSUPPORTED when
 * diffusers would compute other positions than the model has, and for a SiT, which it has no network for. */
dt_status dit_check_format(const dit *m, dt_model_format format, const char *path, dt_error *err);
dt_status dit_write(ctx *c, const dit *m, const denoiser_file *f);

#endif
