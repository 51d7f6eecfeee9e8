#include "diffusion/condition.h"

#include <string.h>

/* One member of every part; NULL where they have none. */
static tensor *join_tensors(ctx *c, const tensor *const parts[], int count)
{
    int64_t dim[TENSOR_DIM_MAX];
    if (ctx_failed(c) || !parts[0]) return NULL;
    const int64_t values = tensor_count(parts[0]);
    memcpy(dim, parts[0]->dim, sizeof dim);
    dim[0] *= count;
    tensor *all = tensor_new(c, &c->step, parts[0]->dim_count, dim);
    for (int i = 0; all && i < count; i++) {
        TENSOR_CHECK(parts[i] && tensor_count(parts[i]) == values, parts[0], parts[i]);
        c->engine.memory.copy(all->data + i * values, parts[i]->data, tensor_bytes(parts[i]));
    }
    return all;
}

static const int32_t *join_labels(ctx *c, const condition parts[], int count, int64_t n)
{
    int32_t *label = parts[0].label ? arena_alloc(&c->step, (size_t)(count * n) * sizeof *label, &c->error) : NULL;
    for (int i = 0; label && i < count; i++) memcpy(label + i * n, parts[i].label, (size_t)n * sizeof *label);
    return label;
}

static const bool *join_null_times(ctx *c, const condition parts[], int count, int64_t n)
{
    bool any = false;
    for (int i = 0; i < count; i++) any = any || parts[i].null_time;
    bool *all = any ? arena_alloc_zeroed(&c->step, (size_t)(count * n) * sizeof *all, &c->error) : NULL;
    for (int i = 0; all && i < count; i++)
        if (parts[i].null_time) memcpy(all + i * n, parts[i].null_time, (size_t)n * sizeof *all);
    return all;
}

condition condition_join(ctx *c, const condition parts[], int count, int64_t n)
{
    const tensor *context[CONDITION_PARTS_MAX] = {NULL}, *control[CONDITION_PARTS_MAX] = {NULL};
    for (int i = 0; i < count; i++) {
        context[i] = parts[i].context;
        control[i] = parts[i].control;
    }
    return (condition){.label = join_labels(c, parts, count, n),
                       .context = join_tensors(c, context, count),
                       .control = join_tensors(c, control, count),
                       .null_time = join_null_times(c, parts, count, n)};
}
