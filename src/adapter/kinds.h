/* An adapter, and what its kinds share. Each kind has a function that makes its rows and joins them to the network. */
#ifndef ADAPTER_KINDS_H
#define ADAPTER_KINDS_H

#include "diffusion/denoiser.h"
#include "nn/layer.h"

/* The settings of an adapter. */
typedef struct adapter_plan {
    dt_adapter kind;
    int64_t rank;        /* lora */
    double alpha;        /* lora; 0: the rank */
    bool root;           /* lora: the scale is alpha / sqrt(rank), not alpha / rank */
    bool dora;           /* lora: every output has a magnitude of its own */
    const char *targets; /* lora: ends of names of linear maps, or "all-linear"; empty: attention's */
    dt_difffit variant;  /* difffit */
    int64_t blocks;      /* difffit: with scales, in the released variant */
    int64_t tokens;      /* vpt-deep */
    int64_t width;       /* adaptformer */
    double scale;        /* adaptformer */
} adapter_plan;

typedef struct adapter {
    adapter_plan plan;
    params params; /* its own rows */
    bool off;      /* the network is as if it were not there */
} adapter;

/* What the product of lora's matrices is multiplied with. */
double adapter_lora_scale(const adapter_plan *plan);
void difffit_join(ctx *c, adapter *a, denoiser *d);
void lora_join(ctx *c, adapter *a, denoiser *d);
void vpt_join(ctx *c, adapter *a, denoiser *d);
void adaptformer_join(ctx *c, adapter *a, denoiser *d);

typedef tensor *join_at_map(ctx *c, const void *weights, tensor *x, tensor *y);
typedef tensor *join_in_block(ctx *c, const void *weights, block_place place, tensor *x, tensor *h);

/* Puts a site behind those that are there. `weights` must stay; narrow: as in a lin_site. */
void kind_join_map(ctx *c, const adapter *a, lin_w *map, join_at_map *join, bool narrow, const void *weights);
void kind_join_block(ctx *c, const adapter *a, block_sites *block, join_in_block *join, const void *weights);

/* row[1,width] of this value, which nothing trains. */
tensor *kind_constant(ctx *c, int64_t width, double value);

/* The row [1,width] for each of n samples, [n,width]. */
tensor *kind_spread(ctx *c, tensor *row, int64_t n);

/* y + factor * h with one factor[n,O] for each sample and column of y and h, [n,O] or [n,S,O]. */
tensor *kind_add(ctx *c, tensor *y, tensor *h, tensor *factor);

/* factor * h, likewise. */
tensor *kind_scale(ctx *c, tensor *h, tensor *factor);

/* The name of a linear map: that of its weight, less ".weight". Its length, which printf's "%.*s" takes. */
int kind_map_name(const char **name, const denoiser *d, const lin_w *map);

#endif
