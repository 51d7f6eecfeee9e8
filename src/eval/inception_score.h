/* The Inception Score (Salimans et al. 2016): exp of the mean Kullback-Leibler divergence of each image's class
 * probabilities from their mean over a part of the images; mean and spread over the parts. The published programs divide
 * the images differently, and the score depends on it. */
#ifndef EVAL_INCEPTION_SCORE_H
#define EVAL_INCEPTION_SCORE_H

#include "base/error.h"

typedef struct inception_score_result {
    double mean, std; /* over parts; std divides by their number */
} inception_score_result;

/* Of logits[count,classes], count >= 1. DT_SCORE_ADM: parts of 5000 images in their order, the last one may be smaller.
 * DT_SCORE_TORCH_FIDELITY: ten parts of the images in the order of numpy's RandomState(2020).permutation; fewer than ten
 * images are then DT_ERR_ARG. In double. */
dt_status inception_score(inception_score_result *out, const float *logits, int64_t count, int64_t classes,
                          dt_score_parts parts, dt_error *err);

#endif
