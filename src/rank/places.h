/* How processes that were started with torchrun's variables, and have no MPI, find each other: at MASTER_ADDR, MASTER_PORT. */
#ifndef RANK_PLACES_H
#define RANK_PLACES_H

#include "base/error.h"
#include "rank/launch.h"
#include "rank/meet.h"

/* all[count] is then where each rank listens; all[index] holds it of this one before. Rank 0 collects them: at a place that it names in the
 * store of torchrun's agent (rank/store.h), where there is one (TORCHELASTIC_USE_AGENT_STORE=True), else at that port.
 * DT_ERR_UNSUPPORTED where the variables are missing, DT_ERR_IO where somebody did not come before the time was up (clock_s()). */
dt_status places_exchange(const launch *l, meet_place all[], double until_s, dt_error *err);

#endif
