/* A batch for the diffusion loss, and one pass of a model over it. */
#ifndef TRAIN_BATCH_H
#define TRAIN_BATCH_H

#include "diffusion/schedule.h"
#include "model/dit/dit.h"

/* Everything a loss needs, in the step arena. Target samples come first, bank samples after them. */
typedef struct batch {
    int64_t count, target_count;
    tensor *x0, *noise, *xt;                    /* [N,C,H,W] */
    real *x0_values, *noise_values, *xt_values; /* where the host prepares them */
    int32_t *t, *y;                             /* [N] */
    real *weight;                               /* [N] factor of each sample's loss in the sum */
    loss_coefficients *coef;                    /* [N] at t */
    real *mse, *vb;                             /* [N] terms of the last pass */
} batch;

/* An unfilled batch of n samples of the model's input shape. False after a failure of the context. */
bool batch_new(ctx *c, batch *b, const dit *m, int64_t n);

/* x_t and the loss coefficients from x0, noise and t; all of them are sent to the engine. */
void batch_diffuse(ctx *c, batch *b, const schedule *s);

/* Weighted loss (tensor [1]) of the model's output for this batch; mse and vb are filled. */
tensor *batch_loss_of(ctx *c, batch *b, tensor *out);

/* Forward pass and weighted loss. */
tensor *batch_loss(ctx *c, const dit *m, batch *b);

/* Walks back from a recorded loss; gradients are added up. False after a failure of the context. */
bool batch_backward(ctx *c, tensor *loss);

#endif
