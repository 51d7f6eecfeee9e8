/* Where an adapter joins a network: at a linear map (lin_site, inside nn/layer.c's one function) and in a block (block_site, a
 * line of the block's text). A site without an adapter changes nothing, and neither does an adapter that is off. What adapters
 * there are is for src/adapter/ to say; networks and layers know these two sites only. */
#ifndef NN_ADAPTER_H
#define NN_ADAPTER_H

#include "tensor/tensor.h"

/* At a linear map y[..,O] = x[..,I] w^T + b. Several may join one map, one behind the other. */
typedef struct lin_site {
    /* What stands in for y, e.g. y + scale (x A^T) B^T. */
    tensor *(*join)(ctx *c, const void *adapter, tensor *x, tensor *y);
    bool narrow;                 /* join takes a y that is narrow (op/op.h, op_linear_branch) */
    const void *adapter;         /* borrowed */
    const bool *off;             /* borrowed; true: y itself */
    const struct lin_site *next; /* NULL: none */
} lin_site;

typedef enum block_place {
    BLOCK_ENTRY,     /* h is x[N,S,D], the tokens that enter the block */
    BLOCK_ATTENTION, /* h is what attention gives to its gate, x the residual it is added to */
    BLOCK_MLP,       /* h is what the MLP gives to its gate, x the residual it is added to */
    BLOCK_EXIT,      /* h is x, the tokens that leave the block */
} block_place;

typedef struct block_site {
    /* What stands in for h[N,S,D] at this place. Only at entry and exit may it have another S. */
    tensor *(*join)(ctx *c, const void *adapter, block_place place, tensor *x, tensor *h);
    const void *adapter;           /* borrowed */
    const bool *off;               /* borrowed; true: h itself */
    const struct block_site *next; /* NULL: none */
} block_site;

static inline const lin_site *lin_site_on(const lin_site *s)
{
    while (s && *s->off) s = s->next;
    return s;
}

static inline const block_site *block_site_on(const block_site *s)
{
    while (s && *s->off) s = s->next;
    return s;
}

static inline tensor *block_join(ctx *c, const block_site *first, block_place place, tensor *x, tensor *h)
{
    for (const block_site *s = block_site_on(first); s; s = block_site_on(s->next))
        h = s->join(c, s->adapter, place, x, h);
    return h;
}

/* ---- the sites of a network, for adapters to find ---- */

struct lin_w;

/* A transformer's block. Names of its weights begin with "name.". */
typedef struct block_sites {
    const char *name;
    const block_site **first;
    struct lin_w *attention_in, *attention_out,
        *mlp_out; /* queries, keys and values; behind the heads; behind the activation */
} block_sites;

typedef struct network_sites {
    struct lin_w **map; /* every linear map */
    int map_count;
    block_sites *block;
    int block_count;
    int64_t width;           /* D */
    struct lin_w *token_map; /* of all maps, the one that makes tokens of patches */
    const char *label_rows;  /* pattern of the rows that know the classes; NULL: none */
    const char *attention;   /* ends of the names of attention's maps, as lora_targets has them */
} network_sites;

#endif
