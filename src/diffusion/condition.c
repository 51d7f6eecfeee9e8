#include "diffusion/condition.h"

#include <string.h>

static tensor *join_tensors(ctx *c, const tensor *a, const tensor *b)
{
    int64_t dim[TENSOR_DIM_MAX];
    if (ctx_failed(c) || !a) return NULL;
    memcpy(dim, a->dim, sizeof dim);
    dim[0] *= 2;
    TENSOR_CHECK(b && tensor_count(a) == tensor_count(b), a, b);
    tensor *both = tensor_new(c, &c->step, a->dim_count, dim);
    if (!both) return NULL;
    c->engine.memory.copy(both->data, a->data, tensor_bytes(a));
    c->engine.memory.copy(both->data + tensor_count(a), b->data, tensor_bytes(b));
    return both;
}

condition condition_join(ctx *c, const condition *a, const condition *b, int64_t n)
{
    condition both = {.context = join_tensors(c, a->context, b->context),
                      .control = join_tensors(c, a->control, b->control)};
    if (!a->label) return both;
    int32_t *label = arena_alloc(&c->step, 2 * (size_t)n * sizeof *label, &c->error);
    if (!label) return both;
    memcpy(label, a->label, (size_t)n * sizeof *label);
    memcpy(label + n, b->label, (size_t)n * sizeof *label);
    both.label = label;
    return both;
}
