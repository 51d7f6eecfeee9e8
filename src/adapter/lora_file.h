/* LoRA in files, whichever program wrote them, as matrices for this program's linear maps.
 *
 * Keys, after the prefixes base_model.model., transformer., unet. or diffusion_model.:
 *     PEFT, diffusers  MODULE.lora_A.weight [r,I], MODULE.lora_B.weight [O,r]; older ones .lora.down.weight, .lora.up.weight
 *                      DoRA: MODULE.lora_magnitude_vector [O] beside them
 *                      before version 0.20 .processor.to_q_lora.down.weight and so on, of the attention's module
 *     kohya            lora_unet_MODULE.lora_down.weight, .lora_up.weight, .alpha; dots of MODULE are underscores
 * MODULE is a map of this program's network, or of diffusers' (model/file/aliases.h); several of those may be parts of one map
 * here, whose rank is then the sum of theirs. The scale is alpha / r: alpha of the file, else of PEFT's description in it or
 * beside it (adapter/peft_config.h), else r.
 * Sources: huggingface/peft utils/save_and_load.py, huggingface/diffusers utils/state_dict_utils.py, kohya-ss/sd-scripts
 * networks/lora.py. */
#ifndef ADAPTER_LORA_FILE_H
#define ADAPTER_LORA_FILE_H

#include "container/tensor_file.h"
#include "difftune.h"
#include "model/file/aliases.h"
#include "model/file/kind.h"

typedef struct lora_pair {
    char map[ALIAS_NAME_MAX]; /* without ".weight" */
    int64_t out, in, rank;
    float *a, *b;     /* [rank,in], [out,rank] */
    double scale;     /* of the product */
    float *magnitude; /* [out] of DoRA, NaN where a part of the map has none; NULL: of LoRA alone */
} lora_pair;

typedef struct lora_pairs {
    lora_pair *pair;
    int count;
} lora_pairs;

/* What of a name stands behind prefixes that other programs put before it. */
const char *lora_bare_name(const char *name);

/* Whether a bare name is one of a LoRA's. */
bool lora_is_name(const char *name);

/* More bytes than an address space has. */
#define LORA_ROOM_MAX ((size_t)1 << 48)

/* Bytes that lora_read takes for this file at most; LORA_ROOM_MAX or more of one whose tensors claim too many values. */
size_t lora_room(const tensor_file *f);

/* Reads all of a file's matrices for maps of `base`, a viewed model file; `names` may be NULL. Everything lies in `memory`.
 * DT_ERR_SHAPE naming a module that is no map of the network, a matrix that is missing or does not fit. */
dt_status lora_read(lora_pairs *out, const tensor_file *f, const tensor_file *base, const alias_table *names,
                    arena *memory, dt_error *err);

/* In a folder of diffusers for a pipeline's load_lora_weights. */
#define LORA_PIPELINE_WEIGHTS "pytorch_lora_weights.safetensors"

/* Writes the LoRA of an open file for another program: in PEFT's layouts as a folder `output` of adapter_model.safetensors and
 * adapter_config.json, in kohya's as that file; for diffusers, of a network that has a pipeline_prefix, as a folder of
 * LORA_PIPELINE_WEIGHTS, whose matrices B hold the scale and which all have one rank. `base` and `base_path` are of the model it belongs to. Rows of the network that
 * trained with it go along where the layout has the network's own names; *left_out says whether some did not. */
dt_status lora_convert(const tensor_file *f, const tensor_file *base, const char *base_path, const model_kind *kind,
                       dt_adapter_format format, dt_file_dtype dtype, const char *output, bool *left_out,
                       dt_error *err);

#endif
