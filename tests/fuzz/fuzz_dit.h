/* A DiT of one block as a model file. */
#ifndef FUZZ_DIT_H
#define FUZZ_DIT_H

#include "../dit_fixture.h"
#include "fuzz_context.h"
#include "fuzz_folder.h"

static inline void fuzz_put_dit(const char *name, int64_t channels, int64_t classes)
{
    const dit_config config = {
        .input_size = 2, .patch = 2, .channels = channels, .hidden = 4, .depth = 1, .heads = 1, .class_count = classes};
    dit m;
    ctx *c = fuzz_context();
    assert(dit_open(c, &m, &config) == DT_OK);
    params_init(c, &m.params, 1);
    assert(fixture_save(c, &m, NULL, fuzz_path(name), DT_FILE_F32, NULL, 0) == DT_OK);
}

#endif
