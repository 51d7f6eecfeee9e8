/* The layers of a DiT by the names of its weights, and of what adapters put beside them. */
#ifndef DIT_DIT_LAYERS_H
#define DIT_DIT_LAYERS_H

#include "model/file/layers.h"

extern const layer_rules dit_layers;

#endif
