/* psi.txt of a run whose psi is measured: written before the first step, read ever after, so that a run that was stopped trains
 * on the same one. */
#ifndef RUN_PSI_FILE_H
#define RUN_PSI_FILE_H

#include "run/training.h"

/* Where the run's psi is to be measured: takes it from the folder's file, having measured it first, with the weights of the base,
 * where there is none. Does nothing for another psi. DT_ERR_INTERRUPTED as nothing was written. */
dt_status psi_file_take(training *r);

/* For a dry run, which writes nothing: takes it where it is there, else says that it would be measured. */
dt_status psi_file_look(training *r);

#endif
