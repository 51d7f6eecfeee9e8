/* Who of the ranks is still there. Every rank keeps a connection to rank 0, over which nothing is said while all goes well: the system
 * closes it when the process ends, however that came, and within 20 seconds when its machine is gone. Rank 0 tells the others. */
#ifndef RANK_WATCH_H
#define RANK_WATCH_H

#include "rank/meet.h"

typedef struct rank_watch {
    int index, count;
    /* [count] of rank 0: to each, -1 where there is none; of others the one to rank 0 in fd[0]. NULL: nobody watches */
    int *fd;
    int listening;
} rank_watch;

/* Rank 0 begins to listen. False: it cannot. */
bool watch_listen(rank_watch *w, int count, meet_place *place);

/* Rank 0 takes all others in, or another rank connects, within so many seconds. False: it could not be done. */
bool watch_accept(rank_watch *w, const meet_place *place, double seconds);
bool watch_connect(rank_watch *w, int index, const meet_place *place, double seconds);

/* The rank that has ended without a farewell; -1: none is known. Does not wait. */
int watch_lost(rank_watch *w);

/* `farewell`: says that this rank ends because its work is done. */
void watch_close(rank_watch *w, bool farewell);

#endif
