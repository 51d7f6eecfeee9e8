/* The pass arena: blocks that a pass back takes and gives back in any order. The shapes of a network repeat from block to
 * block, so a list of free blocks, searched for the exact size, serves a whole pass with what about one block needs. */
#include "tensor/pass.h"

/* Blocks given back stand in a list, the last one first: its numbers are the likeliest to be in a cache. Those in use stand
 * in another. */
typedef struct pass_block {
    struct pass_block *next;
    real *data;
    size_t bytes;
} pass_block;

static void move_block(pass_block **from, pass_block **to)
{
    pass_block *block = *from;
    *from = block->next;
    block->next = *to;
    *to = block;
}

static real *take_block(ctx *c, const tensor *t)
{
    const size_t bytes = tensor_bytes(t);
    pass_block **at = &c->free_blocks;
    while (*at && (*at)->bytes != bytes) at = &(*at)->next;
    if (!*at) {
        pass_block *block = arena_alloc(&c->pass, sizeof *block, &c->error);
        real *data = numbers_alloc(c, &c->pass, bytes);
        if (!block || !data) return NULL;
        *block = (pass_block){.data = data, .bytes = bytes};
        *at = block;
    }
    move_block(at, &c->used_blocks);
    return c->used_blocks->data;
}

/* False where data is no block: a weight whose gradients are added up has its buffer in the model arena. */
static bool give_block(ctx *c, const real *data)
{
    pass_block **at = &c->used_blocks;
    while (*at && (*at)->data != data) at = &(*at)->next;
    if (!*at) return false;
    move_block(at, &c->free_blocks);
    return true;
}

/* ---- gradients ---- */

real *tensor_grad_write(ctx *c, tensor *t, bool *add)
{
    if (!t || !t->need_grad || ctx_failed(c)) return NULL;
    *add = t->grad && !t->grad_is_empty;
    if (!t->grad) t->grad = take_block(c, t);
    t->grad_is_empty = false;
    return t->grad;
}

real *tensor_grad(ctx *c, tensor *t)
{
    bool add;
    real *d = tensor_grad_write(c, t, &add);
    if (d && !add) c->engine.memory.clear(d, tensor_bytes(t));
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
    TENSOR_CHECK(!t || !t->narrow, t);
    real *d = tensor_grad(c, t);
    if (d) c->engine.accumulate(d, out->grad, tensor_count(t));
}

void pass_release_gradient(ctx *c, tensor *t)
{
    if (t->grad && give_block(c, t->grad)) t->grad = NULL;
}

void pass_release_all(ctx *c)
{
    arena_clear(&c->pass);
    c->free_blocks = c->used_blocks = NULL;
}

/* ---- values that are made twice ---- */

tensor *tensor_new_droppable(ctx *c, int dim_count, const int64_t dim[], bool narrow, bool recorded)
{
    if (!recorded || !c->engine.remakes) return tensor_new_result(c, dim_count, dim, narrow);
    tensor *t = tensor_header(c, &c->step, dim_count, dim);
    if (!t) return NULL;
    t->narrow = narrow;
    t->data = take_block(c, t);
    return t->data ? t : NULL;
}

void tensor_drop(ctx *c, tensor *t)
{
    if (!t || !t->remade_by || !t->data) return;
    give_block(c, t->data);
    t->data = NULL;
}

const real *tensor_values(ctx *c, tensor *t)
{
    if (t->data || ctx_failed(c)) return t->data;
    t->data = take_block(c, t);
    if (t->data) t->remade_by->remake(c, t->remade_by);
    return t->data;
}
