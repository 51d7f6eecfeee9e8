/* A batch for the diffusion loss, and one pass of a denoiser over it. */
#ifndef TRAIN_BATCH_H
#define TRAIN_BATCH_H

#include "diffusion/denoiser.h"
#include "train/teacher.h"

/* Everything a loss needs. Target samples come first, then those that are there to be retained, then rows
 * of pure noise. */
typedef struct batch {
    int64_t count, target_count;
    int64_t noise_first;     /* rows from here on are pure noise: x_t is the noise itself, and there is no x0 */
    tensor *x0, *noise, *xt; /* [N,C,H,W] */
    real *x0_values, *noise_values, *xt_values; /* where the host prepares them */
    /* What the prediction is compared with: the noise itself, where that is predicted and nothing else was put here. */
    tensor *target;
    real *target_values;
    int64_t *example; /* [N] number of its example in its set */
    int32_t *t;       /* [N] the step; of a flow the level of its noise */
    /* [N] what the denoiser is told. Negative, as in a new batch: what follows from t, which of a flow is the middle of the level. */
    real *time;
    condition condition;     /* told to the denoiser; its members are those below */
    int32_t *label;          /* [N]; NULL: none */
    bool *null_time;         /* [N] who is not told the time; NULL: the denoiser must be told it */
    real *context_values;    /* [N,S,W] where the host prepares them; NULL: none */
    real *control_values;    /* [N,C,H,W] likewise */
    real *weight;            /* [N] factor of each sample's loss in the sum */
    loss_coefficients *coef; /* [N] at t */
    real *mse, *vb;          /* [N] terms of the last pass */
    /* Rows from taught_first on are compared with what a teacher says of them; where there are such rows, what is to be
     * predicted counts for the target samples only. */
    int64_t taught_first;
    const tensor *taught; /* [N - taught_first,C,H,W]; NULL: not asked */
    real *taught_weight;  /* [N] factor of that term of the loss */
    real *distance;       /* [N] that term of the last pass: a mean square */
} batch;

/* An unfilled batch of n samples for this denoiser, in `a`. False after a failure of the context. */
bool batch_new_in(ctx *c, arena *a, batch *b, const denoiser *d, int64_t n);

/* The same in the step arena. */
bool batch_new(ctx *c, batch *b, const denoiser *d, int64_t n);

/* As new again: samples of the target only, which are all told the time that follows from t. */
void batch_begin(batch *b);

/* Asks the teacher about the rows from taught_first on; their x_t has been sent. */
void batch_ask(ctx *c, batch *b, const teacher *k);

/* x_t, what is to be predicted, the loss coefficients and `time` from x0, noise and t, on the host. `s` is the denoiser's whole
 * schedule, which a flow does not need. */
void batch_prepare(batch *b, const denoiser *d, const schedule *s);

/* Sends all that a loss needs of it to the engine. */
void batch_send(ctx *c, batch *b);

/* Both. */
void batch_diffuse(ctx *c, batch *b, const denoiser *d, const schedule *s);

/* Sends what the host has prepared of x_t and the condition, for a pass without a loss; fills `time`. */
void batch_send_inputs(ctx *c, batch *b, const denoiser *d);

/* For a rehearsal (tensor/rehearsal.h): steps, labels and weights that are 0. */
void batch_empty(batch *b);

/* Weighted loss (tensor [1]) of the denoiser's output for this batch; mse, vb and distance are filled where they count. */
tensor *batch_loss_of(ctx *c, batch *b, tensor *out);

/* Forward pass and weighted loss. */
tensor *batch_loss(ctx *c, const denoiser *d, batch *b);

/* Whether the terms of the last pass are. */
bool batch_is_finite(const batch *b);

/* Walks back from a recorded loss; gradients are added up. False after a failure of the context. */
bool batch_backward(ctx *c, tensor *loss);

#endif
