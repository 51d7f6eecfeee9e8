/* ControlNet (Zhang, Rao, Agrawala 2023; huggingface/diffusers, models/controlnets/controlnet.py, ControlNetModel): a copy of a UNet's
 * way down and middle that sees a control picture beside x, and tells the UNet through convolutions that start at zero. */
#ifndef SD_CONTROLNET_H
#define SD_CONTROLNET_H

#include "model/sd/unet.h"

enum { CONTROLNET_STEM_MAX = 8 };

typedef struct controlnet_config {
    unet_config unet;         /* what its encoder is a copy of; its way up and its classes are not looked at */
    int64_t control_channels; /* of the control picture */
    int64_t stem_count;
    int64_t stem_width[CONTROLNET_STEM_MAX]; /* channels; each one but the first halves the picture's side */
} controlnet_config;

/* What brings a control picture to the size of x: convolutions of 3x3, SiLU between. */
typedef struct control_stem {
    unet_conv in, out;
    unet_conv same[CONTROLNET_STEM_MAX - 1], down[CONTROLNET_STEM_MAX - 1]; /* `down` has stride 2 */
    int64_t count;
} control_stem;

typedef struct controlnet {
    controlnet_config config;
    params params;
    unet_encoder encoder;
    control_stem stem;
    lin_w skip_out[UNET_SKIPS_MAX]; /* of each skip of the encoder, and */
    lin_w middle_out;               /* of its middle: 1x1 convolutions */
    network_sites *sites;
} controlnet;

/* The side of a control picture over that of x. */
int64_t controlnet_factor(const controlnet_config *k);

/* Bounds of every field; DT_ERR_SHAPE naming the field, what is allowed and `object` it came from. */
dt_status controlnet_config_check(const controlnet_config *k, const char *object, dt_error *err);

/* Whether a ControlNet of this configuration tells UNets of that one. DT_ERR_SHAPE naming what differs. */
dt_status controlnet_config_fits(const controlnet_config *k, const unet_config *base, const char *object,
                                 dt_error *err);

/* Makes all weights in the model arena, unfilled. The context holds the error. */
dt_status controlnet_open(ctx *c, controlnet *m, const controlnet_config *k);

/* Fills a new one: what the UNet has too is a copy of it, the rest starts by its rules, what tells the UNet at zero. */
void controlnet_start(ctx *c, controlnet *m, const unet *from, uint64_t seed);

/* Multiplies what is told by `scale`, for good: the weights that make it are changed. */
void controlnet_scale(ctx *c, controlnet *m, double scale);

/* What is to be added to the skips and the middle of a UNet that is given the same x[N,C,H,W], t[N] and context [N,S,W].
 * control: [N,C',fH,fW], f the factor. */
void controlnet_forward(ctx *c, const controlnet *m, unet_inner *out, tensor *x, const real t[], tensor *context,
                        tensor *control);

#endif
