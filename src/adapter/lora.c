/* LoRA (Hu et al. 2021): y + s (x A^T) B^T at chosen linear maps, A[r,I] and B[O,r], s = alpha / r, or alpha / sqrt(r)
 * (rsLoRA, Kalajdzievski 2023). A starts uniform in +-1/sqrt(I), which is Kaiming's rule with a = sqrt(5), B at 0
 * (microsoft/LoRA, huggingface/peft). Rows are called as in PEFT, less its prefix: MAP.lora_A.weight, MAP.lora_B.weight. */
#include "adapter/kinds.h"

#include <math.h>
#include <string.h>

#include "op/op.h"

typedef struct low_rank {
    lin_w down, up;
    tensor *scale; /* [1,r]; NULL: one */
} low_rank;

static tensor *add_product(ctx *c, const void *weights, tensor *x, tensor *y)
{
    const low_rank *l = weights;
    tensor *h = lin(c, &l->down, x, 0);
    if (h && l->scale) h = kind_scale(c, h, kind_spread(c, l->scale, h->dim[0]));
    return op_linear_add(c, y, h, l->up.w);
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

static void join_map(ctx *c, adapter *a, lin_w *map, const char *name, int length)
{
    const int64_t r = a->plan.rank, out = map->w->dim[0], in = map->w->dim[1];
    low_rank *l = arena_alloc_zeroed(&c->model, sizeof *l, &c->error);
    if (!l) return;
    l->down.w = params_add_uniform(c, &a->params, 1 / sqrt((double)in), 2, (int64_t[]){r, in}, "%.*s.lora_A.weight",
                                   length, name);
    l->up.w = params_add(c, &a->params, PARAM_ZERO, 2, (int64_t[]){out, r}, "%.*s.lora_B.weight", length, name);
    const double scale = adapter_lora_scale(&a->plan);
    if (scale != 1) l->scale = kind_constant(c, r, scale);
    kind_join_map(c, a, map, add_product, true, l);
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
            join_map(c, a, s->map[i], name, length);
    }
    if (!ctx_failed(c) && a->params.count == 0)
        error_set(&c->error, DT_ERR_ARG, "lora_targets %s: no linear map of the network has such a name",
                  a->plan.targets);
}
