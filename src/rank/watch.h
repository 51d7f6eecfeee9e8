/* Who of the ranks is still there. Every rank keeps a connection to rank 0, over which nothing is said while all goes well: the system
 * closes it when the process ends, however that came, and within 20 seconds when its machine is gone. Rank 0 tells the others. */
#ifndef RANK_WATCH_H
#define RANK_WATCH_H

#include <stdbool.h>
#include <stdint.h>

enum { WATCH_ADDRESSES = 8 };

/* Where rank 0 listens, for the others. */
typedef struct watch_place {
    uint32_t address[WATCH_ADDRESSES]; /* IPv4, as the network has them; 0: none */
    uint16_t port;
    char host[64];
    uint64_t token[2]; /* which who connects must know */
} watch_place;

typedef struct rank_watch {
    int index, count;
    int *
        fd; /* [count] of rank 0: to each, -1 where there is none; of others the one to rank 0 in fd[0]. NULL: nobody watches */
    int listening;
} rank_watch;

/* Rank 0 begins to listen. False: it cannot. */
bool watch_listen(rank_watch *w, int count, watch_place *place);

/* Rank 0 takes all others in, or another rank connects, within so many seconds. False: it could not be done. */
bool watch_accept(rank_watch *w, const watch_place *place, double seconds);
bool watch_connect(rank_watch *w, int index, const watch_place *place, double seconds);

/* The rank that has ended without a farewell; -1: none is known. Does not wait. */
int watch_lost(rank_watch *w);

/* `farewell`: says that this rank ends because its work is done. */
void watch_close(rank_watch *w, bool farewell);

#endif
