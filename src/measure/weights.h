/* How far a run's weights are from where they started, over what trains. */
#ifndef MEASURE_WEIGHTS_H
#define MEASURE_WEIGHTS_H

#include "model/weight_distance.h"
#include "train/trainer.h"

/* With the weights as they are. A row of the network started as the base's file has it, one of an adapter, or of a network that is
 * made from nothing, as its rule and the run's seed say. New classes' rows are left out. Rows are read from the file one at a time. */
dt_status measure_weights(trainer *t, weight_distance *out);

/* Takes the memory of that and gives it back, in a rehearsal (tensor/rehearsal.h). */
void measure_weights_rehearse(trainer *t);

#endif
