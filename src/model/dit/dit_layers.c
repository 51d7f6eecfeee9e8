#include "model/dit/dit_layers.h"

#include <stddef.h>

static const layer_rule rules[] = {
    {"final_layer.*", "final"}, {"*_embedder.*", "embedding"},
    {"pos_embed", "embedding"}, {"blocks.*.attn.*", "attention"},
    {"blocks.*.mlp.*", "mlp"},  {"blocks.*.adaLN_modulation.*", "modulation"},
    {"blocks.*", "adapter"},    {NULL, NULL},
};

const layer_rules dit_layers = {.blocks = "blocks.", .rule = rules};
