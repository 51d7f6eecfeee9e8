/* The UNet of Stable Diffusion 1.x (huggingface/diffusers, models/unets/unet_2d_condition.py, UNet2DConditionModel; Rombach et
 * al. 2022), of any size: names, orders and constants are diffusers', docs/models/unet.md lists them. */
#ifndef SD_UNET_H
#define SD_UNET_H

#include "diffusion/condition.h"
#include "diffusion/schedule.h"
#include "model/sd/unet_layers.h"

enum { UNET_LEVELS_MAX = 8, UNET_LAYERS_MAX = 8, UNET_SKIPS_MAX = UNET_LEVELS_MAX * (UNET_LAYERS_MAX + 1) };

typedef struct unet_config {
    int64_t input_size; /* height and width of x, divisible by 2^(level_count - 1) */
    int64_t in_channels, out_channels;
    int64_t level_count;
    int64_t
        width[UNET_LEVELS_MAX]; /* channels of each level, from the largest image on; multiples of groups and heads */
    int64_t heads[UNET_LEVELS_MAX];     /* of the transformers of a level */
    bool down_attends[UNET_LEVELS_MAX]; /* whether its layers on the way down have transformers */
    bool up_attends[UNET_LEVELS_MAX];   /* and on the way up; by level too */
    int64_t layers;                     /* of each level on the way down; on the way up there is one more */
    int64_t context_width;
    int64_t groups; /* of the group norms */
    double epsilon; /* of the residual blocks' norms and the last one */
    int64_t
        class_count; /* 0: it is told a context; else a label, which is a row of class_tokens; the null class is one more */
    noise_law noise; /* what it was trained for; it predicts the noise */
} unet_config;

/* The way down and the middle: what a ControlNet has as well. */
typedef struct unet_encoder {
    unet_conv conv_in;
    lin_w time1, time2; /* [T,C], [T,T]; T = 4 width[0] */
    unet_level down[UNET_LEVELS_MAX];
    unet_layer middle; /* middle.transformer is always there */
    unet_layer after;  /* a residual block alone */
} unet_encoder;

typedef struct unet {
    unet_config config;
    params params;
    unet_encoder encoder;
    unet_level up[UNET_LEVELS_MAX]; /* from the smallest image on */
    unet_norm norm_out;
    unet_conv conv_out;
    tensor *class_tokens; /* [classes+1,W]; NULL: it is told a context */
    network_sites *sites;
} unet;

/* Bounds of every field; DT_ERR_SHAPE naming the field, what is allowed and `object` it came from. */
dt_status unet_config_check(const unet_config *k, const char *object, dt_error *err);

/* Makes all weights in the model arena, unfilled. The context holds the error. */
dt_status unet_open(ctx *c, unet *m, const unet_config *k);

/* out[N,Cout,H,W] of x[N,C,H,W] at times t[N] (the original index 0..999): told labels [N] (0..class_count) where there are class
 * tokens, else a context [N,S,W]. */
tensor *unet_forward(ctx *c, const unet *m, tensor *x, const real t[], const condition *k);

/* The middle of the same pass, averaged over its pixels: [N, width of the last level]. */
tensor *unet_features(ctx *c, const unet *m, tensor *x, const real t[], const condition *k);

/* ---- its parts ---- */

/* Adds the rows of an encoder. The maker's widths and norms are those of the configuration (unet_maker_of). */
void unet_add_encoder(unet_maker *maker, unet_encoder *e, const unet_config *k);
/* A maker for networks of this configuration with room for its maps and `more`. */
unet_maker unet_maker_of(ctx *c, params *p, const unet_config *k, int64_t more);

/* x as an image with its channels last: [N,H,W,C] of [N,C,H,W]. */
tensor *unet_pixels(ctx *c, tensor *x);
/* [N,T], behind its activation. */
tensor *unet_embed_time(ctx *c, const unet_encoder *e, const real t[], int64_t n);
/* [N,S,W]: the context that is told, or of labels. */
tensor *unet_context(ctx *c, const unet *m, const condition *k, int64_t n);

/* What an encoder leaves: the middle, and of each layer and each way down what the decoder is given beside. */
typedef struct unet_inner {
    tensor *middle;
    tensor *skip[UNET_SKIPS_MAX];
    int skip_count;
} unet_inner;

/* How many skips an encoder of this configuration leaves. */
int unet_skip_count(const unet_config *k);

/* x[N,H,W,width[0]] is what comes behind conv_in. */
void unet_encode(ctx *c, const unet_encoder *e, const unet_config *k, unet_inner *inner, tensor *x, tensor *time,
                 tensor *context);
/* The way down and the middle of x[N,C,H,W]. */
unet_inner unet_look(ctx *c, const unet *m, tensor *x, tensor *time, tensor *context);
/* out[N,Cout,H,W] */
tensor *unet_decode(ctx *c, const unet *m, const unet_inner *inner, tensor *time, tensor *context);

#endif
