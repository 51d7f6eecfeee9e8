/* An arena: one reserved range of addresses, handed out upwards, given back to a mark.
 *
 * Pages are touched on first use and kept by arena_release, so that after the second step nothing is taken from the
 * operating system. Every block is 64-byte aligned. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>
#include "base/error.h"

typedef struct arena {
    const char *name;
    unsigned char *base;
    size_t used, limit;
    size_t peak; /* highest `used` so far */
} arena;

/* Reserves `limit` bytes of address space. An arena that could not be opened is an empty one that is always full. */
dt_status arena_open(arena *a, const char *name, size_t limit, dt_error *err);
void arena_close(arena *a);

/* NULL, with DT_ERR_MEMORY in *err, when the arena is full. The memory is not cleared. */
void *arena_alloc(arena *a, size_t bytes, dt_error *err);
void *arena_alloc_zeroed(arena *a, size_t bytes, dt_error *err);

static inline size_t arena_mark(const arena *a)
{
    return a->used;
}

/* Gives back all blocks handed out since `mark`. */
void arena_release(arena *a, size_t mark);

#endif
