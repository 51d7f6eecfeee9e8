#include "base/arena.h"

#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define GUARD_BYTES    64 /* poisoned gap behind each block: an overrun is reported at once */
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define GUARD_BYTES    0
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

enum { ALIGNMENT = 64 };

dt_status arena_open_backed(arena *a, const char *name, size_t limit, const arena_backing *backing, dt_error *err)
{
    *a = (arena){.name = name, .backing = backing};
    a->base = backing->reserve(limit, err);
    if (a->base) a->limit = limit;
    return err->status;
}

dt_status arena_open(arena *a, const char *name, size_t limit, dt_error *err)
{
    *a = (arena){.name = name};
    void *base = mmap(NULL, limit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return error_set_errno(err, "reserving %zu MiB for the %s arena", limit >> 20, name);
    a->base = base;
    a->limit = limit;
    madvise(base, limit, MADV_HUGEPAGE); /* fewer page faults; a refusal costs only speed */
    POISON(a->base, limit);
    return DT_OK;
}

void arena_close(arena *a)
{
    if (!a->base) return;
    if (a->backing) {
        a->backing->release(a->base, a->limit, a->backed);
    } else {
        UNPOISON(a->base, a->limit);
        munmap(a->base, a->limit);
    }
    *a = (arena){0};
}

void *arena_alloc(arena *a, size_t bytes, dt_error *err)
{
    size_t rounded = (bytes + GUARD_BYTES + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (rounded < bytes || rounded > a->limit - a->used) {
        error_set(err, DT_ERR_MEMORY, "%s arena: %zu bytes asked for, %zu of %zu MiB in use", a->name, bytes,
                  a->used >> 20, a->limit >> 20);
        return NULL;
    }
    if (a->backing && a->used + rounded > a->backed) {
        a->backed = a->backing->extend(a->base, a->backed, a->used + rounded, err);
        if (a->backed < a->used + rounded) return NULL;
    }
    void *block = a->base + a->used;
    a->used += rounded;
    if (a->used > a->peak) a->peak = a->used;
    if (!a->backing) UNPOISON(block, bytes);
    return block;
}

void *arena_alloc_zeroed(arena *a, size_t bytes, dt_error *err)
{
    void *block = arena_alloc(a, bytes, err);
    if (block) memset(block, 0, bytes);
    return block;
}

void arena_release(arena *a, arena_place mark)
{
    if (!a->backing) POISON(a->base + mark.own, a->used - mark.own);
    a->used = mark.own;
    if (a->numbers) a->numbers->used = mark.numbers;
}
