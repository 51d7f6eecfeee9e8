#include "nn/params.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void params_open(ctx *c, params *p, int capacity)
{
    *p = (params){.capacity = capacity};
    p->row = arena_alloc_zeroed(&c->model, (size_t)capacity * sizeof p->row[0], &c->error);
}

tensor *params_add(ctx *c, params *p, param_init init, int dim_count, const int64_t dim[], const char *format,
                   int number)
{
    if (ctx_failed(c)) return NULL;
    TENSOR_CHECK(p->count < p->capacity, NULL);
    int64_t joined[2] = {dim[0], 1};
    for (int i = 1; i < dim_count; i++) joined[1] *= dim[i];
    param *row = &p->row[p->count++];
    *row = (param){.file_dim_count = dim_count, .init = init};
    memcpy(row->file_dim, dim, (size_t)dim_count * sizeof dim[0]);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(row->name, sizeof row->name, format, number);
#pragma GCC diagnostic pop
    row->tensor = tensor_new(c, &c->model, dim_count > 1 ? 2 : 1, joined);
    if (row->tensor) row->tensor->row = p->count;
    return row->tensor;
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

static void init_row(real *out, const param *row, rng_key key)
{
    const tensor *t = row->tensor;
    const int64_t count = tensor_count(t);
    switch (row->init) {
    case PARAM_ZERO: memset(out, 0, (size_t)count * sizeof *out); break;
    case PARAM_XAVIER: fill_uniform(out, count, sqrt(6.0 / (double)(t->dim[0] + t->dim[1])), key); break;
    case PARAM_NORMAL: fill_normal(out, count, 0.02, key); break;
    case PARAM_FIXED: break;
    }
}

void params_init(ctx *c, params *p, uint64_t seed)
{
    for (int i = 0; i < p->count && !ctx_failed(c); i++) {
        const param *row = &p->row[i];
        if (row->init == PARAM_FIXED) continue;
        const arena_place mark = arena_mark(&c->scratch);
        const int64_t count = tensor_count(row->tensor);
        real *values = numbers_prepare(c, &c->scratch, row->tensor->data, count);
        if (values) init_row(values, row, (rng_key){.seed = seed, .purpose = RNG_INIT, .step = (uint32_t)i});
        numbers_send(c, row->tensor->data, values, count);
        arena_release(&c->scratch, mark);
    }
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

void params_train(ctx *c, params *p, bool keep_gradients)
{
    for (int i = 0; i < p->count && !ctx_failed(c); i++) {
        if (p->row[i].init == PARAM_FIXED) continue;
        tensor *t = p->row[i].tensor;
        if (keep_gradients) t->grad = numbers_alloc(c, &c->model, tensor_bytes(t));
        t->grad_is_empty = keep_gradients;
        t->need_grad = true;
    }
}

int64_t params_count(const params *p, bool with_fixed)
{
    int64_t count = 0;
    for (int i = 0; i < p->count; i++)
        if (with_fixed || p->row[i].init != PARAM_FIXED) count += tensor_count(p->row[i].tensor);
    return count;
}

param *params_find(const params *p, const char *name)
{
    for (int i = 0; i < p->count; i++)
        if (!strcmp(p->row[i].name, name)) return &p->row[i];
    return NULL;
}
