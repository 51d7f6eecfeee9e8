/* The power-function averages that a run keeps, written to RUN/averages on its way (average/snapshots.h): one file of each length
 * every so many steps and at the end. They lie there before the checkpoint of their step, so that a run which goes on from one lacks
 * none. */
#ifndef RUN_AVERAGES_H
#define RUN_AVERAGES_H

#include "run/training.h"

/* Writes all of them as they are now; none before the first update, and of a run that keeps none nothing. Of an adapter PEFT's
 * description stands beside them, so that its base is found. */
dt_status averages_write(training *r);

/* Bytes that the files of the whole run will take; INT64_MAX where they have no count. */
int64_t averages_disk_bytes(const training *r);

#endif
