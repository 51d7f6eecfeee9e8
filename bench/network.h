/* A network with random weights by the name of its shape, and what a pass through it costs: what bench_step runs. */
#ifndef BENCH_NETWORK_H
#define BENCH_NETWORK_H

#include "diffusion/denoiser.h"

typedef struct network {
    denoiser denoiser;
    denoiser base; /* of a ControlNet the frozen UNet that it tells */
    /* Multiply-adds of one sample, forward and in a training step: of linear layers, convolutions and the two products of attention.
     * A pass back counts as two passes forward where weights train, as one where the gradient only goes through; what is run again
     * for checkpointing does not count. */
    double evaluation, training;
} network;

/* Shapes: "demo" takes pixels of 32x32, DiT-{S,B,L,XL}/{2,4,8} latents of 32x32x4 and 1000 classes, "custom" what hidden-size, depth,
 * num-heads, patch-size, in-channels and resolution say; "SD-1.5" is Stable Diffusion's UNet and "ControlNet-1.5" that UNet, frozen, with
 * a ControlNet: latents of resolution x resolution (0: 32), a context of 77 tokens. classes: of a DiT; 0: as the shape has it.
 * Every weight is drawn, those too that a new model has at zero: no gradient and no gate is zero then. Errors: the context's. */
dt_status network_open(ctx *c, network *n, const char *shape, int64_t classes, const dt_settings *s);

#endif
