#include "base/arena.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/process.h"

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

/* Maps `size` bytes at `at`, or anywhere for NULL. False with errno. */
static bool map_pages(void *at, size_t size, void **got)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED_NOREPLACE : 0);
    void *base = mmap(at, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (base == MAP_FAILED) return false;
    if (at && base != at) { /* a kernel that does not know the flag takes `at` for a wish */
        munmap(base, size);
        errno = EEXIST;
        return false;
    }
    madvise(base, size, MADV_HUGEPAGE); /* fewer page faults; a refusal costs only speed */
    POISON(base, size);
    if (got) *got = base;
    return true;
}

/* ---- where addresses are short: by `ulimit -v`, or by a system that promises no more memory than it has ---- */

/* Addresses between the program and its libraries, in slots. An arena begins at the start of one and grows upwards: what is not
 * mapped yet counts for no limit. */
#define SLOT_BYTES  ((size_t)1 << 40)
#define FIRST_SLOT  ((uintptr_t)0x200000000000)
#define GROWN_BYTES ((size_t)1 << 21)
enum { SLOTS = 48 };

static bool open_growing(arena *a, size_t limit)
{
    void *base;
    if (limit > SLOTS * SLOT_BYTES) return false;
    for (uintptr_t i = 0; i < SLOTS; i++) {
        if (map_pages((void *)(FIRST_SLOT + i * SLOT_BYTES), GROWN_BYTES, &base)) {
            a->base = base;
            a->limit = limit < SLOT_BYTES ? limit : SLOT_BYTES;
            a->backed = GROWN_BYTES;
            a->grows = true;
            return true;
        }
        if (errno != EEXIST) return false;
    }
    return false;
}

/* Puts memory behind `used` bytes. */
static dt_status grow(arena *a, size_t used, dt_error *err)
{
    struct rlimit addresses = {0};
    const size_t more = (used - a->backed + GROWN_BYTES - 1) / GROWN_BYTES * GROWN_BYTES;
    if (map_pages(a->base + a->backed, more, NULL)) {
        a->backed += more;
        return DT_OK;
    }
    getrlimit(RLIMIT_AS, &addresses);
    if (addresses.rlim_cur != RLIM_INFINITY)
        return error_set(
            err, DT_ERR_MEMORY,
            "%s arena: no more memory than %zu MiB; this process may have %zu MiB of address space (ulimit -v)",
            a->name, a->backed >> 20, (size_t)addresses.rlim_cur >> 20);
    return error_set(err, DT_ERR_MEMORY, "%s arena: the system gives no more memory than %zu MiB", a->name,
                     a->backed >> 20);
}

dt_status arena_open(arena *a, const char *name, size_t limit, dt_error *err)
{
    void *base;
    *a = (arena){.name = name};
    if (map_pages(NULL, limit, &base)) {
        a->base = base;
        a->limit = a->backed = limit;
    } else if (!open_growing(a, limit)) {
        errno = ENOMEM;
        return error_set_errno(err, "reserving memory for the %s arena", name);
    }
    return DT_OK;
}

void arena_close(arena *a)
{
    if (!a->base) return;
    if (a->backing) {
        a->backing->release(a->base, a->limit, a->backed);
    } else {
        UNPOISON(a->base, a->backed);
        munmap(a->base, a->backed);
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
    if (a->grows && a->used + rounded > a->backed && grow(a, a->used + rounded, err) != DT_OK) return NULL;
    void *block = a->base + a->used;
    a->used += rounded;
    if (a->used > a->peak) a->peak = a->used;
    if (!a->backing) UNPOISON(block, bytes);
    return block;
}

size_t arena_untouched(const arena *a)
{
    const uintptr_t base = (uintptr_t)a->base, page = process_page_bytes(true);
    if (a->backing || !a->base) return 0;
    const size_t used = (size_t)((base + a->peak + page - 1) / page * page - base);
    return process_untouched(a->base, used < a->backed ? used : a->backed);
}

void *arena_alloc_zeroed(arena *a, size_t bytes, dt_error *err)
{
    void *block = arena_alloc(a, bytes, err);
    if (block) memset(block, 0, bytes);
    return block;
}

void arena_drop_pages(const void *data, size_t size)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t begin = ((uintptr_t)data + page - 1) / page * page, end = ((uintptr_t)data + size) / page * page;
    if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void arena_release(arena *a, arena_place mark)
{
    if (!a->backing) POISON(a->base + mark.own, a->used - mark.own);
    a->used = mark.own;
    if (a->numbers) a->numbers->used = mark.numbers;
}
