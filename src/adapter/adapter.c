#include "adapter/adapter.h"

#include <stdio.h>
#include <string.h>

/* In the order of dt_adapter. */
static const struct {
    const char *name;
    void (*join)(ctx *c, adapter *a, denoiser *d); /* NULL: it has no rows of its own */
    bool biases;                                   /* the network's biases train too */
    bool blocks;                                   /* it joins blocks, whose tokens it changes */
} kinds[] = {
    {"none", NULL, false, false},          {"bitfit", NULL, true, false},
    {"difffit", difffit_join, true, true}, {"lora", lora_join, false, false},
    {"vpt-deep", vpt_join, false, true},   {"adaptformer", adaptformer_join, false, true},
};

adapter_plan adapter_plan_of(const dt_settings *s)
{
    return (adapter_plan){.kind = s->adapter,
                          .rank = s->lora_rank,
                          .alpha = s->lora_alpha,
                          .root = s->use_rslora,
                          .dora = s->use_dora,
                          .targets = s->lora_targets,
                          .variant = s->difffit_variant,
                          .blocks = s->difffit_depth,
                          .tokens = s->vpt_tokens,
                          .width = s->adaptformer_width,
                          .scale = s->adaptformer_scale};
}

dt_status adapter_open(ctx *c, adapter *a, denoiser *d, const adapter_plan *plan, uint64_t seed)
{
    *a = (adapter){.plan = *plan};
    if (plan->kind == DT_ADAPTER_NONE) return c->error.status;
    if (!d->sites)
        return error_set(&c->error, DT_ERR_UNSUPPORTED, "adapter %s: a network of kind %s has no place for adapters",
                         kinds[plan->kind].name, d->ops->kind);
    if (kinds[plan->kind].blocks && !d->sites->block_count)
        return error_set(&c->error, DT_ERR_UNSUPPORTED,
                         "adapter %s: a network of kind %s has no blocks that it could join; lora and bitfit can",
                         kinds[plan->kind].name, d->ops->kind);
    if (plan->kind == DT_ADAPTER_LORA && !plan->targets[0]) a->plan.targets = d->sites->attention;
    if (kinds[plan->kind].join) kinds[plan->kind].join(c, a, d);
    if (!ctx_failed(c)) params_init(c, &a->params, seed);
    return c->error.status;
}

int adapter_patterns(const char *patterns[ADAPTER_PATTERNS_MAX], const adapter_plan *plan, const denoiser *d)
{
    int count = 0;
    if (kinds[plan->kind].biases) patterns[count++] = "*.bias";
    if (d->sites->label_rows) patterns[count++] = d->sites->label_rows;
    return count;
}

const char *adapter_kind_name(dt_adapter kind)
{
    return kinds[kind].name;
}

void adapter_describe(char text[DT_TEXT_MAX], const adapter_plan *plan)
{
    const char *name = kinds[plan->kind].name;
    switch (plan->kind) {
    case DT_ADAPTER_DIFFFIT:
        if (plan->variant == DT_DIFFFIT_PAPER)
            snprintf(text, DT_TEXT_MAX, "%s, scales of the paper in all blocks", name);
        else
            snprintf(text, DT_TEXT_MAX, "%s, scales of the released code in the first %lld blocks", name,
                     (long long)plan->blocks);
        break;
    case DT_ADAPTER_LORA:
        snprintf(text, DT_TEXT_MAX, "%s of rank %lld at %.160s, scale %g%s", name, (long long)plan->rank, plan->targets,
                 adapter_lora_scale(plan), plan->dora ? ", with magnitudes (DoRA)" : "");
        break;
    case DT_ADAPTER_VPT_DEEP:
        snprintf(text, DT_TEXT_MAX, "%s, %lld tokens in each block", name, (long long)plan->tokens);
        break;
    case DT_ADAPTER_ADAPTFORMER:
        snprintf(text, DT_TEXT_MAX, "%s of width %lld, scale %g", name, (long long)plan->width, plan->scale);
        break;
    default: snprintf(text, DT_TEXT_MAX, "%s", name);
    }
}
