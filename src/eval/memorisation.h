/* Whether samples are copies of the pictures that their model was trained on, which no distance between sets can see: one that
 * copies its training pictures has a good distance.
 *
 * A sample counts as copied when it is no farther from its nearest training picture than that picture is from its own nearest
 * other one (the complement of the authenticity of Alaa, van Breugel, Saveliev, van der Schaar 2022). Copies score 1. What
 * pictures score that nobody copied is told by held-out ones: theirs is the number to compare with, not 0. The ratio of the mean
 * distances to the nearest training picture (after the test of Meehan, Chaudhuri, Dasgupta 2020) is 0 for copies and 1 for
 * samples as far from the training pictures as held-out ones are.
 *
 * Nearest rows are found with products in f32 made by the engine; their distances are then taken in double, so that that of a
 * copy is 0. */
#ifndef EVAL_MEMORISATION_H
#define EVAL_MEMORISATION_H

#include "tensor/tensor.h"

typedef struct feature_set {
    const float *row; /* [count,dim] */
    int64_t count;
} feature_set;

typedef struct memorisation_result {
    double copied;          /* share of the samples */
    double copied_held_out; /* share of the held-out pictures that the same rule calls copied */
    double nearest_ratio;   /* mean distance to the nearest training picture, of samples over of held-out pictures */
} memorisation_result;

/* With fewer than two training rows, or none on another side, what needs them is NaN. */
dt_status memorisation(memorisation_result *out, ctx *c, feature_set training, feature_set held_out,
                       feature_set samples, int64_t dim);

/* Takes the scratch that it takes and gives it back, in a rehearsal (tensor/rehearsal.h). */
void memorisation_rehearse(ctx *c, int64_t training, int64_t held_out, int64_t samples, int64_t dim);

#endif
