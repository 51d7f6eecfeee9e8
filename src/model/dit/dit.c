#include "model/dit/dit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/file/kind.h"
#include "nn/timestep.h"
#include "op/op.h"

#define NORM_EPSILON ((real)1e-6)

enum { FREQUENCY_WIDTH = 256, MLP_RATIO = 4 };
enum { SHIFT_MSA, SCALE_MSA, GATE_MSA, SHIFT_MLP, SCALE_MLP, GATE_MLP, BLOCK_SLICES };
enum { SHIFT_FINAL, SCALE_FINAL, FINAL_SLICES };

/* ---- configuration ---- */

bool dit_named(dit_config *config, const char *name)
{
    static const struct {
        const char *letter;
        int64_t depth, hidden, heads;
    } size[] = {{"S", 12, 384, 6}, {"B", 12, 768, 12}, {"L", 24, 1024, 16}, {"XL", 28, 1152, 16}};
    for (size_t i = 0; i < sizeof size / sizeof size[0]; i++) {
        for (int64_t patch = 2; patch <= 8; patch *= 2) {
            char candidate[16];
            snprintf(candidate, sizeof candidate, "DiT-%s/%d", size[i].letter, (int)patch);
            if (strcmp(candidate, name)) continue;
            config->depth = size[i].depth;
            config->hidden = size[i].hidden;
            config->heads = size[i].heads;
            config->patch = patch;
            return true;
        }
    }
    return false;
}

static void check_range(const char *object, const char *field, int64_t value, int64_t least, int64_t most,
                        dt_error *err)
{
    if (value < least || value > most)
        error_set(err, DT_ERR_SHAPE, "%s: %s must be %lld..%lld, found %lld", object, field, (long long)least,
                  (long long)most, (long long)value);
}

dt_status dit_config_check(const dit_config *k, const char *object, dt_error *err)
{
    check_range(object, "input size", k->input_size, 1, 1024, err);
    check_range(object, "patch size", k->patch, 1, 64, err);
    check_range(object, "channels", k->channels, 1, 1024, err);
    check_range(object, "hidden size", k->hidden, 4, 16384, err);
    check_range(object, "depth", k->depth, 1, 1024, err);
    check_range(object, "heads", k->heads, 1, 1024, err);
    check_range(object, "classes", k->class_count, 1, 1 << 20, err);
    if (err->status != DT_OK) return err->status;
    if (k->input_size % k->patch)
        return error_set(err, DT_ERR_SHAPE, "%s: input size %lld is not a multiple of patch size %lld", object,
                         (long long)k->input_size, (long long)k->patch);
    if (k->hidden % k->heads || k->hidden % 4)
        return error_set(err, DT_ERR_SHAPE, "%s: hidden size %lld is not a multiple of 4 and of %lld heads", object,
                         (long long)k->hidden, (long long)k->heads);
    return DT_OK;
}

/* ---- weights ---- */

static lin_w add_linear(ctx *c, params *p, param_init init, int64_t out, int64_t in, const char *name)
{
    lin_w l = {0};
    l.w = params_add(c, p, init, 2, (int64_t[]){out, in}, "%s.weight", name);
    l.b = params_add(c, p, PARAM_ZERO, 1, (int64_t[]){out}, "%s.bias", name);
    return l;
}

static lin_w add_block_linear(ctx *c, params *p, param_init init, int64_t out, int64_t in, int block, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "blocks.%d.%s", block, name);
    return add_linear(c, p, init, out, in, full);
}

/* Integer coordinates, computed in double. The first half of a vector encodes the column, the second the row: the
 * published grid is made width first. Each half is [sin | cos]. */
void dit_positions(real *out, int64_t grid, int64_t d)
{
    int64_t quarter = d / 4;
    for (int64_t token = 0; token < grid * grid; token++) {
        for (int64_t i = 0; i < quarter; i++) {
            double omega = pow(10000.0, -(double)i / (double)quarter);
            double column = (double)(token % grid) * omega, row = (double)(token / grid) * omega;
            real *v = out + token * d;
            v[i] = (real)sin(column);
            v[quarter + i] = (real)cos(column);
            v[2 * quarter + i] = (real)sin(row);
            v[3 * quarter + i] = (real)cos(row);
        }
    }
}

static void fill_positions(ctx *c, tensor *t, int64_t grid, int64_t d)
{
    const arena_place mark = arena_mark(&c->scratch);
    real *values = numbers_prepare(c, &c->scratch, t->data, tensor_count(t));
    if (values) dit_positions(values, grid, d);
    numbers_send(c, t->data, values, tensor_count(t));
    arena_release(&c->scratch, mark);
}

static dit_block_w add_block(ctx *c, params *p, const dit_config *k, int i)
{
    int64_t d = k->hidden;
    dit_block_w b = {.heads = k->heads};
    b.qkv = add_block_linear(c, p, PARAM_XAVIER, 3 * d, d, i, "attn.qkv");
    b.proj = add_block_linear(c, p, PARAM_XAVIER, d, d, i, "attn.proj");
    b.fc1 = add_block_linear(c, p, PARAM_XAVIER, MLP_RATIO * d, d, i, "mlp.fc1");
    b.fc2 = add_block_linear(c, p, PARAM_XAVIER, d, MLP_RATIO * d, i, "mlp.fc2");
    b.ada = add_block_linear(c, p, PARAM_ZERO, BLOCK_SLICES * d, d, i, "adaLN_modulation.1");
    return b;
}

/* Always the last row, so that those before it start as they do without it. */
static void add_null_time(ctx *c, dit *m)
{
    const int64_t dim[] = {1, m->config.hidden};
    m->t_null = params_add(c, &m->params, PARAM_GIVEN, 2, dim, MODEL_NULL_TIME);
}

/* ---- sites ---- */

static const char *block_name(ctx *c, int64_t i)
{
    enum { ROOM = 32 };
    char *name = arena_alloc(&c->model, ROOM, &c->error);
    if (name) snprintf(name, ROOM, "blocks.%lld", (long long)i);
    return name;
}

static network_sites *list_sites(ctx *c, dit *m)
{
    enum { BLOCK_MAPS = 5, OTHER_MAPS = 5 };
    const int64_t depth = m->config.depth;
    network_sites *s = arena_alloc_zeroed(&c->model, sizeof *s, &c->error);
    lin_w **map = arena_alloc(&c->model, (size_t)(depth * BLOCK_MAPS + OTHER_MAPS) * sizeof *map, &c->error);
    block_sites *block = arena_alloc(&c->model, (size_t)depth * sizeof *block, &c->error);
    if (ctx_failed(c)) return NULL;
    *s = (network_sites){.map = map,
                         .block = block,
                         .block_count = (int)depth,
                         .width = m->config.hidden,
                         .token_map = &m->x_embed,
                         .label_rows = "y_embedder.*",
                         .attention = "attn.qkv"};
    lin_w *const others[OTHER_MAPS] = {&m->x_embed, &m->t_mlp0, &m->t_mlp2, &m->final_ada, &m->final};
    for (int i = 0; i < OTHER_MAPS; i++) map[s->map_count++] = others[i];
    for (int64_t i = 0; i < depth; i++) {
        dit_block_w *b = &m->block[i];
        lin_w *const own[BLOCK_MAPS] = {&b->ada, &b->qkv, &b->proj, &b->fc1, &b->fc2};
        for (int k = 0; k < BLOCK_MAPS; k++) map[s->map_count++] = own[k];
        block[i] = (block_sites){block_name(c, i), &b->site, &b->qkv, &b->proj, &b->fc2};
    }
    return s;
}

/* ---- the whole ---- */

dt_status dit_open(ctx *c, dit *m, const dit_config *k)
{
    *m = (dit){.config = *k};
    if (dit_config_check(k, "model", &c->error) != DT_OK) return c->error.status;
    int64_t d = k->hidden, grid = k->input_size / k->patch, p = k->patch;
    m->block = arena_alloc_zeroed(&c->model, (size_t)k->depth * sizeof m->block[0], &c->error);
    if (ctx_failed(c)) return c->error.status;

    params *table = &m->params;
    m->pos_embed = params_add_fixed(c, table, 3, (int64_t[]){1, grid * grid, d}, "pos_embed");
    m->x_embed.w = params_add(c, table, PARAM_XAVIER, 4, (int64_t[]){d, k->channels, p, p}, "x_embedder.proj.weight");
    m->x_embed.b = params_add(c, table, PARAM_ZERO, 1, (int64_t[]){d}, "x_embedder.proj.bias");
    m->t_mlp0 = add_linear(c, table, PARAM_NORMAL, d, FREQUENCY_WIDTH, "t_embedder.mlp.0");
    m->t_mlp2 = add_linear(c, table, PARAM_NORMAL, d, d, "t_embedder.mlp.2");
    m->y_table =
        params_add(c, table, PARAM_NORMAL, 2, (int64_t[]){k->class_count + 1, d}, "y_embedder.embedding_table.weight");
    for (int64_t i = 0; i < k->depth; i++) m->block[i] = add_block(c, table, k, (int)i);
    m->final = add_linear(c, table, PARAM_ZERO, p * p * dit_out_channels(m), d, "final_layer.linear");
    m->final_ada = add_linear(c, table, PARAM_ZERO, FINAL_SLICES * d, d, "final_layer.adaLN_modulation.1");
    if (k->null_time) add_null_time(c, m);
    if (!ctx_failed(c)) fill_positions(c, m->pos_embed, grid, d);
    if (!ctx_failed(c)) m->sites = list_sites(c, m);
    return c->error.status;
}

/* ---- forward ---- */

/* x: [N,S,D] tokens, cond: [N,D]. Returns [N,S,D]. */
static tensor *dit_block(ctx *c, const void *weights, tensor *x, tensor *cond)
{
    const dit_block_w *b = weights;
    const int branch = block_site_on(b->site) ? 0 : LIN_BRANCH; /* what an adapter changes is kept wide */
    tensor *m = lin(c, &b->ada, op_silu(c, cond), 0);           /* [N,6D] */
    x = block_join(c, b->site, BLOCK_ENTRY, x, x);
    tensor *h = op_norm_modulate(c, x, m, SHIFT_MSA, SCALE_MSA, NORM_EPSILON); /* [N,S,D] */
    h = lin(c, &b->qkv, h, LIN_BRANCH | LIN_LAST);                             /* [N,S,3D] */
    h = lin(c, &b->proj, op_attention(c, h, b->heads), branch);                /* [N,S,D] */
    h = block_join(c, b->site, BLOCK_ATTENTION, x, h);
    x = op_gated_add(c, x, h, m, GATE_MSA);                            /* [N,S,D] */
    h = op_norm_modulate(c, x, m, SHIFT_MLP, SCALE_MLP, NORM_EPSILON); /* [N,S,D] */
    h = lin(c, &b->fc1, h, LIN_BRANCH | LIN_LAST | LIN_GELU);          /* [N,S,4D] */
    h = lin(c, &b->fc2, h, branch | LIN_LAST);                         /* [N,S,D] */
    h = block_join(c, b->site, BLOCK_MLP, x, h);
    x = op_gated_add(c, x, h, m, GATE_MLP); /* [N,S,D] */
    return block_join(c, b->site, BLOCK_EXIT, x, x);
}

static void dit_block_on_tape(ctx *c, const void *weights, tensor *const in[], tensor *out[])
{
    out[0] = dit_block(c, weights, in[0], in[1]);
}

static tensor *run_block(ctx *c, const dit *m, int64_t i, tensor *x, tensor *cond)
{
    tensor *in[] = {x, cond}, *out[1];
    if (c->recording && !c->checkpointing) return dit_block(c, &m->block[i], x, cond);
    tape_checkpoint(c, dit_block_on_tape, &m->block[i], in, 2, out, 1);
    return out[0];
}

static tensor *embed_time(ctx *c, const dit *m, const real t[], int64_t n)
{
    tensor *time = lin(c, &m->t_mlp0, timestep_embedding(c, t, n, FREQUENCY_WIDTH), 0); /* [N,D] */
    return lin(c, &m->t_mlp2, op_silu(c, time), 0);                                     /* [N,D] */
}

/* The null time in place of the rows of those that are not told it: rows of one table of both. */
static tensor *drop_times(ctx *c, const dit *m, tensor *time, const bool null_time[], int64_t n)
{
    const arena_place mark = arena_mark(&c->scratch);
    int32_t *row = arena_alloc(&c->scratch, (size_t)n * sizeof *row, &c->error);
    for (int64_t i = 0; row && i < n; i++) row[i] = (int32_t)(null_time[i] ? n : i);
    tensor *both = op_concat(c, time, m->t_null, 0); /* [N+1,D] */
    time = op_embedding(c, both, row, n);            /* [N,D] */
    arena_release(&c->scratch, mark);
    return time;
}

static tensor *embed_condition(ctx *c, const dit *m, const real t[], const condition *k, int64_t n)
{
    tensor *time = embed_time(c, m, t, n); /* [N,D] */
    if (k->null_time) time = drop_times(c, m, time, k->null_time, n);
    return op_add(c, time, op_embedding(c, m->y_table, k->label, n)); /* [N,D] */
}

static tensor *embed_tokens(ctx *c, const dit *m, tensor *x)
{
    tensor *tokens = lin(c, &m->x_embed, op_patchify(c, x, m->config.patch), 0); /* [N,S,D] */
    return op_add_row(c, tokens, m->pos_embed);                                  /* [N,S,D] */
}

tensor *dit_forward(ctx *c, const dit *m, tensor *x, const real t[], const condition *k)
{
    if (ctx_failed(c)) return NULL;
    tensor *cond = embed_condition(c, m, t, k, x->dim[0]);                               /* [N,D] */
    tensor *h = embed_tokens(c, m, x);                                                   /* [N,S,D] */
    for (int64_t i = 0; i < m->config.depth; i++) h = run_block(c, m, i, h, cond);       /* [N,S,D] */
    tensor *mod = lin(c, &m->final_ada, op_silu(c, cond), 0);                            /* [N,2D] */
    h = op_norm_modulate(c, h, mod, SHIFT_FINAL, SCALE_FINAL, NORM_EPSILON);             /* [N,S,D] */
    h = lin(c, &m->final, h, LIN_LAST);                                                  /* [N,S,P*P*Cout] */
    h = op_unpatchify(c, h, m->config.patch, dit_out_channels(m), x->dim[2], x->dim[3]); /* [N,Cout,H,W] */
    const bool drops = m->config.flow && m->config.learn_sigma;
    return drops ? op_slice(c, h, 1, 0, m->config.channels) : h;
}

tensor *dit_features(ctx *c, const dit *m, tensor *x, const real t[], const condition *k, int64_t blocks)
{
    if (ctx_failed(c)) return NULL;
    tensor *cond = embed_condition(c, m, t, k, x->dim[0]);                /* [N,D] */
    tensor *h = embed_tokens(c, m, x);                                    /* [N,S,D] */
    for (int64_t i = 0; i < blocks; i++) h = run_block(c, m, i, h, cond); /* [N,S,D] */
    return op_mean_tokens(c, h);                                          /* [N,D] */
}

/* ---- the null time ---- */

static void mean_of_rows(real *mean, const real *rows, int64_t n, int64_t d)
{
    for (int64_t j = 0; j < d; j++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++) sum += (double)rows[i * d + j];
        mean[j] = (real)(sum / (double)n);
    }
}

dt_status dit_start_null_time(ctx *c, dit *m, const real t[], int64_t n)
{
    const arena_place mark = arena_mark(&c->step);
    m->config.null_time = true;
    add_null_time(c, m);
    const tensor *time = ctx_failed(c) ? NULL : embed_time(c, m, t, n); /* [N,D] */
    const real *rows = time ? numbers_read(c, &c->step, time->data, tensor_count(time)) : NULL;
    real *mean = rows ? numbers_prepare(c, &c->step, m->t_null->data, m->config.hidden) : NULL;
    if (mean) mean_of_rows(mean, rows, n, m->config.hidden);
    if (mean) numbers_send(c, m->t_null->data, mean, m->config.hidden);
    arena_release(&c->step, mark);
    params_round(c, &m->params);
    return c->error.status;
}
