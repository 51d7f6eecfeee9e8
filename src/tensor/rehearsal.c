#include "tensor/rehearsal.h"

#include <string.h>

#include "tensor/tensor.h"

/* In the place of every kernel that returns nothing. It is called with arguments that it does not look at, which C leaves
 * undefined and every calling convention this program is built for allows: callers clear their arguments away. */
static void nothing(void)
{
}

static double no_sum(const real *const x[], const int64_t count[], int64_t arrays)
{
    (void)x, (void)count, (void)arrays;
    return 0;
}

static void no_clear(void *numbers, size_t bytes)
{
    (void)numbers, (void)bytes;
}

static void no_copy(void *to, const void *from, size_t bytes)
{
    (void)to, (void)from, (void)bytes;
}

static dt_status no_download(void *host, const void *from, size_t bytes, dt_error *err)
{
    memset(host, 0, bytes);
    (void)from;
    return err->status;
}

static void empty_kernels(engine *e)
{
    typedef void (*entry)(void);
    const entry none = nothing;
    for (size_t at = offsetof(engine, round); at < sizeof *e; at += sizeof none)
        memcpy((char *)e + at, &none, sizeof none);
    if (e->gemm_gelu) memcpy(&e->gemm_gelu, &none, sizeof none);
    e->sum_squares = no_sum;
    e->memory.clear = no_clear;
    e->memory.copy = e->memory.upload = no_copy;
    e->memory.download = no_download;
}

void rehearsal_begin(ctx *c, rehearsal *r)
{
    *r = (rehearsal){.engine = c->engine, .step = arena_mark(&c->step), .scratch = arena_mark(&c->scratch)};
    r->go_on = c->go_on;
    c->go_on = NULL;
    empty_kernels(&c->engine);
}

void rehearsal_end(ctx *c, const rehearsal *r)
{
    tape_clear(c);
    arena_release(&c->step, r->step);
    arena_release(&c->scratch, r->scratch);
    c->recording = false;
    c->engine = r->engine;
    c->go_on = r->go_on;
}
