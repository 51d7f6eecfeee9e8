#include "tensor/context.h"

#include <omp.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpus.h"

/* Address space asked for per arena. Only touched pages cost memory; under AddressSanitizer the shadow of the whole
 * range is written, so it is kept small there. */
static size_t arena_limit(void)
{
#if defined(__SANITIZE_ADDRESS__)
    return (size_t)1 << 30;
#else
    return (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
#endif
}

enum { ARENAS = 4 };

static const double ASK_SECONDS = 0.5;

/* Arenas for the numbers of `of`, when the engine has memory of its own. */
static void open_numbers(ctx *c, arena *const of[ARENAS])
{
    const engine_memory *m = &c->engine.memory;
    size_t total = 0, available = 0;
    if (m->backing) m->sizes(&total, &available);
    for (int i = 0; i < ARENAS && m->backing && !ctx_failed(c); i++) {
        arena_open_backed(&c->numbers[i], of[i]->name, total, m->backing, &c->error);
        of[i]->numbers = &c->numbers[i];
    }
}

dt_status ctx_start(ctx *c, const engine *e, const engine *host, int threads)
{
    memset(c, 0, sizeof *c);
    c->engine = *e;
    c->host = *host;
    c->threads = threads > 0 ? threads : cpus_to_use();
    c->ask_every = ASK_SECONDS;
    arena_open(&c->model, "model", arena_limit(), &c->error);
    arena_open(&c->step, "step", arena_limit(), &c->error);
    arena_open(&c->scratch, "scratch", arena_limit(), &c->error);
    arena_open(&c->pass, "pass", arena_limit(), &c->error);
    if (!ctx_failed(c)) open_numbers(c, (arena *[ARENAS]){&c->model, &c->step, &c->scratch, &c->pass});
    ctx_enter(c);
    return c->error.status;
}

void ctx_close(ctx *c)
{
    arena_close(&c->model);
    arena_close(&c->step);
    arena_close(&c->scratch);
    arena_close(&c->pass);
    for (int i = 0; i < ARENAS; i++) arena_close(&c->numbers[i]);
}

bool ctx_go_on(ctx *c)
{
    const double now = clock_s();
    if (ctx_failed(c)) return false;
    if (!c->go_on || now - c->asked_s < c->ask_every) return true;
    c->asked_s = now;
    if (c->go_on(c->go_on_user)) return true;
    error_set(&c->error, DT_ERR_INTERRUPTED, "stopped before the work was done; the same command goes on");
    return false;
}

void ctx_enter(const ctx *c)
{
    if (c->engine.memory.enter) c->engine.memory.enter();
    omp_set_num_threads(c->threads);
}
