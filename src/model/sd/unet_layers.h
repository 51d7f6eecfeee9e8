/* What the UNet of Stable Diffusion and a ControlNet are made of (huggingface/diffusers, models/resnet.py ResnetBlock2D,
 * models/transformers/transformer_2d.py, models/attention.py BasicTransformerBlock; CompVis/latent-diffusion has the same layers
 * under other names). Images are channels last. */
#ifndef SD_UNET_LAYERS_H
#define SD_UNET_LAYERS_H

#include "nn/layer.h"
#include "nn/params.h"

typedef struct unet_norm {
    tensor *weight, *bias; /* [C] */
} unet_norm;

typedef struct unet_conv {
    tensor *w; /* [O,3,3,I] */
    tensor *b; /* [O] */
} unet_conv;

/* Norm, SiLU and convolution, twice; the time is added between them. */
typedef struct unet_resnet {
    int64_t groups;
    real epsilon;
    unet_norm norm1, norm2;
    unet_conv conv1, conv2;
    lin_w time;     /* [O,T] */
    lin_w shortcut; /* [O,I]; w is NULL where O = I */
} unet_resnet;

typedef struct unet_attention {
    lin_w q, k, v, out; /* q, k and v without a bias */
} unet_attention;

/* Attention of the pixels among themselves, then to the context, then a gated MLP. */
typedef struct unet_transformer {
    int64_t groups, heads;
    unet_norm norm, before_self, before_cross, before_mlp;
    lin_w in, out; /* [C,C] */
    unet_attention self, cross;
    lin_w gate; /* [8C,C] */
    lin_w mlp;  /* [C,4C] */
} unet_transformer;

typedef struct unet_layer {
    unet_resnet resnet;
    unet_transformer *transformer; /* NULL: none */
} unet_layer;

/* The layers of one resolution, and the convolution that leaves it (w is NULL: none). */
typedef struct unet_level {
    unet_layer *layer;
    int64_t layer_count;
    unet_conv resample;
} unet_level;

/* ---- making the rows ---- */

/* Adds rows to a table, and the linear maps to the sites, which have room. */
typedef struct unet_maker {
    ctx *c;
    params *params;
    network_sites *sites;
    int64_t groups, time_width, context_width;
    double epsilon; /* of the residual blocks' norms */
} unet_maker;

enum { UNET_LAYER_MAPS = 14 }; /* linear maps of one layer, at most */

/* How a row of weights starts. */
typedef enum unet_start {
    UNET_START,     /* uniform, as far as one over the root of its inputs, the bias too (PyTorch's own rule) */
    UNET_START_ZERO /* what ends a branch: the network begins as a sum of its shortcuts */
} unet_start;

/* name.weight [out,in], with `bias` name.bias [out]; in files with two dimensions more where `as_convolution`. */
void unet_add_map(unet_maker *k, lin_w *l, unet_start start, int64_t out, int64_t in, bool bias, bool as_convolution,
                  const char *name);
void unet_add_conv(unet_maker *k, unet_conv *w, unet_start start, int64_t out, int64_t in, const char *name);
void unet_add_norm(unet_maker *k, unet_norm *w, int64_t width, const char *name);
/* A residual block "prefix.resnets.index", and with heads > 0 a transformer "prefix.attentions.index". */
void unet_add_layer(unet_maker *k, unet_layer *l, int64_t out, int64_t in, int64_t heads, const char *prefix,
                    int index);

/* ---- forward ----
 *
 * Each part is a function on the tape of its own: with gradient checkpointing it is run again on the way back, and without
 * recording its inside is released. time is [N,T], behind its activation. */

/* out[0] of f, so. */
tensor *unet_run(ctx *c, tape_function *f, const void *weights, tensor *const in[], int in_count);
/* [N,H,W,O] of x[N,H,W,I]; beside (may be NULL) [N,H,W,I'] is put behind x's channels first. */
tensor *unet_run_layer(ctx *c, const unet_layer *l, tensor *x, tensor *beside, tensor *time, tensor *context);

/* y[N,H,W,O] */
tensor *unet_convolve(ctx *c, const unet_conv *w, tensor *x);
/* y[N,H/2,W/2,O]; H and W are even */
tensor *unet_downsample(ctx *c, const unet_conv *w, tensor *x);
/* y[N,2H,2W,O] */
tensor *unet_upsample(ctx *c, const unet_conv *w, tensor *x);

#endif
