#include "tensor/pass.h"

#include <string.h>

static bool one_needs_gradient(tensor *const in[], int in_count)
{
    for (int i = 0; i < in_count; i++)
        if (in[i] && in[i]->need_grad) return true;
    return false;
}

bool tape_records(const ctx *c, tensor *const in[], int in_count)
{
    return c->recording && one_needs_gradient(in, in_count);
}

bool tape_wants(ctx *c, tensor *out, tensor *const in[], int in_count)
{
    if (!(c->recording || c->marking) || !out) return false;
    if (one_needs_gradient(in, in_count)) out->need_grad = true;
    return c->recording && out->need_grad;
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

/* Result number i of a record; NULL behind the last. */
static tensor *result_of(const tape_record *r, int i)
{
    return i == 0 ? r->out : i < TAPE_OUTPUT_MAX ? r->more[i - 1] : NULL;
}

static bool has_gradient(const tape_record *r)
{
    for (int i = 0; result_of(r, i); i++)
        if (result_of(r, i)->grad) return true;
    return false;
}

/* What a record leaves behind once it has been walked: its result is through, and the gradient of a weight which no earlier
 * record uses is complete. */
static void leave_record(ctx *c, const tape_record *r)
{
    for (int i = 0; result_of(r, i); i++) pass_release_gradient(c, result_of(r, i));
    tensor_drop(c, r->out);
    for (int i = 0; i < TAPE_INPUT_MAX; i++) {
        tensor *x = r->in[i];
        if (!x || !x->need_grad || --x->uses > 0 || !x->row || !c->weight_done) continue;
        c->weight_done(c, c->weight_done_user, x);
        pass_release_gradient(c, x);
    }
}

/* A record whose results never received a gradient has nothing to pass on. */
void tape_backward(ctx *c, tape_record *until)
{
    while (c->tape != until && !ctx_failed(c)) {
        const tape_record *r = c->tape;
        if (has_gradient(r)) r->backward(c, r);
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

/* ---- functions on the tape ---- */

typedef struct call {
    tape_function *f;
    const void *arg;
    int out_count;
} call;

/* Runs f without a record; false after a failure. */
static bool run_aside(ctx *c, const call *k, tensor *const in[], tensor *inside[], bool marking)
{
    const bool recording = c->recording, marked = c->marking;
    c->recording = false;
    c->marking = marking;
    k->f(c, k->arg, in, inside);
    c->recording = recording;
    c->marking = marked;
    for (int i = 0; i < k->out_count && !ctx_failed(c); i++) TENSOR_CHECK(!inside[i]->narrow, inside[i]);
    return !ctx_failed(c);
}

/* Copies the results of f to where its first allocation was. Through scratch, because the kept copies may overlap the blocks
 * they come from. */
static void move_down(ctx *c, arena_place mark, tensor *const inside[], tensor *out[], int count)
{
    const arena_place scratch_mark = arena_mark(&c->scratch);
    tensor shape[TAPE_OUTPUT_MAX];
    real *copy[TAPE_OUTPUT_MAX];
    for (int i = 0; i < count; i++) {
        shape[i] = *inside[i];
        copy[i] = numbers_alloc(c, &c->scratch, tensor_bytes(inside[i]));
        if (copy[i]) c->engine.memory.copy(copy[i], inside[i]->data, tensor_bytes(inside[i]));
    }
    if (ctx_failed(c)) return;
    arena_release(&c->step, mark);
    for (int i = 0; i < count; i++) {
        tensor *kept = tensor_new(c, &c->step, shape[i].dim_count, shape[i].dim);
        if (!kept) return;
        c->engine.memory.copy(kept->data, copy[i], tensor_bytes(kept));
        kept->need_grad = shape[i].need_grad;
        out[i] = kept;
    }
    arena_release(&c->scratch, scratch_mark);
}

/* Runs f unrecorded and keeps only its results, which with `marking` know whether they would need a gradient. */
static void run_and_release(ctx *c, const call *k, tensor *const in[], int in_count, tensor *out[], bool marking)
{
    tensor *given[TAPE_INPUT_MAX] = {0}, *inside[TAPE_OUTPUT_MAX] = {0};
    TENSOR_CHECK(in_count <= TAPE_INPUT_MAX && 0 < k->out_count && k->out_count <= TAPE_OUTPUT_MAX, NULL);
    memcpy(given, in, (size_t)in_count * sizeof in[0]);
    for (int i = 0; i < k->out_count; i++) out[i] = NULL;
    if (ctx_failed(c)) return;
    const arena_place mark = arena_mark(&c->step);
    if (run_aside(c, k, given, inside, marking)) move_down(c, mark, inside, out, k->out_count);
    for (int i = 0; i < k->out_count && ctx_failed(c); i++) out[i] = NULL;
}

void tape_inference(ctx *c, tape_function *f, const void *arg, tensor *const in[], int in_count, tensor *out[],
                    int out_count)
{
    run_and_release(c, &(call){f, arg, out_count}, in, in_count, out, false);
}

static void checkpoint_bwd(ctx *c, const tape_record *r)
{
    const call *k = r->saved;
    const arena_place mark = arena_mark(&c->step);
    tape_record *until = c->tape;
    tensor *again[TAPE_OUTPUT_MAX] = {0};
    bool recording = c->recording;
    c->recording = true;
    k->f(c, k->arg, r->in, again);
    c->recording = recording;
    for (int i = 0; i < k->out_count && !ctx_failed(c); i++)
        if (result_of(r, i)->grad) tensor_grad_pass(c, again[i], result_of(r, i));
    if (ctx_failed(c)) return;
    tape_backward(c, until);
    if (!ctx_failed(c)) arena_release(&c->step, mark);
}

void tape_checkpoint(ctx *c, tape_function *f, const void *arg, tensor *const in[], int in_count, tensor *out[],
                     int out_count)
{
    const call k = {f, arg, out_count};
    tensor *result[TAPE_OUTPUT_MAX];
    run_and_release(c, &k, in, in_count, result, c->recording || c->marking);
    if (!ctx_failed(c) && c->recording && one_needs_gradient(result, out_count)) {
        tape_push(c, checkpoint_bwd, result[0], in, in_count, &k, sizeof k);
        if (!ctx_failed(c)) memcpy(c->tape->more, result + 1, (size_t)(out_count - 1) * sizeof result[0]);
    }
    for (int i = 0; i < out_count; i++) out[i] = ctx_failed(c) ? NULL : result[i];
}
