/* The loop over a run's steps, with all that happens before the first one, between them and after the last one. */
#ifndef RUN_LOOP_H
#define RUN_LOOP_H

#include "run/training.h"

/* Claims the folder or finds the run in it, goes on from its newest whole checkpoint to the end, and writes the result.
 * DT_ERR_INTERRUPTED: the observer wanted to stop, and a checkpoint is written. */
dt_status training_through(training *r);

#endif
