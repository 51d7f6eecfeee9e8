/* Latent codecs: a frozen network that turns pictures into latents a diffusion model is trained on, and latents back into
 * pictures. The rest of the program knows a codec by this file alone.
 *
 * Outside, pictures are [N,3,H,W] in [-1,1] with sides divisible by `factor`, latents [N,C,H/factor,W/factor] as the
 * diffusion model sees them (scaled). Everything is computed in f32, whatever the context trains in; what comes out for
 * one picture does not depend on the others. */
#ifndef CODEC_CODEC_H
#define CODEC_CODEC_H

#include "model/codec/autoencoder_kl.h"
#include "model/codec/tiny_autoencoder.h"

/* CODEC_PIXELS: none, what the model sees are the pictures themselves; encoding and decoding copy. */
typedef enum codec_kind { CODEC_PIXELS, CODEC_AUTOENCODER_KL, CODEC_TINY } codec_kind;

typedef struct codec {
    codec_kind kind;
    const char *name; /* "AutoencoderKL", "tiny autoencoder", "pixels" */
    int64_t channels; /* of a latent */
    int64_t factor;   /* side of a picture by side of its latent */
    double scale;     /* latent = scale * (mean + deviation * noise) */
    bool random;      /* the encoder gives a distribution; else the latent itself and no variance */
    int64_t tile;     /* a larger side, in pixels, is worked on in overlapping tiles of this side; 0: never */
    char sha256[65];  /* of the weights' files: which codec it is */
    autoencoder_kl kl;
    tiny_autoencoder tiny;
} codec;

enum { CODEC_TILE = 512, CODEC_MOMENTS_MAX = 2 };

/* Opens the codec that `path` names, into the model arena:
 *  - AutoencoderKL: one file of tensors (first_stage_model. before the names or not, original or diffusers' names), or
 *    diffusers' folder (config.json and diffusion_pytorch_model.*), or a pipeline's folder with that one below vae/;
 *  - tiny autoencoder: one file with encoder. and decoder. before the names, or a folder or file that has one of two
 *    files, told apart by "encoder" and "decoder" in their names.
 * DT_ERR_FORMAT when it is none of these, DT_ERR_SHAPE when a tensor is missing or has another shape. */
dt_status codec_open(ctx *c, codec *k, const char *path);

/* The codec of models that see pictures of 1 or 3 channels. */
codec codec_of_pixels(int64_t channels);

/* The codec `path` for the model in the file `model`, which takes that many channels; an empty path is the codec of
 * pixels. DT_ERR_SHAPE names both files where they do not fit, DT_ERR_ARG the model that lacks a codec. */
dt_status codec_open_for(ctx *c, codec *k, const char *path, const char *model, int64_t channels);

/* DT_ERR_ARG naming the codec `path` where pictures of this size have no latents. */
dt_status codec_check_resolution(const codec *k, int64_t resolution, const char *path, dt_error *err);

/* Channels of the pictures. */
static inline int64_t codec_picture_channels(const codec *k)
{
    return k->kind == CODEC_PIXELS ? k->channels : 3;
}

/* Moments of one latent: 1 (the latent itself) or 2 (mean, logarithm of the variance clamped to [-30,20]). */
static inline int64_t codec_moment_count(const codec *k)
{
    return k->random ? 2 : 1;
}

/* moments[n, moment count, C, h, w], not scaled, of pictures x[n,3,height,width]. */
dt_status codec_encode(ctx *c, const codec *k, float *moments, const float *x, int64_t n, int64_t height,
                       int64_t width);

/* One latent z[count] = scale (mean + deviation noise) of its moments[moment count, count]; noise NULL: the mode. */
void codec_latent(float *z, const codec *k, const float *moments, const float *noise, int64_t count);

/* pictures x[n,picture channels,factor*height,factor*width], not clamped, of latents z[n,C,height,width]. */
dt_status codec_decode(ctx *c, const codec *k, float *x, const float *z, int64_t n, int64_t height, int64_t width);

#endif
