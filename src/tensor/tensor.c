#include "tensor/tensor.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu/engine_cpu.h"

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

dt_status ctx_open(ctx *c, int threads, dt_isa isa)
{
    memset(c, 0, sizeof *c);
    c->threads = threads > 0 ? threads : omp_get_num_procs();
    arena_open(&c->model, "model", arena_limit(), &c->error);
    arena_open(&c->step, "step", arena_limit(), &c->error);
    arena_open(&c->scratch, "scratch", arena_limit(), &c->error);
    arena_open(&c->pass, "pass", arena_limit(), &c->error);
    if (!ctx_failed(c)) engine_cpu_fill(&c->engine, isa, &c->error);
    if (!ctx_failed(c)) engine_check_complete(&c->engine);
    ctx_enter(c);
    return c->error.status;
}

void ctx_close(ctx *c)
{
    arena_close(&c->model);
    arena_close(&c->step);
    arena_close(&c->scratch);
    arena_close(&c->pass);
}

void ctx_enter(const ctx *c)
{
    omp_set_num_threads(c->threads);
}

static tensor *tensor_make(ctx *c, arena *a, int dim_count, const int64_t dim[], bool zeroed)
{
    if (ctx_failed(c)) return NULL;
    tensor *t = arena_alloc_zeroed(a, sizeof *t, &c->error);
    if (!t) return NULL;
    t->dim_count = dim_count;
    memcpy(t->dim, dim, (size_t)dim_count * sizeof dim[0]);
    size_t bytes = (size_t)tensor_count(t) * sizeof(real);
    t->data = zeroed ? arena_alloc_zeroed(a, bytes, &c->error) : arena_alloc(a, bytes, &c->error);
    return t->data ? t : NULL;
}

tensor *tensor_new(ctx *c, arena *a, int dim_count, const int64_t dim[])
{
    return tensor_make(c, a, dim_count, dim, false);
}

tensor *tensor_zeros(ctx *c, arena *a, int dim_count, const int64_t dim[])
{
    return tensor_make(c, a, dim_count, dim, true);
}

void engine_check_complete(const engine *e)
{
    typedef void (*entry)(void);
    const size_t first = offsetof(engine, gemm), count = (sizeof *e - first) / sizeof(entry);
    for (size_t i = 0; i < count; i++) {
        entry f;
        memcpy(&f, (const char *)e + first + i * sizeof f, sizeof f);
        if (f) continue;
        fprintf(stderr, "engine %s: entry %zu of %zu is missing\n", e->name, i, count);
        abort();
    }
}

void tensor_check_failed(const char *file, int line, const char *condition, const tensor *const list[])
{
    fprintf(stderr, "%s:%d: shapes do not satisfy %s:", file, line, condition);
    for (int i = 0; list[i]; i++) {
        fprintf(stderr, " [");
        for (int d = 0; d < list[i]->dim_count; d++) fprintf(stderr, d ? ",%ld" : "%ld", (long)list[i]->dim[d]);
        fprintf(stderr, "]");
    }
    fprintf(stderr, "\n");
    abort();
}
