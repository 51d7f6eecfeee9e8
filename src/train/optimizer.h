/* AdamW with a moving average of the weights, over the rows of a parameter table. Moments, average and gradients live in
 * the model arena; one pass over memory per row and step. */
#ifndef TRAIN_OPTIMIZER_H
#define TRAIN_OPTIMIZER_H

#include "difftune.h"
#include "nn/params.h"

typedef struct optimizer {
    params *table;
    real **m, **v, **ema; /* one per row; NULL entries for rows that do not train */
    int64_t update_count; /* updates made so far: Adam's own clock, skipped steps not counted */
    double beta1, beta2, epsilon, weight_decay, ema_decay, max_grad_norm;
    bool ema_warmup;
    bool fused;           /* weights are updated inside the backward pass, which keeps no gradients */
    double fused_squares; /* of this step's gradients so far */
    adamw_coefficients fused_step;
} optimizer;

/* Makes gradients (none when fused), zero moments, and the average as a copy of the weights (DiT's train.py starts it so). */
dt_status optimizer_open(ctx *c, optimizer *o, params *table, const dt_settings *s);

/* Before the passes of a step. When fused, each weight is updated in the backward pass as soon as its gradient is complete;
 * one whose gradient is not finite keeps its value, though others may have been updated by then. */
void optimizer_begin(ctx *c, optimizer *o, double learning_rate);

/* Norm of the whole gradient; not finite when any element is not. */
double optimizer_grad_norm(ctx *c, const optimizer *o);

/* After the passes of a step: one update with this rate, the gradient clipped to max_grad_norm when that is > 0, or (not
 * `usable`) none; the gradient is cleared. When fused, what was updated stays. */
void optimizer_end(ctx *c, optimizer *o, double learning_rate, double grad_norm, bool usable);

/* The share of the starting weights that the average still holds after all steps; 0 with ema_warmup. */
double optimizer_start_share(const dt_settings *s);

/* Exchanges the weights with their average; a second call exchanges them back. */
void optimizer_swap_average(ctx *c, optimizer *o);

/* Rate at step (0-based) of step_count, after a linear warm-up: constant, linear to 0, or half a cosine to 0. */
double optimizer_learning_rate(const dt_settings *s, int64_t step);

#endif
