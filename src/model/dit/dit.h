/* DiT: a diffusion transformer with adaLN-Zero blocks (Peebles and Xie 2023; facebookresearch/DiT models.py, to which
 * names, orders and constants agree; docs/models/dit.md lists them). */
#ifndef DIT_DIT_H
#define DIT_DIT_H

#include "diffusion/condition.h"
#include "nn/layer.h"
#include "nn/params.h"

typedef struct dit_config {
    int64_t input_size; /* height and width of x */
    int64_t patch;      /* 1, 2, 4 or 8; divides input_size */
    int64_t channels;   /* of x */
    int64_t hidden;     /* D; a multiple of 4 (positions) and of heads */
    int64_t depth, heads;
    int64_t class_count; /* the label table has one row more: the null class, last */
    bool learn_sigma;    /* the last layer has 2 * channels */
    bool flow;           /* a SiT (diffusion/flow.h), whose second half of them is made and dropped */
    bool null_time;      /* it has a row that stands for no time */
} dit_config;

typedef struct dit_block_w {
    int64_t heads;
    const block_site *site; /* where an adapter joins the block; NULL: none */
    lin_w ada;              /* [6D,D]: shift, scale, gate of attention, then of the MLP */
    lin_w qkv;              /* [3D,D]: q, k, v */
    lin_w proj;             /* [D,D] */
    lin_w fc1;              /* [4D,D] */
    lin_w fc2;              /* [D,4D] */
} dit_block_w;

typedef struct dit {
    dit_config config;
    params params;
    tensor *pos_embed;    /* [1,S*D] fixed */
    lin_w x_embed;        /* [D,C*P*P] */
    lin_w t_mlp0, t_mlp2; /* [D,256], [D,D] */
    tensor *t_null;       /* [1,D]: stands for the time MLP's result; NULL: config.null_time is false */
    tensor *y_table;      /* [classes+1,D] */
    dit_block_w *block;   /* [depth] */
    lin_w final_ada;      /* [2D,D]: shift, scale */
    lin_w final;          /* [P*P*Cout,D] */
    network_sites *sites; /* where adapters can join */
} dit;

/* The shape "DiT-S/2" .. "DiT-XL/8" stands for (hidden, depth, heads, patch); false if there is no such name. */
bool dit_named(dit_config *config, const char *name);

/* Bounds of every field; DT_ERR_SHAPE naming the field, what is allowed and `object` it came from. */
dt_status dit_config_check(const dit_config *config, const char *object, dt_error *err);

/* The fixed positions out[grid*grid, d] of a new model, d a multiple of 4. */
void dit_positions(real *out, int64_t grid, int64_t d);

/* Makes all weights in the model arena, unfilled but for the positions. The context holds the error. */
dt_status dit_open(ctx *c, dit *m, const dit_config *config);

/* Adds the null time to a network without one, as the mean of the time MLP's results for the times t[n]. */
dt_status dit_start_null_time(ctx *c, dit *m, const real t[], int64_t n);

static inline int64_t dit_null_class(const dit *m)
{
    return m->config.class_count;
}

/* Of the last layer. */
static inline int64_t dit_out_channels(const dit *m)
{
    return m->config.learn_sigma ? 2 * m->config.channels : m->config.channels;
}

/* out[N, Cout, H, W], of a flow [N,C,H,W], for x[N,C,H,W], times t[N] (the original index 0..999, of a flow 0 to 1) and what of
 * a condition a DiT takes: labels [N] (0..class_count), and who is not told the time. */
tensor *dit_forward(ctx *c, const dit *m, tensor *x, const real t[], const condition *k);

/* The tokens after block `blocks` of the same pass, averaged: [N,D]. What FD-base is measured on. */
tensor *dit_features(ctx *c, const dit *m, tensor *x, const real t[], const condition *k, int64_t blocks);

#endif
