#include "tensor/pass.h"

#include <string.h>

bool tape_wants(ctx *c, tensor *out, tensor *const in[], int in_count)
{
    if (!c->recording || !out) return false;
    for (int i = 0; i < in_count; i++)
        if (in[i] && in[i]->need_grad) out->need_grad = true;
    return out->need_grad;
}

void tape_push(ctx *c, void (*backward)(ctx *, const tape_record *), tensor *out, tensor *const in[], int in_count,
               const void *saved, size_t saved_size)
{
    tape_record *r = arena_alloc_zeroed(&c->step, sizeof *r, &c->error);
    void *copy = saved_size && r ? arena_alloc(&c->step, saved_size, &c->error) : NULL;
    if (ctx_failed(c)) return;
    if (saved_size) memcpy(copy, saved, saved_size);
    *r = (tape_record){.backward = backward, .previous = c->tape, .out = out, .saved = copy};
    memcpy(r->in, in, (size_t)in_count * sizeof in[0]);
    for (int i = 0; i < in_count; i++)
        if (in[i] && in[i]->need_grad) in[i]->uses++;
    c->tape = r;
}

void tape_remake(ctx *c, void (*remake)(ctx *, const tape_record *))
{
    if (!c->engine.remakes) return;
    c->tape->remake = remake;
    c->tape->out->remade_by = c->tape;
}

/* What a record leaves behind once it has been walked: its result is through, and the gradient of a weight which no earlier
 * record uses is complete. */
static void leave_record(ctx *c, const tape_record *r)
{
    pass_release_gradient(c, r->out);
    tensor_drop(c, r->out);
    for (int i = 0; i < TAPE_INPUT_MAX; i++) {
        tensor *x = r->in[i];
        if (!x || !x->need_grad || --x->uses > 0 || !x->row || !c->weight_done) continue;
        c->weight_done(c, c->weight_done_user, x);
        pass_release_gradient(c, x);
    }
}

/* A record whose output never received a gradient has nothing to pass on. */
void tape_backward(ctx *c, tape_record *until)
{
    while (c->tape != until && !ctx_failed(c)) {
        const tape_record *r = c->tape;
        if (r->out->grad) r->backward(c, r);
        if (ctx_failed(c)) return; /* the record stays, for tape_clear */
        leave_record(c, r);
        c->tape = r->previous;
    }
}

void tape_clear(ctx *c)
{
    for (const tape_record *r = c->tape; r; r = r->previous)
        for (int i = 0; i < TAPE_INPUT_MAX; i++) {
            if (!r->in[i]) continue;
            r->in[i]->uses = 0;
            pass_release_gradient(c, r->in[i]);
        }
    c->tape = NULL;
    pass_release_all(c);
}

static void reshape_bwd(ctx *c, const tape_record *r)
{
    tensor_grad_pass(c, r->in[0], r->out);
}

tensor *op_reshape(ctx *c, tensor *x, int dim_count, const int64_t dim[])
{
    if (ctx_failed(c)) return NULL;
    tensor *y = tensor_header(c, &c->step, dim_count, dim);
    if (!y) return NULL;
    y->data = x->data;
    TENSOR_CHECK(tensor_count(y) == tensor_count(x), x, y);
    if (tape_wants(c, y, &x, 1)) tape_push(c, reshape_bwd, y, &x, 1, NULL, 0);
    return y;
}

/* Runs f unrecorded and keeps only its result: the result's block is copied to where f's first allocation was. The
 * header and data of the kept tensor are made before f runs, so nothing of f survives above them. */
static tensor *run_and_release(ctx *c, tape_function *f, const void *arg, tensor *x, tensor *cond)
{
    if (ctx_failed(c)) return NULL;
    bool recording = c->recording;
    c->recording = false;
    const arena_place mark = arena_mark(&c->step);
    tensor *inside = f(c, arg, x, cond);
    c->recording = recording;
    if (ctx_failed(c)) return NULL;

    /* Through scratch, because the kept copy may overlap the block it comes from. */
    tensor shape = *inside;
    TENSOR_CHECK(!inside->narrow, inside);
    const size_t bytes = tensor_bytes(inside);
    const arena_place scratch_mark = arena_mark(&c->scratch);
    real *copy = numbers_alloc(c, &c->scratch, bytes);
    if (!copy) return NULL;
    c->engine.memory.copy(copy, inside->data, bytes);
    arena_release(&c->step, mark);
    tensor *kept = tensor_new(c, &c->step, shape.dim_count, shape.dim);
    if (kept) c->engine.memory.copy(kept->data, copy, bytes);
    arena_release(&c->scratch, scratch_mark);
    return kept;
}

tensor *tape_inference(ctx *c, tape_function *f, const void *arg, tensor *x, tensor *cond)
{
    return run_and_release(c, f, arg, x, cond);
}

typedef struct checkpoint_saved {
    tape_function *f;
    const void *arg;
} checkpoint_saved;

static void checkpoint_bwd(ctx *c, const tape_record *r)
{
    const checkpoint_saved *s = r->saved;
    const arena_place mark = arena_mark(&c->step);
    tape_record *until = c->tape;
    bool recording = c->recording;
    c->recording = true;
    tensor *again = s->f(c, s->arg, r->in[0], r->in[1]);
    c->recording = recording;
    if (ctx_failed(c)) return;
    again->grad = r->out->grad;
    r->out->grad = NULL;
    tape_backward(c, until);
    if (!ctx_failed(c)) arena_release(&c->step, mark);
}

/* The function's own weights may be trainable even when x and cond are not, so the result always wants a gradient. */
tensor *tape_checkpoint(ctx *c, tape_function *f, const void *arg, tensor *x, tensor *cond)
{
    if (!c->recording) return run_and_release(c, f, arg, x, cond);
    tensor *y = run_and_release(c, f, arg, x, cond);
    if (!y) return NULL;
    y->need_grad = true;
    checkpoint_saved saved = {f, arg};
    tape_push(c, checkpoint_bwd, y, (tensor *[]){x, cond}, 2, &saved, sizeof saved);
    return y;
}
