/* Buffers for gradients. The shapes of a network repeat from block to block, so a list of free buffers, searched for the
 * exact size, serves a whole pass with the buffers of about one block. */
#include <string.h>

#include "tensor/gradient.h"

struct free_gradient {
    struct free_gradient *next;
    size_t bytes;
};

static size_t gradient_bytes(const tensor *t)
{
    size_t bytes = (size_t)tensor_count(t) * sizeof(real);
    return bytes > sizeof(struct free_gradient) ? bytes : sizeof(struct free_gradient);
}

static void *take_free(ctx *c, size_t bytes)
{
    for (struct free_gradient **at = &c->free_gradients; *at; at = &(*at)->next)
        if ((*at)->bytes == bytes) {
            void *found = *at;
            *at = (*at)->next;
            return found;
        }
    return NULL;
}

real *tensor_grad_write(ctx *c, tensor *t, bool *add)
{
    if (!t || !t->need_grad || ctx_failed(c)) return NULL;
    *add = t->grad;
    if (*add) return t->grad;
    size_t bytes = gradient_bytes(t);
    t->grad = take_free(c, bytes);
    if (!t->grad) t->grad = arena_alloc(&c->gradient, bytes, &c->error);
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
static bool is_from_gradient_arena(const ctx *c, const tensor *t)
{
    uintptr_t at = (uintptr_t)t->grad, base = (uintptr_t)c->gradient.base;
    return t->grad && at >= base && at - base < c->gradient.used;
}

void gradient_release(ctx *c, tensor *t)
{
    if (!is_from_gradient_arena(c, t)) return;
    struct free_gradient *buffer = (struct free_gradient *)t->grad;
    *buffer = (struct free_gradient){c->free_gradients, gradient_bytes(t)};
    c->free_gradients = buffer;
    t->grad = NULL;
}

void gradient_release_all(ctx *c)
{
    arena_release(&c->gradient, 0);
    c->free_gradients = NULL;
}
