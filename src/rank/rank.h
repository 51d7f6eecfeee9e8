/* Several processes that make one call together, each a rank of them. Rank 0 leads: it alone writes files and talks to the user, and
 * tells the others what comes next (rank_order); they follow. What carries the bytes stands behind rank/wire.h.
 *
 * A process that was started alone has no ranks (NULL), and everything here takes that as rank 0 of 1.
 * A rank that ends without the others is found out while they wait for it, and is an error that names it (DT_ERR_IO). */
#ifndef RANK_RANK_H
#define RANK_RANK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "rank/watch.h"
#include "rank/wire.h"

typedef struct rank_group {
    int index, count;
    int local_index, local_count; /* among those on this machine */
    rank_wire wire;
    rank_wire device; /* between the memories of their devices, where reaches_devices (rank/device.h) */
    bool reaches_devices;
    char note[160]; /* why they do not */
    rank_watch watch;
    int lost;         /* the rank that has ended before its time; -1: none */
    bool stop_wanted; /* of rank 0: by the caller of another one */
    bool obeys;       /* of the others: does what rank 0 tells, which is when its caller's wishes are passed on */
    bool order_open;  /* of rank 0: what it told last is not finished */
    bool begun;       /* the call is one that all of them make */
    bool ended;       /* all know that the call has ended */
} rank_group;

static inline int rank_count(const rank_group *r)
{
    return r ? r->count : 1;
}

static inline int rank_index(const rank_group *r)
{
    return r ? r->index : 0;
}

static inline bool rank_follows(const rank_group *r)
{
    return rank_index(r) > 0;
}

/* ---- beginning and end ---- */

/* Finds the other processes that this one was started with and makes *out of them, NULL where it was started alone.
 * DT_ERR_UNSUPPORTED or DT_ERR_IO, saying why, where it was not and the others cannot be reached: alone each would do the whole
 * work. */
dt_status ranks_open(rank_group **out, dt_error *err);

/* The same over a wire that is there. */
dt_status ranks_open_over(rank_group **out, const rank_wire *wire, dt_error *err);

/* Where the last call has ended for all of them each waits here for the others. */
void ranks_close(rank_group *r);

/* ---- all of them ---- */

/* Makes these transfers, which the other ranks make as well, and waits for them. */
dt_status rank_transfer(rank_group *r, const rank_part part[], int count, dt_error *err);

/* The same of memory of the ranks' devices, which nothing else uses meanwhile. Only where rank_reaches_devices. */
dt_status rank_transfer_device(rank_group *r, const rank_part part[], int count, dt_error *err);

static inline bool rank_reaches_devices(const rank_group *r)
{
    return r && r->reaches_devices;
}

/* Behind a transfer from another rank to this one, and on that rank behind the same transfer: whether it has outlived it. What is written
 * to files must be known to be whole, and some ways to carry bytes take them from the memory of a process that is dying. */
dt_status rank_receipt(rank_group *r, int peer, bool sends, dt_error *err);

/* Every rank fails where one comes here with a failure, or with another text than rank 0's (of at most 95 characters). Before this has gone
 * well ranks_close waits for nobody. */
dt_status rank_agree(rank_group *r, const char *text, dt_error *err);

/* all[count][bytes]: what each rank says, in the order of ranks. */
dt_status rank_gather(rank_group *r, void *all, const void *mine, size_t bytes, dt_error *err);

/* What rank 0 has in `data`, the others have too. */
dt_status rank_spread(rank_group *r, void *data, size_t bytes, dt_error *err);

/* Whether a rank has ended before its time, without waiting. */
bool rank_is_lost(rank_group *r);

/* ---- rank 0 to the others ---- */

typedef enum rank_what {
    RANK_END,     /* the call has ended, with the status `number` */
    RANK_LOAD,    /* go on from the checkpoint of step `value`; < 0: from the beginning */
    RANK_STEP,    /* make a step of training; `value` is that of the newest checkpoint */
    RANK_COLLECT, /* give rank 0 the values of kind `number` that are yours, of row `value`, or of all rows (< 0) */
    RANK_DRAW,    /* draw the `number` samples from number `value` on and give them to rank 0 */
} rank_what;

typedef struct rank_order {
    int32_t what, number;
    int64_t value;
} rank_order;

/* Tells all others; alone it does nothing. */
dt_status rank_tell(rank_group *r, rank_order order, dt_error *err);

/* All that belongs to what was told last has been sent and received. Where a call ends before that, the others wait for bytes that will
 * not come: rank 0 then ends without a farewell, and is found out. */
void rank_done(rank_group *r);

/* Tells one of them. */
dt_status rank_tell_one(rank_group *r, int peer, rank_order order, dt_error *err);

/* A call begins: nobody has ended it. Then: it is one that the ranks make together, and hear the end of. */
void rank_begin(rank_group *r);
void rank_begun(rank_group *r);

/* The call ends on this rank with this status: rank 0 tells the others so. */
void rank_tell_end(rank_group *r, dt_status status);

/* What a rank that follows ends with after RANK_END: the status of rank 0, which alone gives the reason; DT_ERR_UNSUPPORTED for any
 * other order. */
dt_status rank_heard_end(rank_group *r, const rank_order *order, dt_error *err);

/* Waits for what rank 0 tells. */
dt_status rank_hear(rank_group *r, rank_order *order, dt_error *err);

#endif
