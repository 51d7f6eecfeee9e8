/* Where a device makes the steps, a thread of the host's fills the next batch meanwhile. What a batch holds is a function of its
 * number (feed.c), so it does not matter when that is done. */
#ifndef TRAIN_AHEAD_H
#define TRAIN_AHEAD_H

#include "train/batch.h"

typedef struct ahead ahead;

/* Fills batch number `round` of a run on the host. */
typedef void ahead_filler(void *user, batch *b, int64_t round);

/* Room for two batches of n samples in the model arena, and the thread, which sleeps until the first was taken. *a is NULL after a
 * failure, else to be closed before `user` is. */
dt_status ahead_open(ahead **a, ctx *c, const denoiser *d, int64_t n, ahead_filler *fill, void *user);
void ahead_close(ahead *a); /* NULL: nothing */

/* Batch number `round`, filled, not sent; the caller's until the next is taken. Then the thread begins number round + 1: what
 * filling reads must not change any more. */
batch *ahead_take(ahead *a, int64_t round);

/* A batch as they are, for a rehearsal; before the first was taken. */
batch *ahead_any(ahead *a);

#endif
