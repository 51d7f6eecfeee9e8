#include "model/sd/unet_layers.h"

#include <math.h>
#include <stdio.h>

#include "op/conv.h"
#include "op/op.h"

#define TRANSFORMER_GROUP_EPSILON ((real)1e-6)
#define TRANSFORMER_NORM_EPSILON  ((real)1e-5)

enum { MLP_RATIO = 4 };

typedef char layer_name[128];

/* ---- rows ---- */

/* Of a row that was just added. */
static void set_bound(const unet_maker *k, double bound)
{
    if (!ctx_failed(k->c)) k->params->row[k->params->count - 1].bound = bound;
}

static void set_operand(const unet_maker *k, double bound)
{
    set_bound(k, bound);
    if (!ctx_failed(k->c)) k->params->row[k->params->count - 1].operand = true;
}

static param_init init_of(unet_start start)
{
    return start == UNET_START ? PARAM_UNIFORM : PARAM_ZERO;
}

static tensor *add_bias(unet_maker *k, unet_start start, int64_t out, double bound, const char *name)
{
    tensor *b = params_add(k->c, k->params, init_of(start), 1, &out, "%s.bias", name);
    set_bound(k, bound);
    return b;
}

void unet_add_map(unet_maker *k, lin_w *l, unet_start start, int64_t out, int64_t in, bool bias, bool as_convolution,
                  const char *name)
{
    const double bound = 1 / sqrt((double)in);
    *l = (lin_w){0};
    l->w = params_add(k->c, k->params, init_of(start), as_convolution ? 4 : 2, (int64_t[]){out, in, 1, 1}, "%s.weight",
                      name);
    set_operand(k, bound);
    if (bias) l->b = add_bias(k, start, out, bound, name);
    k->sites->map[k->sites->map_count++] = l;
}

void unet_add_conv(unet_maker *k, unet_conv *w, unet_start start, int64_t out, int64_t in, const char *name)
{
    const double bound = 1 / sqrt(9.0 * (double)in);
    w->w = params_add_convolution(k->c, k->params, init_of(start), (int64_t[]){out, in, 3, 3}, "%s.weight", name);
    set_operand(k, bound);
    w->b = add_bias(k, start, out, bound, name);
}

void unet_add_norm(unet_maker *k, unet_norm *w, int64_t width, const char *name)
{
    w->weight = params_add(k->c, k->params, PARAM_ONE, 1, &width, "%s.weight", name);
    w->bias = params_add(k->c, k->params, PARAM_ZERO, 1, &width, "%s.bias", name);
}

static const char *join(layer_name out, const char *prefix, const char *name)
{
    snprintf(out, sizeof(layer_name), "%.80s.%s", prefix, name);
    return out;
}

static void add_resnet(unet_maker *k, unet_resnet *w, int64_t out, int64_t in, const char *prefix)
{
    layer_name name;
    *w = (unet_resnet){.groups = k->groups, .epsilon = (real)k->epsilon};
    unet_add_norm(k, &w->norm1, in, join(name, prefix, "norm1"));
    unet_add_conv(k, &w->conv1, UNET_START, out, in, join(name, prefix, "conv1"));
    unet_add_map(k, &w->time, UNET_START, out, k->time_width, true, false, join(name, prefix, "time_emb_proj"));
    unet_add_norm(k, &w->norm2, out, join(name, prefix, "norm2"));
    unet_add_conv(k, &w->conv2, UNET_START_ZERO, out, out, join(name, prefix, "conv2"));
    if (in != out) unet_add_map(k, &w->shortcut, UNET_START, out, in, true, true, join(name, prefix, "conv_shortcut"));
}

static void add_attention(unet_maker *k, unet_attention *a, int64_t width, int64_t from, const char *prefix)
{
    layer_name name;
    unet_add_map(k, &a->q, UNET_START, width, width, false, false, join(name, prefix, "to_q"));
    unet_add_map(k, &a->k, UNET_START, width, from, false, false, join(name, prefix, "to_k"));
    unet_add_map(k, &a->v, UNET_START, width, from, false, false, join(name, prefix, "to_v"));
    unet_add_map(k, &a->out, UNET_START, width, width, true, false, join(name, prefix, "to_out.0"));
}

static void add_transformer(unet_maker *k, unet_transformer *w, int64_t width, int64_t heads, const char *prefix)
{
    layer_name name, block;
    *w = (unet_transformer){.groups = k->groups, .heads = heads};
    unet_add_norm(k, &w->norm, width, join(name, prefix, "norm"));
    unet_add_map(k, &w->in, UNET_START, width, width, true, true, join(name, prefix, "proj_in"));
    join(block, prefix, "transformer_blocks.0");
    unet_add_norm(k, &w->before_self, width, join(name, block, "norm1"));
    add_attention(k, &w->self, width, width, join(name, block, "attn1"));
    unet_add_norm(k, &w->before_cross, width, join(name, block, "norm2"));
    add_attention(k, &w->cross, width, k->context_width, join(name, block, "attn2"));
    unet_add_norm(k, &w->before_mlp, width, join(name, block, "norm3"));
    unet_add_map(k, &w->gate, UNET_START, 2 * MLP_RATIO * width, width, true, false,
                 join(name, block, "ff.net.0.proj"));
    unet_add_map(k, &w->mlp, UNET_START, width, MLP_RATIO * width, true, false, join(name, block, "ff.net.2"));
    unet_add_map(k, &w->out, UNET_START_ZERO, width, width, true, true, join(name, prefix, "proj_out"));
}

void unet_add_layer(unet_maker *k, unet_layer *l, int64_t out, int64_t in, int64_t heads, const char *prefix, int index)
{
    layer_name name;
    snprintf(name, sizeof name, "%.60s.resnets.%d", prefix, index);
    add_resnet(k, &l->resnet, out, in, name);
    l->transformer = NULL;
    if (!heads) return;
    l->transformer = arena_alloc_zeroed(&k->c->model, sizeof *l->transformer, &k->c->error);
    snprintf(name, sizeof name, "%.60s.attentions.%d", prefix, index);
    if (l->transformer) add_transformer(k, l->transformer, out, heads, name);
}

/* ---- forward ---- */

tensor *unet_run(ctx *c, tape_function *f, const void *weights, tensor *const in[], int in_count)
{
    tensor *out[1] = {NULL};
    if (ctx_failed(c)) return NULL;
    if (c->recording && !c->checkpointing)
        f(c, weights, in, out);
    else
        tape_checkpoint(c, f, weights, in, in_count, out, 1);
    return ctx_failed(c) ? NULL : out[0];
}

static tensor *norm_silu(ctx *c, const unet_resnet *r, const unet_norm *w, tensor *x)
{
    return op_group_norm_silu(c, x, w->weight, w->bias, r->groups, r->epsilon);
}

/* in: x [N,H,W,I], what is beside it (may be NULL), time [N,T] */
static void resnet_on_tape(ctx *c, const void *weights, tensor *const in[], tensor *out[])
{
    const unet_resnet *w = weights;
    tensor *x = in[1] ? op_concat(c, in[0], in[1], 3) : in[0];              /* [N,H,W,I] */
    tensor *h = unet_convolve(c, &w->conv1, norm_silu(c, w, &w->norm1, x)); /* [N,H,W,O] */
    h = op_add_channels(c, h, lin(c, &w->time, in[2], 0));                  /* [N,H,W,O] */
    h = unet_convolve(c, &w->conv2, norm_silu(c, w, &w->norm2, h));         /* [N,H,W,O] */
    out[0] = op_add(c, w->shortcut.w ? lin(c, &w->shortcut, x, 0) : x, h);  /* [N,H,W,O] */
}

static tensor *run_resnet(ctx *c, const unet_resnet *w, tensor *x, tensor *beside, tensor *time)
{
    return unet_run(c, resnet_on_tape, w, (tensor *[]){x, beside, time}, 3);
}

static tensor *normed(ctx *c, const unet_norm *w, tensor *x)
{
    return op_layer_norm(c, x, w->weight, w->bias, TRANSFORMER_NORM_EPSILON);
}

/* x[N,S,C] to from[N,T,..]. Queries, keys and values are all narrow or none is: what an adapter joins may stay wide. */
static tensor *attend(ctx *c, const unet_attention *a, tensor *x, tensor *from, int64_t heads)
{
    const bool joined = lin_site_on(a->q.site) || lin_site_on(a->k.site) || lin_site_on(a->v.site);
    const int branch = joined ? 0 : LIN_BRANCH;
    tensor *q = lin(c, &a->q, x, branch | (x == from ? 0 : LIN_LAST)); /* [N,S,C] */
    tensor *k = lin(c, &a->k, from, branch);                           /* [N,T,C] */
    tensor *v = lin(c, &a->v, from, branch);                           /* [N,T,C] */
    return lin(c, &a->out, op_attention_apart(c, q, k, v, heads, false), 0);
}

/* in: x [N,H,W,C], context [N,T,W] */
static void transformer_on_tape(ctx *c, const void *weights, tensor *const in[], tensor *out[])
{
    const unet_transformer *w = weights;
    tensor *x = in[0], *h = op_group_norm(c, x, w->norm.weight, w->norm.bias, w->groups, TRANSFORMER_GROUP_EPSILON);
    h = lin(c, &w->in, h, 0); /* [N,H,W,C] */
    if (ctx_failed(c)) return;
    h = op_reshape(c, h, 3, (int64_t[]){x->dim[0], x->dim[1] * x->dim[2], x->dim[3]}); /* [N,S,C] */
    tensor *from = normed(c, &w->before_self, h);
    h = op_add(c, h, attend(c, &w->self, from, from, w->heads));
    h = op_add(c, h, attend(c, &w->cross, normed(c, &w->before_cross, h), in[1], w->heads));
    tensor *gated = op_geglu(c, lin(c, &w->gate, normed(c, &w->before_mlp, h), LIN_BRANCH | LIN_LAST)); /* [N,S,4C] */
    h = op_add(c, h, lin(c, &w->mlp, gated, LIN_LAST));
    h = lin(c, &w->out, h, 0); /* [N,S,C] */
    if (!ctx_failed(c)) out[0] = op_add(c, x, op_reshape(c, h, 4, x->dim));
}

static tensor *run_transformer(ctx *c, const unet_transformer *w, tensor *x, tensor *context)
{
    return unet_run(c, transformer_on_tape, w, (tensor *[]){x, context}, 2);
}

tensor *unet_run_layer(ctx *c, const unet_layer *l, tensor *x, tensor *beside, tensor *time, tensor *context)
{
    x = run_resnet(c, &l->resnet, x, beside, time);
    return l->transformer ? run_transformer(c, l->transformer, x, context) : x;
}

tensor *unet_convolve(ctx *c, const unet_conv *w, tensor *x)
{
    return op_conv2d(c, x, w->w, w->b, 1, 1);
}

tensor *unet_downsample(ctx *c, const unet_conv *w, tensor *x)
{
    return op_conv2d(c, x, w->w, w->b, 2, 1);
}

static void upsample_on_tape(ctx *c, const void *weights, tensor *const in[], tensor *out[])
{
    out[0] = unet_convolve(c, weights, op_upsample(c, in[0]));
}

tensor *unet_upsample(ctx *c, const unet_conv *w, tensor *x)
{
    return unet_run(c, upsample_on_tape, w, &x, 1);
}
