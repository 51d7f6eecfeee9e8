#include "rank/launch.h"

#include <limits.h>
#include <stddef.h>
#include <stdlib.h>

/* A whole number from 0 on; -1 for anything else. */
static int number_of(const char *name)
{
    char *end;
    const char *text = getenv(name);
    if (!text || !*text) return -1;
    const long number = strtol(text, &end, 10);
    return *end || number < 0 || number > INT_MAX ? -1 : (int)number;
}

/* The first that is there counts: mpirun may run inside of what srun gave, and either may run a script of torchrun's. srun's
 * SLURM_NTASKS is not among them, because a batch script has it too, which is one process. */
launch launch_find(void)
{
    static const struct {
        const char *by, *index, *count;
        bool has_mpi;
    } known[] = {{"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", true},
                 {"mpirun", "PMI_RANK", "PMI_SIZE", true},
                 {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", true},
                 {"torchrun", "RANK", "WORLD_SIZE", false}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const int index = number_of(known[i].index), count = number_of(known[i].count);
        if (index < 0 || count < 1 || index >= count) continue;
        return (launch){known[i].by, index, count, known[i].has_mpi};
    }
    return (launch){.count = 1};
}
