/* What started this process says of it, in variables: how many processes make one call, and which of them this is. */
#ifndef RANK_LAUNCH_H
#define RANK_LAUNCH_H

#include <stdbool.h>

typedef struct launch {
    const char *by; /* "mpirun", "srun", "torchrun"; NULL: the process was started alone */
    int index, count;
    bool has_mpi; /* an MPI started this way finds its other processes; else they meet by themselves (rank/places.h) */
} launch;

/* Reads the variables of Open MPI's and MPICH's mpirun, of srun, and of torchrun. */
launch launch_find(void);

#endif
