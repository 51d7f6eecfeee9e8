/* DiT in diffusers' layout (huggingface/diffusers, models/transformers/dit_transformer_2d.py, DiTTransformer2DModel; in
 * older folders Transformer2DModel): config.json and diffusion_pytorch_model.safetensors or .bin in one folder. The network
 * is the same with other names; three things are told otherwise:
 *
 *  - attn.qkv is three tensors, to_q, to_k and to_v;
 *  - every block has its own copy of the embedders of time and class; this network has one, so the copies must agree;
 *  - the positions are not stored, and input size and head count are in config.json alone. */
#ifndef DIT_DIT_DIFFUSERS_H
#define DIT_DIT_DIFFUSERS_H

#include "container/tensor_file.h"
#include "container/tensor_source.h"
#include "model/dit/dit.h"

#define DIT_DIFFUSERS_CONFIG  "config.json"
#define DIT_DIFFUSERS_WEIGHTS "diffusion_pytorch_model.safetensors"
#define DIT_DIFFUSERS_PICKLE  "diffusion_pytorch_model.bin" /* what older folders have instead */

/* Whether the names are diffusers'. */
bool dit_diffusers_fits(const tensor_file *f);

/* Gives the file's tensors DiT's names, with what config.json beside it says added: "pos_embed", and the head count as
 * metadata "difftune.heads". Tensors of three parts are joined in memory, the others stay where they lie in the mapping.
 * DT_ERR_SHAPE names the tensor that is missing, unknown or does not fit; DT_ERR_FORMAT the key of config.json. */
dt_status dit_diffusers_view(tensor_file *f, dt_error *err);

/* The text of config.json for a model; NULL when memory is out. Free it. */
char *dit_diffusers_config(const dit_config *config);

/* The tensors of a diffusers file from those of a model by DiT's names: parts of them, and copies of the same values.
 * `out` has room for dit_diffusers_count(depth) of them; names point into `names`, as many. Every name is found. */
int dit_diffusers_count(int64_t depth);
typedef char dit_diffusers_name[96];
void dit_diffusers_sources(tensor_source out[], dit_diffusers_name names[], int64_t dims[][4],
                           const tensor_source own[], size_t own_count, int64_t depth);

#endif
