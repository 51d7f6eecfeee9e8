/* What carries bytes between the processes of one call: connections by TCP (rank/wire_tcp.h), or a module that is loaded when it is
 * asked for (src/mpi/). */
#ifndef RANK_WIRE_H
#define RANK_WIRE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Bytes to another rank, or from it. What two ranks send each other arrives in the order in which it was listed on both sides, with the
 * same sizes. */
typedef struct rank_part {
    int peer;
    bool sends;
    void *data; /* only read where it sends */
    size_t bytes;
} rank_part;

typedef struct rank_wire {
    int index, count; /* as the library itself says */
    void *state;
    /* Begins all of these transfers; none else is under way, and the list and the memory stay as they are until they are
     * done. */
    dt_status (*begin)(void *state, const rank_part part[], int count, dt_error *err);
    /* Whether they are done; never waits. */
    dt_status (*test)(void *state, bool *done, dt_error *err);
    /* `together`: all ranks close, and nothing is under way. Else nobody is waited for. */
    void (*close)(void *state, bool together);
} rank_wire;

#endif
