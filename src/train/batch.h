/* A batch for the diffusion loss, and one pass of a denoiser over it. */
#ifndef TRAIN_BATCH_H
#define TRAIN_BATCH_H

#include "diffusion/denoiser.h"

/* Everything a loss needs, in the step arena. Target samples come first, bank samples after them. */
typedef struct batch {
    int64_t count, target_count;
    tensor *x0, *noise, *xt;                    /* [N,C,H,W] */
    real *x0_values, *noise_values, *xt_values; /* where the host prepares them */
    /* What the prediction is compared with: the noise itself, where that is predicted and nothing else was put here. */
    tensor *target;
    real *target_values;
    int32_t *t; /* [N] the step; of a flow the level of its noise */
    /* [N] what the denoiser is told. Negative, as in a new batch: what follows from t, which of a flow is the middle of the level. */
    real *time;
    condition condition;     /* told to the denoiser; its members are those below */
    int32_t *label;          /* [N]; NULL: none */
    real *context_values;    /* [N,S,W] where the host prepares them; NULL: none */
    real *control_values;    /* [N,C,H,W] likewise */
    real *weight;            /* [N] factor of each sample's loss in the sum */
    loss_coefficients *coef; /* [N] at t */
    real *mse, *vb;          /* [N] terms of the last pass */
} batch;

/* An unfilled batch of n samples for this denoiser. False after a failure of the context. */
bool batch_new(ctx *c, batch *b, const denoiser *d, int64_t n);

/* x_t, what is to be predicted, and the loss coefficients from x0, noise and t; all of them and the condition are sent to the
 * engine. `s` is the denoiser's whole schedule, which a flow does not need. */
void batch_diffuse(ctx *c, batch *b, const denoiser *d, const schedule *s);

/* Sends what the host has prepared of x_t and the condition, for a pass without a loss; fills `time`. */
void batch_send(ctx *c, batch *b, const denoiser *d);

/* For a rehearsal (tensor/rehearsal.h): steps, labels and weights that are 0. */
void batch_empty(batch *b);

/* Weighted loss (tensor [1]) of the denoiser's output for this batch; mse and vb are filled. */
tensor *batch_loss_of(ctx *c, batch *b, tensor *out);

/* Forward pass and weighted loss. */
tensor *batch_loss(ctx *c, const denoiser *d, batch *b);

/* Walks back from a recorded loss; gradients are added up. False after a failure of the context. */
bool batch_backward(ctx *c, tensor *loss);

#endif
