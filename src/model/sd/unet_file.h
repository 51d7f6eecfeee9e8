/* Files of a UNet, in f32, bf16 or f16 (computed in f32): with diffusers' names this program's, which state the configuration in
 * their metadata (MODEL_UNET), and diffusers' folders, which state it in config.json; with the original names
 * (model/sd/unet_original.h) Stable Diffusion's. */
#ifndef SD_UNET_FILE_H
#define SD_UNET_FILE_H

#include "diffusion/denoiser.h"
#include "model/file/kind.h"
#include "model/file/label_table.h"
#include "model/file/params_file.h"
#include "model/sd/unet.h"

/* Whether the file holds a UNet. */
bool unet_file_fits(const tensor_file *f);

/* Half a sentence on what a file that is not viewed yet leaves open; "" where it says all. */
void unet_file_guess(const tensor_file *f, char text[DT_TEXT_MAX]);

/* Puts the head count into the metadata, if all levels have the same, as MODEL_HEADS; and a text under any key, which it takes over
 * (NULL: memory is out). */
dt_status unet_file_put_heads(tensor_file *f, const unet_config *k, dt_error *err);
dt_status unet_file_put_text(tensor_file *f, const char *key, json_t *text, dt_error *err);

/* Whether the file has all rows, of a ControlNet beside a UNet of this configuration with `control`. DT_ERR_SHAPE names the one that is
 * missing by both of its names: the file may have had the other one. */
dt_status unet_file_check_complete(const params *rows, const unet_config *k, bool control, const tensor_file *f,
                                   const params_words *what, dt_error *err);

/* Gives the file's tensors this program's names. Puts the configuration into the file's metadata where it stands elsewhere,
 * and the head count, if all levels have the same, as MODEL_HEADS. DT_ERR_IO where nothing says it; DT_ERR_SHAPE where the
 * tensors do not fit. */
dt_status unet_file_view(tensor_file *f, dt_error *err);

/* The configuration of a viewed file. */
dt_status unet_file_config(unet_config *k, const tensor_file *f, dt_error *err);

/* Classes of a viewed file, the null class left out; 0: it is told a context. */
int64_t unet_file_classes(const tensor_file *f);

/* Makes the network of a viewed file and fills it. Every tensor of the network must be there with its shape, and every tensor of
 * the file must be used. With `labels` (may be NULL) the class tokens are those of other classes (model/label_table.h). */
dt_status unet_load(ctx *c, unet *m, const tensor_file *f, const model_info *info, const label_start *labels);

/* Writes the weights (diffusion/denoiser.h): safetensors and a .pt file with own names; a folder that diffusers loads as
 * UNet2DConditionModel; a file of the original layout (model/sd/unet_original.h), alone or in a copy of a whole checkpoint, whose
 * other tensors keep their bits but for averages of the old network, which are left out. The configuration stands in the metadata
 * of all. DT_ERR_UNSUPPORTED for class tokens in the last two, which have no place for them; DT_ERR_CONFLICT as
 * model/file/diffusers_folder.h has it; DT_ERR_SHAPE for a checkpoint of another network. */
dt_status unet_check_format(const unet *m, dt_model_format format, const char *path, dt_error *err);
dt_status unet_write(ctx *c, const unet *m, const denoiser_file *f);

#endif
