/* A rehearsal: work is gone through with kernels that do nothing, so that the arenas know how far they will be used (arena.peak)
 * before the work is begun. It costs what the host does between kernels. What is in the engine's memory stays as it is; what the
 * host reads from there meanwhile means nothing, and what it concludes from that must be left. */
#ifndef TENSOR_REHEARSAL_H
#define TENSOR_REHEARSAL_H

#include "tensor/context.h"

typedef struct rehearsal {
    engine engine; /* the context's own */
    arena_place step, scratch;
    bool (*go_on)(void *user); /* the context's own: whoever called is not asked meanwhile */
} rehearsal;

/* No tape and no block of the pass arena may be in use. */
void rehearsal_begin(ctx *c, rehearsal *r);

/* Gives back all that was taken in the step, scratch and pass arenas since. What failed meanwhile would fail in earnest: the
 * context keeps its failure. */
void rehearsal_end(ctx *c, const rehearsal *r);

#endif
