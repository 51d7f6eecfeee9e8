/* A wire of connections between each two ranks, for processes that were started with torchrun's variables. */
#ifndef RANK_WIRE_TCP_H
#define RANK_WIRE_TCP_H

#include "rank/launch.h"
#include "rank/wire.h"

/* Finds the other processes (rank/places.h) and connects to each; waits at most so many seconds for the last of them. */
dt_status wire_tcp_open(rank_wire *out, const launch *l, double seconds, dt_error *err);

/* The same over connections that are there: fd[count], of which fd[index] is none. They are closed with the wire, and where it cannot be
 * made. */
dt_status wire_tcp_over(rank_wire *out, int index, int count, const int fd[], dt_error *err);

#endif
