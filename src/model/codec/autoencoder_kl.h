/* AutoencoderKL, the codec of Stable Diffusion 1.x and of DiT (CompVis/stable-diffusion
 * ldm/modules/diffusionmodules/model.py; huggingface/diffusers AutoencoderKL): pictures [N,3,H,W] to the moments of a
 * diagonal Gaussian over latents [N,Z,H/f,W/f], and back. Widths, depth and Z come from the shapes in the file; the
 * released ones are 128, 256, 512, 512, two residual blocks a level (three on the way up), Z = 4, f = 8.
 *
 * Every normalisation is GroupNorm with epsilon 1e-6, the activation is SiLU. Downsampling pads one zero row below and one
 * column to the right, then convolves with stride 2. In the middle is attention of one head as wide as the image is deep. */
#ifndef CODEC_AUTOENCODER_KL_H
#define CODEC_AUTOENCODER_KL_H

#include "model/file/conv_file.h"

enum { KL_LEVELS_MAX = 8, KL_BLOCKS_MAX = 8, KL_GROUPS = 32 };

typedef struct kl_norm {
    tensor *weight, *bias; /* [C] */
} kl_norm;

typedef struct kl_block {
    kl_norm norm1, norm2;
    conv_weights conv1, conv2, shortcut; /* shortcut: where the widths differ */
} kl_block;

typedef struct kl_attention {
    kl_norm norm;
    tensor *qkv, *qkv_bias; /* [3C,C], [3C] */
    tensor *out, *out_bias; /* [C,C], [C] */
} kl_attention;

typedef struct kl_level {
    kl_block block[KL_BLOCKS_MAX];
    conv_weights resample; /* the convolution of down- or upsampling; no weight: none */
} kl_level;

/* Encoder or decoder. */
typedef struct kl_half {
    conv_weights conv_in, conv_out;
    kl_norm norm_out;
    kl_level level[KL_LEVELS_MAX]; /* 0: at the size of the picture */
    kl_block before, after;        /* of the attention */
    kl_attention attention;
    conv_weights quant; /* 1x1: behind the encoder, before the decoder */
} kl_half;

typedef struct autoencoder_kl {
    int64_t width[KL_LEVELS_MAX];
    int level_count, block_count; /* residual blocks of a level of the encoder; the decoder has one more */
    int64_t latents, groups;
    kl_half encoder, decoder;
} autoencoder_kl;

/* Whether a file of these names is one: the original names (ldm) or diffusers'. */
bool autoencoder_kl_fits(const tensor_file *f);

/* Reads the weights. Tensors of other parts of a larger file are passed over, but one of the encoder or decoder that this
 * network does not have is DT_ERR_SHAPE. groups: of every normalisation, KL_GROUPS where nothing else is known. */
dt_status autoencoder_kl_open(ctx *c, autoencoder_kl *k, const tensor_file *f, int64_t groups);

/* moments[N,H/f,W/f,2Z] (mean, then logarithm of the variance, as the network says it) of x[N,H,W,3] in [-1,1]. */
tensor *autoencoder_kl_encode(ctx *c, const autoencoder_kl *k, tensor *x);

/* pictures[N,H*f,W*f,3] of latents[N,H,W,Z], not scaled. */
tensor *autoencoder_kl_decode(ctx *c, const autoencoder_kl *k, tensor *z);

#endif
