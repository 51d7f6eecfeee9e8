#include "tensor/tensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tensor *tensor_header(ctx *c, arena *a, int dim_count, const int64_t dim[])
{
    if (ctx_failed(c)) return NULL;
    tensor *t = arena_alloc_zeroed(a, sizeof *t, &c->error);
    if (!t) return NULL;
    t->dim_count = dim_count;
    memcpy(t->dim, dim, (size_t)dim_count * sizeof dim[0]);
    return t;
}

static tensor *new_tensor(ctx *c, arena *a, int dim_count, const int64_t dim[], bool narrow)
{
    tensor *t = tensor_header(c, a, dim_count, dim);
    if (!t) return NULL;
    t->narrow = narrow;
    t->data = numbers_alloc(c, a, tensor_bytes(t));
    return t->data ? t : NULL;
}

tensor *tensor_new(ctx *c, arena *a, int dim_count, const int64_t dim[])
{
    return new_tensor(c, a, dim_count, dim, false);
}

bool tensor_branch_is_narrow(const ctx *c, int64_t width)
{
    return c->engine.narrow && (c->gemm_flags & GEMM_BF16) && width % 8 == 0;
}

tensor *tensor_new_result(ctx *c, int dim_count, const int64_t dim[], bool narrow)
{
    return new_tensor(c, &c->step, dim_count, dim, narrow);
}

tensor *tensor_zeros(ctx *c, arena *a, int dim_count, const int64_t dim[])
{
    tensor *t = tensor_new(c, a, dim_count, dim);
    if (t) c->engine.memory.clear(t->data, tensor_bytes(t));
    return t;
}

/* ---- numbers and the host ---- */

void *numbers_alloc(ctx *c, arena *a, size_t bytes)
{
    return ctx_failed(c) ? NULL : arena_alloc(a->numbers ? a->numbers : a, bytes, &c->error);
}

real *numbers_zeros(ctx *c, arena *a, int64_t count)
{
    real *numbers = numbers_alloc(c, a, (size_t)count * sizeof *numbers);
    if (numbers) c->engine.memory.clear(numbers, (size_t)count * sizeof *numbers);
    return numbers;
}

void *numbers_of(ctx *c, arena *a, const void *host, size_t bytes)
{
    void *numbers = numbers_alloc(c, a, bytes);
    if (numbers) c->engine.memory.upload(numbers, host, bytes);
    return numbers;
}

real *numbers_prepare(ctx *c, arena *a, real *numbers, int64_t count)
{
    if (ctx_failed(c)) return NULL;
    if (!c->engine.memory.backing) return numbers;
    return arena_alloc(a, (size_t)count * sizeof *numbers, &c->error);
}

void numbers_send(ctx *c, real *numbers, const real *prepared, int64_t count)
{
    if (numbers != prepared && !ctx_failed(c))
        c->engine.memory.upload(numbers, prepared, (size_t)count * sizeof *numbers);
}

real *numbers_read(ctx *c, arena *a, real *numbers, int64_t count)
{
    real *copy = numbers_prepare(c, a, numbers, count);
    if (copy && copy != numbers) numbers_fetch(c, copy, numbers, count);
    return ctx_failed(c) ? NULL : copy;
}

bool numbers_fetch(ctx *c, real *to, const real *numbers, int64_t count)
{
    if (!ctx_failed(c)) c->engine.memory.download(to, numbers, (size_t)count * sizeof *to, &c->error);
    return !ctx_failed(c);
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
