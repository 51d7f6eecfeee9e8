/* The context: the engines, the arenas and the tape that every op works with. How an engine is chosen and a context opened
 * by its name stands in engine/open.h. */
#ifndef TENSOR_CONTEXT_H
#define TENSOR_CONTEXT_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/text.h"
#include "tensor/engine.h"

struct tensor;
struct rank_group;

/* Sticky failure: once ctx->error is set every op returns NULL and does nothing, so models have no error branches. */
struct dt_context {
    dt_error error;
    engine engine;
    engine host;      /* the CPU engine, for arrays in the process's memory; the same as `engine` where that is one */
    arena model;      /* weights, optimiser, whole life of a run */
    arena step;       /* activations, gradients, records; released each step */
    arena scratch;    /* inside one op or one helper; released by whoever took it */
    arena pass;       /* what a pass back needs only for a while; see "gradients" in tensor/tensor.h */
    arena numbers[4]; /* where those of the four above lie when the engine has its own memory */
    struct pass_block *free_blocks, *used_blocks;
    struct tape_record *tape; /* newest record, linked backwards; NULL: empty */
    bool recording;           /* ops append records */
    bool checkpointing;       /* blocks of a network that is recorded keep their inputs only (tape_checkpoint) */
    bool marking;             /* ops append none, but say of their results whether they would need a gradient */
    /* Told of each weight (row > 0) as soon as a backward pass has completed its gradient, which then goes back to the pass
     * arena; NULL: weights keep their gradients. */
    void (*weight_done)(struct dt_context *c, void *user, struct tensor *weight);
    void *weight_done_user;
    /* Whether whoever called may want the work to go on; NULL: always. Asked by ctx_go_on only. */
    bool (*go_on)(void *user);
    void *go_on_user;
    double asked_s;   /* when it was asked last, by base/clock.h */
    double ask_every; /* seconds between two questions at the least */
    int gemm_flags;   /* 0, or GEMM_BF16: the precision of matrix products */
    int threads;
    int calls;                    /* public calls that are at work, one within another */
    text_c_numbers plain_numbers; /* of the first of them, while it works */
    struct rank_group *ranks;     /* that make the call together (rank/rank.h); NULL: this process alone */
};
typedef struct dt_context ctx;

/* Opens the arenas of a context that works with these filled engines, which are copied; threads 0: cpus_to_use. `c` holds
 * nothing before. After a failure it may be closed too. */
dt_status ctx_start(ctx *c, const engine *e, const engine *host, int threads);
void ctx_close(ctx *c);

static inline bool ctx_failed(const ctx *c)
{
    return c->error.status != DT_OK;
}

/* Sets the precision of matrix products, 0 (f32) or GEMM_BF16, and gives the one before it, to be set again. */
static inline int ctx_set_precision(ctx *c, int gemm_flags)
{
    const int before = c->gemm_flags;
    c->gemm_flags = gemm_flags;
    return before;
}

/* To be called between the pieces of anything long, and cheap enough for small ones: asks c->go_on when c->ask_every
 * has passed. False after a failure, and when the caller wants a stop, which is DT_ERR_INTERRUPTED. */
bool ctx_go_on(ctx *c);

/* Makes this thread work with the context's engine, and its parallel regions use the context's thread count. Called at each public
 * entry. */
void ctx_enter(const ctx *c);

#endif
