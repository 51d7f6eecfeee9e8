/* What a run will take: time by the steps that were made, disk by what will be written. */
#ifndef RUN_FORECAST_H
#define RUN_FORECAST_H

#include "run/training.h"

/* Steps that were timed. The first one is not: it pays for what is done once. */
typedef struct step_times {
    int64_t steps;
    double seconds;
    bool warm, known; /* known: these are enough, and no more are taken */
} step_times;

/* Adds a step; true when with it the times became known. */
bool step_times_add(step_times *times, double seconds);

/* Logs the time of a step and of all that is left from step `from` on, measurements included: as long as they took, where they have
 * been made in this call, and an estimate that says so where not. */
void forecast_tell(const training *r, const step_times *times, int64_t from);

/* Logs the disk that checkpoints, averages and result need; DT_ERR_IO when there is less. The folder need not be there yet. */
dt_status forecast_disk(const training *r);

/* Logs the memory of the whole run at its peak, measurements included. DT_ERR_MEMORY where it is already known that it cannot be
 * had. */
dt_status forecast_memory(training *r);

/* The dry run: tells what training_through would find, makes a few steps and tells the forecast. Nothing is written.
 * DT_ERR_CONFLICT, DT_ERR_IO as training_through. */
dt_status training_try(training *r);

#endif
