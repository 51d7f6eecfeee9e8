/* AdamW with a moving average of the weights, over the rows of a train set: one pass over memory per row and step, and one more for
 * each power-function average (average/power.h). */
#ifndef TRAIN_OPTIMIZER_H
#define TRAIN_OPTIMIZER_H

#include "difftune.h"
#include "train/trainset.h"

/* Rate over steps: a linear warm-up, then constant, linear to 0, or half a cosine to 0. */
typedef struct rate_law {
    double peak;
    dt_lr_schedule form;
    int64_t warmup_steps, step_count;
} rate_law;

/* What one update of all rows is made with. */
typedef struct optimizer_update {
    adamw_coefficients adamw;
    real power_share[POWER_LENGTHS_MAX];
} optimizer_update;

typedef struct optimizer {
    trainset *set;
    int64_t update_count; /* updates made so far: the clock of Adam and of averages, skipped steps not counted */
    rate_law rate;
    double beta1, beta2, epsilon, weight_decay, ema_decay, max_grad_norm;
    bool ema_warmup;
    double l2_sp; /* weight of L2-SP: rows with an anchor get l2_sp (w - anchor) added to their gradients */
    double power_length[POWER_LENGTHS_MAX], power_exponent[POWER_LENGTHS_MAX]; /* of the set's power_count averages */
    uint64_t seed;                                                             /* of how moments are rounded */
    bool fused;           /* weights are updated inside the backward pass, which keeps no gradients */
    double fused_squares; /* of this step's gradients so far */
    optimizer_update fused_update;
    adamw_row *list; /* room for one of each row of the set */
} optimizer;

/* Makes gradients (none when fused), zero moments, and averages as copies of the weights (DiT's train.py starts its one so).
 * The set is borrowed and learns how many power-function averages it has. */
dt_status optimizer_open(ctx *c, optimizer *o, trainset *set, const dt_settings *s);

/* Before the passes of a step. When fused, each weight is updated in the backward pass as soon as its gradient is complete;
 * one whose gradient is not finite keeps its value, though others may have been updated by then. */
void optimizer_begin(ctx *c, optimizer *o, double learning_rate);

/* After the passes of a step and before the norm: adds the gradient of L2-SP (Li, Grandvalet, Davoine 2018),
 * l2_sp / 2 |w - anchor|^2. When fused, that is done weight by weight already. */
void optimizer_pull(ctx *c, const optimizer *o);

/* Norm of the whole gradient, of several ranks of this one's part; not finite when any element is not. */
double optimizer_grad_norm(ctx *c, const optimizer *o);

/* After the passes of a step: one update with this rate, the gradient clipped to max_grad_norm when that is > 0, or (not
 * `usable`) none; the gradient is cleared. When fused, what was updated stays. */
void optimizer_end(ctx *c, optimizer *o, double learning_rate, double grad_norm, bool usable);

/* The share of the starting weights that the average still holds after all steps; 0 with ema_warmup. */
double optimizer_start_share(const optimizer *o);

rate_law rate_from_settings(const dt_settings *s);

/* Rate at step (0-based). */
double rate_at(const rate_law *r, int64_t step);

#endif
