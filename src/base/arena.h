/* An arena: one reserved range of addresses, handed out upwards, given back to a mark.
 *
 * Pages are touched on first use and kept by arena_release, so that after the second step nothing is taken from the
 * operating system. Every block is 64-byte aligned. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Memory that is not this process's own: a device's. */
typedef struct arena_backing {
    /* Address space for at most `limit` bytes; NULL with an error. */
    void *(*reserve)(size_t limit, dt_error *err);
    /* Puts memory behind `bytes` or more of it from `base` on, of which `backed` bytes have some. Returns how many have
     * then; `backed` with an error. */
    size_t (*extend)(void *base, size_t backed, size_t bytes, dt_error *err);
    void (*release)(void *base, size_t limit, size_t backed);
} arena_backing;

typedef struct arena {
    const char *name;
    const arena_backing *backing; /* NULL: this process's memory */
    unsigned char *base;
    size_t used, limit, backed;
    bool grows;            /* memory is put behind it as it is used */
    size_t peak;           /* highest `used` so far */
    struct arena *numbers; /* where the numbers of what lives here are, if the engine keeps them elsewhere; else NULL */
} arena;

/* How far an arena, and that of its numbers, was in use. */
typedef struct arena_place {
    size_t own, numbers;
} arena_place;

/* Reserves `limit` bytes of address space; where so many cannot be had (`ulimit -v`), memory is taken bit by bit as it is used, up
 * to that limit, and a failure then says which limit it met. An arena that could not be opened is an empty one that is always full. */
dt_status arena_open(arena *a, const char *name, size_t limit, dt_error *err);
dt_status arena_open_backed(arena *a, const char *name, size_t limit, const arena_backing *backing, dt_error *err);
void arena_close(arena *a);

/* NULL, with DT_ERR_MEMORY in *err, when the arena is full. The memory is not cleared. */
void *arena_alloc(arena *a, size_t bytes, dt_error *err);
void *arena_alloc_zeroed(arena *a, size_t bytes, dt_error *err);

static inline arena_place arena_mark(const arena *a)
{
    return (arena_place){a->used, a->numbers ? a->numbers->used : 0};
}

/* Bytes up to the peak that have no memory behind them yet: what using it that far again would take of the system. 0 for memory
 * that is not this process's own. */
size_t arena_untouched(const arena *a);

/* Gives the memory behind a range back to the system, whole pages only: what a file is mapped to is read again when it is used, of
 * anything else what it held is lost. */
void arena_drop_pages(const void *data, size_t size);

/* Gives back all blocks handed out since `mark`. */
void arena_release(arena *a, arena_place mark);

/* Gives back all blocks. */
static inline void arena_clear(arena *a)
{
    arena_release(a, (arena_place){0, 0});
}

#endif
