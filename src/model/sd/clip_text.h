/* CLIP's text encoder (Radford et al. 2021; ViT-L/14 in Stable Diffusion 1.x), forward only, as transformers' CLIPTextModel gives
 * last_hidden_state: embedding and positions, blocks x + attention(norm(x)), x + mlp(norm(x)), and the last norm. Attention is
 * causal; what fills up a short text is seen as any other token, because Stable Diffusion gives no mask. */
#ifndef SD_CLIP_TEXT_H
#define SD_CLIP_TEXT_H

#include "container/tensor_file.h"
#include "tensor/tensor.h"

enum { CLIP_LAYERS_MAX = 256 };

typedef enum clip_activation { CLIP_QUICK_GELU, CLIP_GELU } clip_activation;

/* What shapes do not say. */
typedef struct clip_config {
    int64_t heads; /* 0: one for each 64 of the width */
    clip_activation activation;
    int64_t layers; /* that the file must have; 0: those that it has */
    double epsilon; /* of the norms */
} clip_config;

typedef struct clip_map {
    tensor *w, *b; /* [O,I], [O] */
} clip_map;

typedef struct clip_norm {
    tensor *weight, *bias; /* [D] */
} clip_norm;

typedef struct clip_block {
    clip_norm norm1, norm2;
    clip_map q, k, v, out, fc1, fc2;
} clip_block;

typedef struct clip_text {
    clip_config config;
    int64_t vocabulary, tokens, width, layers;
    tensor *embedding, *positions; /* [vocabulary,D], [tokens,D] */
    clip_block *block;             /* [layers], in the model arena */
    clip_norm last;
} clip_text;

/* Narrows a file to its text encoder: by transformers' names, alone, below text_model. or in a checkpoint of Stable Diffusion 1.x
 * (cond_stage_model.transformer.). DT_ERR_UNSUPPORTED names Stable Diffusion 2 and XL, DT_ERR_FORMAT is what holds none. */
dt_status clip_text_enter(tensor_file *f, dt_error *err);

/* Reads the weights of a narrowed file into the model arena. Every tensor must be there and none be left, but for position_ids. */
dt_status clip_text_open(ctx *c, clip_text *k, const tensor_file *f, const clip_config *config);

/* Which network it is: the SHA-256 of its configuration and of its weights as f32, of whatever file they came. */
dt_status clip_text_sha256(ctx *c, char hex[65], const clip_text *k);

/* y[n,tokens,D] of ids[n,tokens], each below the vocabulary's count. */
tensor *clip_text_forward(ctx *c, const clip_text *k, const int32_t ids[], int64_t n);

#endif
