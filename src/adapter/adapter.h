/* Adapters: few weights that train beside a frozen network, which they join at its sites (nn/adapter.h). One file for each kind;
 * docs/methods.md says what they are. At its start an adapter leaves every prediction as it is, but for vpt-deep, whose tokens
 * take part in attention.
 *
 * The rows that know the classes train with every kind, since the user's classes are new; bitfit and difffit train the network's
 * biases too. */
#ifndef ADAPTER_ADAPTER_H
#define ADAPTER_ADAPTER_H

#include "adapter/kinds.h"

adapter_plan adapter_plan_of(const dt_settings *s);

/* Makes the adapter's rows, started with this seed, and joins it to the network. *a must stay where it is. DT_ERR_UNSUPPORTED where
 * the network has no sites, DT_ERR_ARG where nothing would be adapted. Kind none: an empty table. */
dt_status adapter_open(ctx *c, adapter *a, denoiser *d, const adapter_plan *plan, uint64_t seed);

/* Which rows of the network itself train: patterns[count], as train/trainset.h has them. */
enum { ADAPTER_PATTERNS_MAX = 2 };
int adapter_patterns(const char *patterns[ADAPTER_PATTERNS_MAX], const adapter_plan *plan, const denoiser *d);

/* "lora" */
const char *adapter_kind_name(dt_adapter kind);

/* "lora of rank 8 at attn.qkv, scale 1": for logs and metadata. */
void adapter_describe(char text[DT_TEXT_MAX], const adapter_plan *plan);

#endif
