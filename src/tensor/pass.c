/* The pass arena: blocks that a pass back takes and gives back in any order. The shapes of a network repeat from block to
 * block, so a list of free blocks, searched for the exact size, serves a whole pass with what about one block needs. */
#include "tensor/pass.h"

#include <string.h>

struct free_block {
    struct free_block *next;
    size_t bytes;
};

static size_t block_bytes(const tensor *t)
{
    size_t bytes = (size_t)tensor_count(t) * sizeof(real);
    return bytes > sizeof(struct free_block) ? bytes : sizeof(struct free_block);
}

static real *take_block(ctx *c, const tensor *t)
{
    const size_t bytes = block_bytes(t);
    for (struct free_block **at = &c->free_blocks; *at; at = &(*at)->next)
        if ((*at)->bytes == bytes) {
            void *found = *at;
            *at = (*at)->next;
            return found;
        }
    return arena_alloc(&c->pass, bytes, &c->error);
}

static void give_block(ctx *c, real *data, const tensor *t)
{
    struct free_block *block = (struct free_block *)data;
    *block = (struct free_block){c->free_blocks, block_bytes(t)};
    c->free_blocks = block;
}

/* ---- gradients ---- */

real *tensor_grad_write(ctx *c, tensor *t, bool *add)
{
    if (!t || !t->need_grad || ctx_failed(c)) return NULL;
    *add = t->grad;
    if (!*add) t->grad = take_block(c, t);
    return t->grad;
}

real *tensor_grad(ctx *c, tensor *t)
{
    bool add;
    real *d = tensor_grad_write(c, t, &add);
    if (d && !add) memset(d, 0, (size_t)tensor_count(t) * sizeof(real));
    return d;
}

bool tensor_grad_take(tensor *t, tensor *out)
{
    if (!t || !t->need_grad || t->grad) return false;
    t->grad = out->grad;
    out->grad = NULL;
    return true;
}

void tensor_grad_pass(ctx *c, tensor *t, tensor *out)
{
    if (tensor_grad_take(t, out)) return;
    real *d = tensor_grad(c, t);
    if (d) c->engine.accumulate(d, out->grad, tensor_count(t));
}

/* A weight whose gradients are added up has its buffer in the model arena. */
static bool is_block(const ctx *c, const real *data)
{
    uintptr_t at = (uintptr_t)data, base = (uintptr_t)c->pass.base;
    return data && at >= base && at - base < c->pass.used;
}

void pass_release_gradient(ctx *c, tensor *t)
{
    if (!is_block(c, t->grad)) return;
    give_block(c, t->grad, t);
    t->grad = NULL;
}

void pass_release_all(ctx *c)
{
    arena_release(&c->pass, 0);
    c->free_blocks = NULL;
}

/* ---- values that are made twice ---- */

tensor *tensor_new_droppable(ctx *c, int dim_count, const int64_t dim[])
{
    if (!c->recording) return tensor_new(c, &c->step, dim_count, dim);
    if (ctx_failed(c)) return NULL;
    tensor *t = arena_alloc_zeroed(&c->step, sizeof *t, &c->error);
    if (!t) return NULL;
    t->dim_count = dim_count;
    memcpy(t->dim, dim, (size_t)dim_count * sizeof dim[0]);
    t->data = take_block(c, t);
    return t->data ? t : NULL;
}

void tensor_drop(ctx *c, tensor *t)
{
    if (!t || !t->remade_by || !t->data) return;
    give_block(c, t->data, t);
    t->data = NULL;
}

const real *tensor_values(ctx *c, tensor *t)
{
    if (t->data || ctx_failed(c)) return t->data;
    t->data = take_block(c, t);
    if (t->data) t->remade_by->remake(c, t->remade_by);
    return t->data;
}
