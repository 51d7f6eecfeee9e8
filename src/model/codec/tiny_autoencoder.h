/* The tiny autoencoders of madebyollin/taesd, of which TAEF2 (for the latents of FLUX.2, 32 channels at an eighth of the
 * picture's side) is one: convolutions of one width, ReLU, no attention. Encoder: convolution, block, then three times
 * (convolution with stride 2, three blocks), convolution. Decoder: 3 tanh(z/3), convolution, ReLU, then three times (three
 * blocks, nearest upsampling, convolution), block, convolution. A block is relu(conv(relu(conv(relu(conv(x))))) + x). Where
 * the file has a pool, as TAEF2 has at its lowest resolution, x is first x + conv1x1(relu(GroupNorm4(conv1x1(x)))).
 * Pictures are in [0,1] inside; latents need no scale. */
#ifndef CODEC_TINY_AUTOENCODER_H
#define CODEC_TINY_AUTOENCODER_H

#include "model/file/conv_file.h"

enum { TINY_STAGES = 3, TINY_BLOCKS = 3, TINY_FACTOR = 8 };

typedef struct tiny_block {
    conv_weights conv[3];
    conv_weights pool_in, pool_out; /* no weight: no pool */
    tensor *pool_scale, *pool_shift;
} tiny_block;

typedef struct tiny_half {
    conv_weights conv_in, conv_out, resample[TINY_STAGES];
    tiny_block block[TINY_STAGES][TINY_BLOCKS];
    tiny_block lone; /* at the size of the picture */
} tiny_half;

typedef struct tiny_autoencoder {
    int64_t latents, width;
    tiny_half encoder, decoder;
} tiny_autoencoder;

/* Whether files of these names are the two halves of one. */
bool tiny_autoencoder_fits(const tensor_file *encoder, const tensor_file *decoder);

/* Reads the weights of both halves ("0.weight", "1.conv.0.weight", ..). Every tensor of a file must be used. */
dt_status tiny_autoencoder_open(ctx *c, tiny_autoencoder *k, const tensor_file *encoder, const tensor_file *decoder);

/* latents[N,H/8,W/8,Z] of x[N,H,W,3] in [-1,1]. */
tensor *tiny_autoencoder_encode(ctx *c, const tiny_autoencoder *k, tensor *x);

/* pictures[N,8H,8W,3], about [-1,1], of latents[N,H,W,Z]. */
tensor *tiny_autoencoder_decode(ctx *c, const tiny_autoencoder *k, tensor *z);

#endif
