/* DiT in diffusers' layout (huggingface/diffusers, models/transformers/dit_transformer_2d.py, DiTTransformer2DModel; in
 * older folders Transformer2DModel): config.json and diffusion_pytorch_model.safetensors or .bin in one folder. The network
 * is the same with other names; three things are told otherwise:
 *
 *  - attn.qkv is three tensors, to_q, to_k and to_v;
 *  - every block has its own copy of the embedders of time and class; this network has one, so the copies must agree;
 *  - the positions are not stored, and input size and head count are in config.json alone. */
#ifndef DIT_DIT_DIFFUSERS_H
#define DIT_DIT_DIFFUSERS_H

#include "model/file/aliases.h"
#include "model/dit/dit.h"

/* Its names and DiT's. attn.qkv is written as three parts, the embedders once in every block. */
extern const alias_table dit_diffusers_names;

/* Whether the names are diffusers'. */
bool dit_diffusers_fits(const tensor_file *f);

/* Gives the file's tensors DiT's names, with what config.json beside it says added: "pos_embed", and the head count as
 * metadata "difftune.heads". Tensors of three parts are joined in memory, the others stay where they lie in the mapping.
 * DT_ERR_SHAPE names the tensor that is missing, unknown or does not fit; DT_ERR_FORMAT the key of config.json. */
dt_status dit_diffusers_view(tensor_file *f, dt_error *err);

/* The text of config.json for a model; NULL when memory is out. Free it. */
char *dit_diffusers_config(const dit_config *config);

#endif
