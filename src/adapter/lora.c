/* LoRA (Hu et al. 2021): y + s (x A^T) B^T at chosen linear maps, A[r,I] and B[O,r], s = alpha / r, or alpha / sqrt(r)
 * (rsLoRA, Kalajdzievski 2023). A starts uniform in +-1/sqrt(I), which is Kaiming's rule with a = sqrt(5), B at 0
 * (microsoft/LoRA, huggingface/peft). Rows are called as in PEFT, less its prefix: MAP.lora_A.weight, MAP.lora_B.weight.
 *
 * DoRA (Liu et al. 2024; peft tuners/lora/dora.py): each row of W + s B A is brought to a length m of its own, at first that of
 * W's row: (m / n) (W + s B A) x + bias, n the length as it is. n takes no gradient (their section 4.3). MAP.lora_magnitude_vector. */
#include "adapter/kinds.h"

#include <math.h>
#include <string.h>

#include "op/op.h"

/* DoRA's magnitudes of a map. */
typedef struct magnitudes {
    const lin_w *map;
    real scale;         /* s */
    tensor *m;          /* [O] */
    tensor *minus_bias; /* [O]; NULL: the map has none */
} magnitudes;

typedef struct low_rank {
    lin_w down, up;
    tensor *scale;       /* [1,r]; NULL: one */
    magnitudes *stretch; /* NULL: LoRA alone */
} low_rank;

/* -n and 1/n [1,O] of the map's rows, with the product of a LoRA's matrices in them or, where `l` is NULL, without. */
static void find_lengths(ctx *c, const magnitudes *k, const low_rank *l, tensor **minus, tensor **inverse)
{
    const tensor *w = k->map->w;
    const int64_t out = w->dim[0], in = w->dim[1], rank = l ? l->down.w->dim[0] : 0;
    *minus = tensor_new(c, &c->step, 2, (int64_t[]){1, out});
    *inverse = tensor_new(c, &c->step, 2, (int64_t[]){1, out});
    if (ctx_failed(c)) return;
    const real *b = l ? l->up.w->data : w->data, *a = l ? l->down.w->data : w->data; /* of rank 0 neither is read */
    c->engine.row_lengths((*minus)->data, (*inverse)->data, w->data, b, a, k->scale, out, in, rank);
}

/* y + (m - n) / n (y - bias), which is y while m is n. y is the map's result with LoRA's in it. */
static tensor *stretch(ctx *c, const low_rank *l, tensor *y)
{
    tensor *minus, *inverse, *centred = y;
    const magnitudes *k = l->stretch;
    if (ctx_failed(c)) return NULL;
    find_lengths(c, k, l, &minus, &inverse);
    if (ctx_failed(c)) return NULL;
    tensor *change = op_add(c, op_reshape(c, k->m, 2, minus->dim), minus);
    change = kind_scale(c, change, inverse); /* [1,O] */
    if (k->minus_bias) {
        const int64_t width = y->dim[y->dim_count - 1], rows[] = {tensor_count(y) / width, width};
        centred = op_add_row(c, op_reshape(c, y, 2, rows), k->minus_bias);
        centred = op_reshape(c, centred, y->dim_count, y->dim);
    }
    return kind_add(c, y, centred, kind_spread(c, change, y->dim[0]));
}

static tensor *add_product(ctx *c, const void *weights, tensor *x, tensor *y)
{
    const low_rank *l = weights;
    tensor *h = lin(c, &l->down, x, 0);
    if (h && l->scale) h = kind_scale(c, h, kind_spread(c, l->scale, h->dim[0]));
    y = op_linear_add(c, y, h, l->up.w);
    return l->stretch ? stretch(c, l, y) : y;
}

/* to = -from */
static void negate(ctx *c, tensor *to, tensor *from)
{
    const int64_t count = tensor_count(to);
    const arena_place mark = arena_mark(&c->scratch);
    const real *values = numbers_read(c, &c->scratch, from->data, count);
    real *prepared = values ? numbers_prepare(c, &c->scratch, to->data, count) : NULL;
    for (int64_t i = 0; prepared && i < count; i++) prepared[i] = -values[i];
    if (prepared) numbers_send(c, to->data, prepared, count);
    arena_release(&c->scratch, mark);
}

static magnitudes *add_magnitudes(ctx *c, adapter *a, const lin_w *map, bool conv, const char *name, int length)
{
    const int64_t out = map->w->dim[0];
    const arena_place mark = arena_mark(&c->step);
    magnitudes *k = arena_alloc_zeroed(&c->model, sizeof *k, &c->error);
    tensor *minus, *inverse;
    if (!k) return NULL;
    *k = (magnitudes){.map = map, .scale = (real)adapter_lora_scale(&a->plan)};
    k->m = params_add(c, &a->params, PARAM_GIVEN, conv ? 4 : 1, conv ? (int64_t[]){1, out, 1, 1} : &out,
                      "%.*s.lora_magnitude_vector", length, name);
    if (map->b) k->minus_bias = tensor_new(c, &c->model, 1, &out);
    find_lengths(c, k, NULL, &minus, &inverse);
    if (!ctx_failed(c)) negate(c, k->m, minus);
    if (!ctx_failed(c) && map->b) negate(c, k->minus_bias, map->b);
    arena_release(&c->step, mark);
    return k;
}

/* Whether "blocks.0.attn.qkv" is "attn.qkv", as PEFT's target_modules have it: the whole name, or what follows a dot. */
static bool ends_with(const char *name, int length, const char *end, size_t end_length)
{
    if ((size_t)length < end_length || strncmp(name + length - end_length, end, end_length)) return false;
    return (size_t)length == end_length || name[(size_t)length - end_length - 1] == '.';
}

static bool is_target(const char *name, int length, const char *targets)
{
    for (const char *t = targets; *t; t += strspn(t, ", ")) {
        const size_t end = strcspn(t, ", ");
        if (ends_with(name, length, t, end)) return true;
        t += end;
    }
    return false;
}

/* `conv`: other programs have the map as a convolution of one pixel, and its matrices as such in files. */
static void join_map(ctx *c, adapter *a, lin_w *map, bool conv, const char *name, int length)
{
    const int64_t r = a->plan.rank, out = map->w->dim[0], in = map->w->dim[1];
    const int dims = conv ? 4 : 2;
    low_rank *l = arena_alloc_zeroed(&c->model, sizeof *l, &c->error);
    if (!l) return;
    l->down.w = params_add_uniform(c, &a->params, 1 / sqrt((double)in), dims, (int64_t[]){r, in, 1, 1},
                                   "%.*s.lora_A.weight", length, name);
    l->up.w =
        params_add(c, &a->params, PARAM_ZERO, dims, (int64_t[]){out, r, 1, 1}, "%.*s.lora_B.weight", length, name);
    const double scale = adapter_lora_scale(&a->plan);
    if (scale != 1) l->scale = kind_constant(c, r, scale);
    if (a->plan.dora && !ctx_failed(c)) l->stretch = add_magnitudes(c, a, map, conv, name, length);
    kind_join_map(c, a, map, add_product, !a->plan.dora, l);
}

static bool is_convolution(const denoiser *d, const lin_w *map)
{
    for (int i = 0; i < d->params->count; i++)
        if (d->params->row[i].tensor == map->w) return d->params->row[i].file_dim_count == 4;
    return false;
}

/* All linear maps, but for the one that cuts pictures into tokens, which is a convolution in other programs. */
void lora_join(ctx *c, adapter *a, denoiser *d)
{
    const network_sites *s = d->sites;
    const bool all = !strcmp(a->plan.targets, "all-linear");
    for (int i = 0; i < s->map_count && !ctx_failed(c); i++) {
        const char *name;
        const int length = kind_map_name(&name, d, s->map[i]);
        if (s->map[i] != s->token_map && (all || is_target(name, length, a->plan.targets)))
            join_map(c, a, s->map[i], is_convolution(d, s->map[i]), name, length);
    }
    if (!ctx_failed(c) && a->params.count == 0)
        error_set(&c->error, DT_ERR_ARG,
                  "lora_targets %s: no linear map of the network has such a name; attention's have %s", a->plan.targets,
                  s->attention);
}
