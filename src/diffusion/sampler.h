/* Drawing images: DDIM or ancestral steps with classifier-free guidance. The model is anything that maps (x, t, y) to
 * noise (and variance), so this file knows no network. */
#ifndef DIFFUSION_SAMPLER_H
#define DIFFUSION_SAMPLER_H

#include "base/rng.h"
#include "diffusion/schedule.h"
#include "tensor/tensor.h"

/* out[N, C or 2C, H, W] of x[N,C,H,W] at original timesteps t[N] with labels y[N]. */
typedef tensor *sampler_model(ctx *c, const void *model, tensor *x, const int32_t t[], const int32_t y[]);

typedef struct sampler {
    sampler_model *model;
    const void *weights;
    int64_t channels, size; /* of x: [.., channels, size, size] */
    int32_t null_class;
    dt_sampler kind;
    double eta; /* DDIM only */
    /* eps = uncond + scale (cond - uncond); 1: no second pass. The paper's formula has w = scale - 1. */
    double guidance_scale;
    /* DT_GUIDE_THREE: channels from the fourth on stay conditional, as released. */
    dt_guidance_channels guidance_channels;
    bool clip_sample; /* x0 is kept in [-1, 1]: for pixels, not for latents */
    schedule schedule;
    uint64_t seed;
    rng_purpose start, step; /* keys of the starting noise and of the noise of each step */
} sampler;

/* Steps, spacing, guidance and seed from the settings; DT_ERR_ARG as schedule_respaced. Model, shape and keys are the
 * caller's to fill. */
dt_status sampler_from_settings(sampler *s, const dt_settings *settings, dt_error *err);

/* Fills x[n,C,H,W] with images number index[0..n), labels y[n]. An image's noise depends on seed and index alone, not on
 * the batch it is drawn in. */
dt_status sampler_draw(ctx *c, const sampler *s, real *x, const int32_t y[], const uint32_t index[], int64_t n);

/* Fills x[n,..] with the starting noise of those images. */
void sampler_start(const sampler *s, real *x, const uint32_t index[], int64_t n);

/* From given starting noise in x, through all steps. */
dt_status sampler_continue(ctx *c, const sampler *s, real *x, const int32_t y[], const uint32_t index[], int64_t n);

#endif
