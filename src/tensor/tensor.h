/* Tensors and the tape.
 *
 * A tensor is contiguous, row-major, at most five dimensions, of `real`. It lives in one of the context's arenas and is
 * never freed by itself. An op runs at once; when one of its inputs needs a gradient and the tape is on, it appends a
 * record. tape_backward walks the records in reverse. */
#ifndef TENSOR_TENSOR_H
#define TENSOR_TENSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/real.h"
#include "tensor/context.h"

enum { TENSOR_DIM_MAX = 5, TAPE_INPUT_MAX = 8, TAPE_OUTPUT_MAX = 4 };

typedef struct tensor {
    int dim_count;
    int64_t dim[TENSOR_DIM_MAX];
    bool narrow; /* data and grad hold bfloat16 (tensor/engine.h) */
    real *data;
    real *grad;         /* same shape; NULL until a backward pass or an optimiser asks for it */
    bool grad_is_empty; /* what it holds means nothing: the next gradient overwrites it */
    void *narrow_copy;  /* of a weight: the same numbers as bfloat16 (nn/params.h); NULL: none */
    bool need_grad;     /* trainable, or computed from something trainable */
    int row;            /* of a weight that trains: its row in the set (train/trainset.h), from 1; 0: none */
    int uses;           /* records of the tape that have it as an input */
    const struct tape_record *remade_by; /* can compute `data` again; NULL: data stays */
} tensor;

typedef struct tape_record tape_record;

static inline int64_t tensor_count(const tensor *t)
{
    int64_t count = 1;
    for (int i = 0; i < t->dim_count; i++) count *= t->dim[i];
    return count;
}

static inline size_t tensor_bytes(const tensor *t)
{
    return (size_t)tensor_count(t) * (t->narrow ? 2 : sizeof(real));
}

/* Uninitialised tensor in `a`; NULL (sticky) when memory is out. Shape is given as the dims, e.g.
 * tensor_new(c, &c->step, 2, (int64_t[]){n, d}). */
tensor *tensor_new(ctx *c, arena *a, int dim_count, const int64_t dim[]);
tensor *tensor_zeros(ctx *c, arena *a, int dim_count, const int64_t dim[]);
/* A tensor without numbers. */
tensor *tensor_header(ctx *c, arena *a, int dim_count, const int64_t dim[]);
/* Uninitialised, in the step arena, narrow or not. */
tensor *tensor_new_result(ctx *c, int dim_count, const int64_t dim[], bool narrow);
/* Whether results inside a residual branch, rows of `width` numbers, are kept narrow: where products are of bfloat16 operands
 * anyhow, the engine takes narrow arrays and rows are whole words of 16 bytes, which its fast products want. */
bool tensor_branch_is_narrow(const ctx *c, int64_t width);

/* ---- numbers and the host ----
 *
 * What kernels are handed (data and gradients of tensors, arrays beside them) lies in the engine's memory, from where the
 * host takes a copy and to where it sends one. For an engine that works in the process's own memory the "copy" is the array
 * itself, and nothing is copied. All are NULL or do nothing after a failure. */

/* Uninitialised room for kernels, living as long as what is taken from `a`. */
void *numbers_alloc(ctx *c, arena *a, size_t bytes);
real *numbers_zeros(ctx *c, arena *a, int64_t count);
/* A copy of what the host has. */
void *numbers_of(ctx *c, arena *a, const void *host, size_t bytes);

/* Room in `a` in which the host prepares the numbers that numbers_send then puts at `numbers`. What it holds at first is not
 * said. */
real *numbers_prepare(ctx *c, arena *a, real *numbers, int64_t count);
void numbers_send(ctx *c, real *numbers, const real *prepared, int64_t count);

/* The numbers for the host to read, in `a`; it may also change them and send them back. */
real *numbers_read(ctx *c, arena *a, real *numbers, int64_t count);
/* The numbers copied to where the host wants them. False after a failure. */
bool numbers_fetch(ctx *c, real *to, const real *numbers, int64_t count);

/* ---- gradients, and values that are made twice ----
 *
 * Gradients of computed tensors live in the pass arena, a list of blocks that are given back one by one: a gradient as soon as
 * the record that made the tensor has been walked. A pass back thus needs the gradients of one block of the network at a
 * time, and the next block's are still in the caches.
 *
 * Values that are cheaper to compute again than to keep (an activation, a norm) live there too, until the model drops them
 * behind the linear map that used them. */

/* The gradient buffer to add into, zeroed when it is made. NULL if t needs none or the context failed. */
real *tensor_grad(ctx *c, tensor *t);

/* The gradient buffer for a kernel that gives every element: *add says whether it must add, or overwrite what was just made
 * and never filled. NULL as above. */
real *tensor_grad_write(ctx *c, tensor *t, bool *add);

/* Makes out's gradient that of t, for gradients that are passed through or rewritten in place. False, and nothing is done,
 * when t needs none or has one already. */
bool tensor_grad_take(tensor *t, tensor *out);

/* A result whose values can be dropped where the op leaves a record, if the engine remakes: its data is in the pass arena
 * then. The op calls tape_remake after its tape_push. */
tensor *tensor_new_droppable(ctx *c, int dim_count, const int64_t dim[], bool narrow, bool recorded);

/* Gives the values of t back, if they can be made again. Only op_linear may have used t, which asks for them with
 * tensor_values when it is walked back. */
void tensor_drop(ctx *c, tensor *t);

/* The values of t, made again when they were dropped; NULL when the context failed. */
const real *tensor_values(ctx *c, tensor *t);

/* Adds out's gradient to that of t, without a copy where t has none yet. */
void tensor_grad_pass(ctx *c, tensor *t, tensor *out);

/* Same data under another shape; counts must agree. Gradients flow through. */
tensor *op_reshape(ctx *c, tensor *x, int dim_count, const int64_t dim[]);

/* ---- tape ---- */

struct tape_record {
    void (*backward)(ctx *c, const tape_record *r); /* may take the gradient of `out` away from it */
    tape_record *previous;
    tensor *out;
    tensor *more[TAPE_OUTPUT_MAX - 1]; /* results beside it, of a function on the tape; NULL: none */
    tensor *in[TAPE_INPUT_MAX];
    const void *saved;                            /* op's own struct, in the step arena */
    void (*remake)(ctx *c, const tape_record *r); /* computes out->data again; NULL: it is kept */
};

/* Whether an op on these inputs (NULLs allowed) leaves a record: recording is on and one of them needs a gradient. */
bool tape_records(const ctx *c, tensor *const in[], int in_count);

/* The same; says of `out` whether it needs a gradient. */
bool tape_wants(ctx *c, tensor *out, tensor *const in[], int in_count);

/* Appends a record with a zeroed copy slot of `saved_size` bytes taken from *saved (may be NULL). */
void tape_push(ctx *c, void (*backward)(ctx *, const tape_record *), tensor *out, tensor *const in[], int in_count,
               const void *saved, size_t saved_size);

/* Says that the newest record can compute its result again. */
void tape_remake(ctx *c, void (*remake)(ctx *, const tape_record *));

/* Walks the records back to `until` (exclusive; NULL: all) and removes them. The caller has seeded gradients. */
void tape_backward(ctx *c, tape_record *until);

/* Forgets the records that are left and all blocks of the pass arena. */
void tape_clear(ctx *c);

/* A part of a network: makes out[] from in[]. Deterministic; every input it differentiates is in in[] or trains. A result
 * may be an input, or another result. After a failure of the context out[] may hold anything. */
typedef void tape_function(ctx *c, const void *arg, tensor *const in[], tensor *out[]);

/* Runs f without recording its inside, releases its activations, and records "run f again, then walk it back": memory of one
 * f at a time instead of all (activation checkpointing). No record is left where no result of f would need a gradient: f is
 * frozen and so is what it is given; nor with recording off. At most TAPE_INPUT_MAX inputs, in the step arena, of which some
 * may be NULL, and at most TAPE_OUTPUT_MAX results, none of them narrow; NULLs after a failure. in and out may be the same
 * array. `arg` must outlive the record. */
void tape_checkpoint(ctx *c, tape_function *f, const void *arg, tensor *const in[], int in_count, tensor *out[],
                     int out_count);

/* Runs f with recording off, moves its results down over its activations: inference keeps one f's memory at a time. */
void tape_inference(ctx *c, tape_function *f, const void *arg, tensor *const in[], int in_count, tensor *out[],
                    int out_count);

/* Aborts with file, line and shapes: a wrong shape between ops is our own bug, not the user's. */
#define TENSOR_CHECK(condition, ...)                                                                                   \
    do {                                                                                                               \
        if (!(condition)) tensor_check_failed(__FILE__, __LINE__, #condition, (const tensor *[]){__VA_ARGS__, NULL});  \
    } while (0)
_Noreturn void tensor_check_failed(const char *file, int line, const char *condition, const tensor *const list[]);

#endif
