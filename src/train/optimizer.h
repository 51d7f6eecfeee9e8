/* AdamW with a moving average of the weights, over the rows of a parameter table. Moments, average and gradients live in
 * the model arena; one pass over memory per row and step. */
#ifndef TRAIN_OPTIMIZER_H
#define TRAIN_OPTIMIZER_H

#include "difftune.h"
#include "nn/params.h"

typedef struct optimizer {
    params *table;
    real **m, **v, **ema;   /* one per row; NULL entries for rows that do not train */
    int64_t update_count;   /* updates made so far: Adam's own clock, skipped steps not counted */
    double beta1, beta2, epsilon, weight_decay, ema_decay, max_grad_norm;
} optimizer;

/* Makes gradients, zero moments, and the average as a copy of the weights (DiT's train.py starts it so). */
dt_status optimizer_open(ctx *c, optimizer *o, params *table, const dt_settings *s);

/* Norm of the whole gradient; not finite when any element is not. */
double optimizer_grad_norm(const ctx *c, const optimizer *o);

/* One update with this rate; the gradient, clipped to max_grad_norm when that is > 0, is cleared. */
void optimizer_update(const ctx *c, optimizer *o, double learning_rate, double grad_norm);

/* Throws the gradient away. */
void optimizer_skip(optimizer *o);

/* Exchanges the weights with their average; a second call exchanges them back. */
void optimizer_swap_average(optimizer *o);

/* Rate at step (0-based) of step_count, after a linear warm-up: constant, linear to 0, or half a cosine to 0. */
double optimizer_learning_rate(const dt_settings *s, int64_t step);

#endif
