#include "data/need.h"

#include <stdio.h>

#include "base/process.h"
#include "base/say.h"

/* Stacks of threads, buffers of files on their way, what libraries keep. */
enum { SMALL_THINGS = 2 << 20 };

enum { ARENAS = sizeof((ctx *)0)->numbers / sizeof((ctx *)0)->numbers[0] };

/* Bytes of this process's own memory (resident memory that is no file's) at the peak of work that has been rehearsed
 * (tensor/rehearsal.h) and takes `beside` more bytes outside the arenas. Right within 5 %, or 8 MiB where that is more: what
 * libraries take for themselves, of which a few MiB are counted, is not known. Mapped files are not counted. */
static int64_t need_bytes(const ctx *c, int64_t beside)
{
    const arena *const arenas[ARENAS] = {&c->model, &c->step, &c->scratch, &c->pass};
    int64_t bytes = process_own_memory() + beside + SMALL_THINGS;
    for (int i = 0; i < ARENAS; i++) bytes += (int64_t)arena_untouched(arenas[i]);
    return bytes + (c->host.memory.beside ? (int64_t)c->host.memory.beside() : 0);
}

static int64_t device_bytes(const ctx *c)
{
    int64_t bytes = 0;
    for (int i = 0; i < ARENAS; i++) bytes += (int64_t)c->numbers[i].peak;
    return bytes;
}

void need_tell(const ctx *c, const dt_observer *observer, int64_t beside)
{
    char device[64] = "", available[48] = "";
    const long long of_device = device_bytes(c), free_bytes = process_available_memory();
    if (of_device) snprintf(device, sizeof device, ", and %lld MiB of the device's", of_device >> 20);
    if (free_bytes >= 0)
        snprintf(available, sizeof available, ", %lld MiB available",
                 (free_bytes + (long long)process_own_memory()) >> 20);
    say(observer->log, observer->user, "memory: about %lld MiB needed%s%s", (long long)need_bytes(c, beside) >> 20,
        device, available);
}
