#include "nn/params.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/half.h"

enum { FIRST_CAPACITY = 64 };

/* Rows move when there are more: what they replace stays in the arena, at most as much again. */
static bool make_room(ctx *c, params *p)
{
    if (p->count < p->capacity) return true;
    int capacity = p->capacity ? 2 * p->capacity : FIRST_CAPACITY;
    param *row = arena_alloc_zeroed(&c->model, (size_t)capacity * sizeof *row, &c->error);
    if (!row) return false;
    if (p->count) memcpy(row, p->row, (size_t)p->count * sizeof *row);
    p->row = row;
    p->capacity = capacity;
    return true;
}

static const char *make_name(ctx *c, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *name = arena_alloc(&c->model, (size_t)length + 1, &c->error);
    if (name) vsnprintf(name, (size_t)length + 1, format, args);
    return name;
}

static tensor *add_row(ctx *c, params *p, param row, int dim_count, const int64_t dim[], const char *format,
                       va_list args)
{
    if (ctx_failed(c) || !make_room(c, p)) return NULL;
    row.name = make_name(c, format, args);
    row.tensor = tensor_new(c, &c->model, dim_count, dim);
    if (!row.name || !row.tensor) return NULL;
    p->row[p->count++] = row;
    return row.tensor;
}

static param row_of(param_init init, int dim_count, const int64_t dim[])
{
    param row = {.file_dim_count = dim_count, .init = init};
    memcpy(row.file_dim, dim, (size_t)dim_count * sizeof dim[0]);
    return row;
}

/* A matrix of dim[0] rows, whatever the shape in files. */
static tensor *add_matrix(ctx *c, params *p, param row, const char *format, va_list args)
{
    int64_t joined[2] = {row.file_dim[0], 1};
    for (int i = 1; i < row.file_dim_count; i++) joined[1] *= row.file_dim[i];
    return add_row(c, p, row, row.file_dim_count > 1 ? 2 : 1, joined, format, args);
}

tensor *params_add(ctx *c, params *p, param_init init, int dim_count, const int64_t dim[], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tensor *t = add_matrix(c, p, row_of(init, dim_count, dim), format, args);
    va_end(args);
    return t;
}

tensor *params_add_uniform(ctx *c, params *p, double bound, int dim_count, const int64_t dim[], const char *format, ...)
{
    param row = row_of(PARAM_UNIFORM, dim_count, dim);
    row.bound = bound;
    va_list args;
    va_start(args, format);
    tensor *t = add_matrix(c, p, row, format, args);
    va_end(args);
    return t;
}

tensor *params_add_fixed(ctx *c, params *p, int dim_count, const int64_t dim[], const char *name)
{
    tensor *t = params_add(c, p, PARAM_GIVEN, dim_count, dim, "%s", name);
    if (t) p->row[p->count - 1].fixed = true;
    return t;
}

tensor *params_add_convolution(ctx *c, params *p, param_init init, const int64_t dim[4], const char *format, ...)
{
    param row = row_of(init, 4, dim);
    row.convolution = true;
    va_list args;
    va_start(args, format);
    tensor *t = add_row(c, p, row, 4, (int64_t[]){dim[0], dim[2], dim[3], dim[1]}, format, args);
    va_end(args);
    return t;
}

/* Uniform values are drawn one position each, so that a row's values do not depend on how the loop is split. */
static void fill_uniform(real *out, int64_t count, double bound, rng_key key)
{
    for (int64_t i = 0; i < count; i++) out[i] = (real)(bound * (2 * rng_uniform(key, (uint32_t)i) - 1));
}

static void fill_normal(real *out, int64_t count, double deviation, rng_key key)
{
    rng_normal(out, count, key);
    for (int64_t i = 0; i < count; i++) out[i] *= (real)deviation;
}

/* Linear maps: rows and columns. Convolutions: both times the area of the window. */
static double xavier_bound(const param *row)
{
    const int64_t *d = row->file_dim;
    const int64_t area = row->convolution ? d[2] * d[3] : 1, values = tensor_count(row->tensor);
    return sqrt(6.0 / (double)(d[0] * area + values / d[0]));
}

static void fill_constant(real *out, int64_t count, double value)
{
    for (int64_t i = 0; i < count; i++) out[i] = (real)value;
}

static void init_row(real *out, const param *row, rng_key key)
{
    const int64_t count = tensor_count(row->tensor);
    switch (row->init) {
    case PARAM_GIVEN: break;
    case PARAM_ZERO: fill_constant(out, count, 0); break;
    case PARAM_ONE: fill_constant(out, count, 1); break;
    case PARAM_XAVIER: fill_uniform(out, count, xavier_bound(row), key); break;
    case PARAM_UNIFORM: fill_uniform(out, count, row->bound, key); break;
    case PARAM_NORMAL: fill_normal(out, count, 0.02, key); break;
    }
}

void params_start(ctx *c, real *numbers, const params *p, int i, uint64_t seed)
{
    const param *row = &p->row[i];
    const arena_place mark = arena_mark(&c->scratch);
    const int64_t count = tensor_count(row->tensor);
    real *values = numbers_prepare(c, &c->scratch, numbers, count);
    if (values) init_row(values, row, (rng_key){.seed = seed, .purpose = RNG_INIT, .step = (uint32_t)i});
    numbers_send(c, numbers, values, count);
    arena_release(&c->scratch, mark);
}

void params_init(ctx *c, params *p, uint64_t seed)
{
    for (int i = 0; i < p->count && !ctx_failed(c); i++)
        if (p->row[i].init != PARAM_GIVEN) params_start(c, p->row[i].tensor->data, p, i, seed);
    params_round(c, p);
}

void params_round(ctx *c, params *p)
{
    if (!c->engine.narrow_weights) return;
    for (int i = 0; i < p->count && !ctx_failed(c); i++) {
        tensor *t = p->row[i].tensor;
        const int64_t count = tensor_count(t);
        if (!tensor_branch_is_narrow(c, t->dim[t->dim_count - 1])) continue;
        if (!t->narrow_copy) t->narrow_copy = numbers_alloc(c, &c->model, (size_t)count * 2);
        if (t->narrow_copy) c->engine.round(t->narrow_copy, t->data, count);
    }
}

static void narrow_row(ctx *c, tensor *t)
{
    const int64_t count = tensor_count(t);
    const real *from = t->data;
    uint16_t *to = numbers_alloc(c, &c->model, (size_t)count * sizeof *to);
    if (!to) return;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) to[i] = half_bf16_from_f32((float)from[i]);
    arena_drop_pages(from, (size_t)count * sizeof *from);
    t->data = (real *)(void *)to;
    t->narrow = true;
}

void params_narrow(ctx *c, params *p)
{
    if (c->engine.memory.backing) return;
    for (int i = 0; i < p->count && !ctx_failed(c); i++) {
        tensor *t = p->row[i].tensor;
        if (p->row[i].operand && !t->narrow && tensor_branch_is_narrow(c, t->dim[t->dim_count - 1])) narrow_row(c, t);
    }
}

int64_t params_count(const params *p, bool with_fixed)
{
    int64_t count = 0;
    for (int i = 0; i < p->count; i++)
        if (with_fixed || !p->row[i].fixed) count += tensor_count(p->row[i].tensor);
    return count;
}

param *params_find(const params *p, const char *name)
{
    for (int i = 0; i < p->count; i++)
        if (!strcmp(p->row[i].name, name)) return &p->row[i];
    return NULL;
}
