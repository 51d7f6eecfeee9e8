/* What a run measures of itself between steps. All of it uses fixed seeds, so that two steps, and two runs with the same
 * data, are compared on the same noise. */
#ifndef MEASURE_MEASURE_H
#define MEASURE_MEASURE_H

#include "train/trainer.h"

/* Loss at fixed t and noise in ten bands of t, on the held-out images (else on training images) and on the bank, with the
 * weights as they are: how much is learned and forgotten, and where in t. */
dt_status measure_validation(trainer *t);

/* samples/step_00000100.png: s->num_samples images, classes in turn, always from the same noise. */
dt_status measure_grid(trainer *t);

/* Frechet and kernel distance of s->eval_count samples to the held-out images. */
dt_status measure_distance(trainer *t);

#endif
