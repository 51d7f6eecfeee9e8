/* Bases for ControlNets in small; comes behind nothing and brings run_fixture.h. */
#ifndef TESTS_CONTROL_FIXTURE_H
#define TESTS_CONTROL_FIXTURE_H

#include "run_fixture.h"

/* A UNet of these widths on pixels, told a class, to be pre-trained in `output`. */
static inline dt_settings fixture_unet_settings(const char *output, const char *widths)
{
    dt_settings s = fixture_settings(output);
    s.method = DT_METHOD_PRETRAIN;
    s.pretrained_model[0] = s.bank[0] = '\0';
    snprintf(s.model, sizeof s.model, "UNet");
    snprintf(s.block_out_channels, sizeof s.block_out_channels, "%s", widths);
    s.layers_per_block = 1;
    s.norm_num_groups = 4;
    s.num_heads = 2;
    s.cross_attention_dim = 12;
    s.resolution = FIXTURE_SIZE;
    return s;
}

#endif
