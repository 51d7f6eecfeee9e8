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

static const char *text_of(const char *name)
{
    const char *text = getenv(name);
    return text ? text : "not set";
}

/* The first pair of which the count is there counts: mpirun may run inside of what srun gave, and either may run a script of
 * torchrun's. srun's SLURM_NTASKS is not among them, because a batch script has it too, which is one process. */
dt_status launch_find(launch *l, dt_error *err)
{
    static const struct {
        const char *by, *index, *count;
        bool has_mpi;
    } known[] = {{"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", true},
                 {"mpirun", "PMI_RANK", "PMI_SIZE", true},
                 {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", true},
                 {"torchrun", "RANK", "WORLD_SIZE", false}};
    *l = (launch){.count = 1};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const int index = number_of(known[i].index), count = number_of(known[i].count);
        if (!getenv(known[i].count) || (count == 1 && !getenv(known[i].index))) continue;
        if (index < 0 || count < 1 || index >= count)
            return error_set(err, DT_ERR_ARG,
                             "%s is %s and %s is %s: a number of processes and which of them this is, from 0 on, "
                             "expected; unset both, or give --ranks alone, for one process",
                             known[i].count, text_of(known[i].count), known[i].index, text_of(known[i].index));
        *l = (launch){known[i].by, index, count, known[i].has_mpi};
        return DT_OK;
    }
    return DT_OK;
}
