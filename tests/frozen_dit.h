/* A small frozen DiT in double, for what joins it. */
#ifndef TESTS_FROZEN_DIT_H
#define TESTS_FROZEN_DIT_H

#include "gradient_check.h"

#include <string.h>

#include "model/dit/dit.h"

enum { FROZEN_WIDTH = 8, FROZEN_VALUES = 2 * 4 * 4 * 4 };

static const dit_config frozen_config = {.input_size = 4,
                                         .patch = 2,
                                         .channels = 2,
                                         .hidden = FROZEN_WIDTH,
                                         .depth = 2,
                                         .heads = 2,
                                         .class_count = 3,
                                         .learn_sigma = true};

static dit frozen;

static inline void open_frozen(void)
{
    assert_int_equal(dit_open(&context, &frozen, &frozen_config), DT_OK);
    for (int i = 0; i < frozen.params.count; i++) {
        tensor *t = frozen.params.row[i].tensor;
        if (frozen.params.row[i].fixed) continue;
        rng_normal(t->data, tensor_count(t), (rng_key){.seed = 5, .purpose = RNG_INIT, .step = (uint32_t)i});
        for (int64_t j = 0; j < tensor_count(t); j++) t->data[j] *= 0.3;
    }
}

static inline tensor *build_model(ctx *c, tensor *const in[])
{
    (void)in;
    tensor *x = tensor_new(c, &c->step, 4, (int64_t[]){2, 2, 4, 4});
    for (int64_t i = 0; i < tensor_count(x); i++) x->data[i] = sin(1.0 + (double)i);
    return dit_forward(c, &frozen, x, (real[]){3, 977}, &(condition){.label = (int32_t[]){1, 3}});
}

static inline void keep_output(double out[FROZEN_VALUES])
{
    const tensor *y = build_model(&context, NULL);
    assert_int_equal(tensor_count(y), FROZEN_VALUES);
    memcpy(out, y->data, FROZEN_VALUES * sizeof *out);
    arena_clear(&context.step);
}

#endif
