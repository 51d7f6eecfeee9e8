/* Where an adapter joins a network: at a linear map (lin_site, inside nn/layer.c's one function) and in a block (block_site, a
 * line of the block's text). A site without an adapter changes nothing. What adapters there are is for them to say; networks
 * and layers know these two sites only. */
#ifndef NN_ADAPTER_H
#define NN_ADAPTER_H

#include "tensor/tensor.h"

/* At a linear map y[..,O] = x[..,I] w^T + b. */
typedef struct lin_site {
    /* What stands in for y, e.g. y + scale (x A^T) B^T. NULL: y itself. */
    tensor *(*join)(ctx *c, const void *adapter, tensor *x, tensor *y);
    const void *adapter; /* borrowed */
} lin_site;

typedef enum block_place {
    BLOCK_ENTRY,     /* h is x[N,S,D], the tokens that enter the block */
    BLOCK_ATTENTION, /* h is what attention gives to its gate, x the residual it is added to */
    BLOCK_MLP,       /* h is what the MLP gives to its gate, x the residual it is added to */
} block_place;

typedef struct block_site {
    /* What stands in for h[N,S,D] at this place. NULL: h itself. */
    tensor *(*join)(ctx *c, const void *adapter, block_place place, tensor *x, tensor *h);
    const void *adapter; /* borrowed */
} block_site;

static inline tensor *block_join(ctx *c, const block_site *s, block_place place, tensor *x, tensor *h)
{
    return s->join ? s->join(c, s->adapter, place, x, h) : h;
}

#endif
