/* What started this process says of it, in variables: how many processes make one call, and which of them this is. */
#ifndef RANK_LAUNCH_H
#define RANK_LAUNCH_H

#include <stdbool.h>

#include "base/error.h"

typedef struct launch {
    const char *by; /* "mpirun", "srun", "torchrun"; NULL: the process was started alone */
    int index, count;
    bool has_mpi; /* an MPI started this way finds its other processes; else they meet by themselves (rank/places.h) */
} launch;

/* Reads the variables of Open MPI's and MPICH's mpirun, of srun, and of torchrun. DT_ERR_ARG naming them where they say that there
 * are several processes and not which this is: each would do the whole work. */
dt_status launch_find(launch *l, dt_error *err);

#endif
