/* DiT and its files as tests want them: a network of their own, one call for each thing. */
#ifndef TESTS_DIT_FIXTURE_H
#define TESTS_DIT_FIXTURE_H

#include "model/dit/dit_denoiser.h"
#include "model/dit/dit_file.h"
#include "model/maker.h"

/* The network of a model file, or with `labels` the same for other classes; `info` may be NULL. */
static inline dt_status fixture_load_for_classes(ctx *c, dit *m, model_info *info, const char *path,
                                                 const label_start *labels)
{
    model_file f;
    denoiser d;
    *m = (dit){0};
    if (info) *info = (model_info){0};
    if (model_file_open(&f, path, model_kinds_all, &c->error) != DT_OK) return c->error.status;
    if (model_file_load(c, &d, info, &f, labels) == DT_OK) *m = *(dit *)d.self;
    model_file_close(&f);
    return c->error.status;
}

static inline dt_status fixture_load(ctx *c, dit *m, model_info *info, const char *path)
{
    return fixture_load_for_classes(c, m, info, path, NULL);
}

/* Writes a network, with values[i] in place of row i's own where `values` is not NULL. */
static inline dt_status fixture_export(ctx *c, const dit *m, real *const values[], const char *path,
                                       dt_model_format format, dt_file_dtype dtype, const metadata_pair metadata[],
                                       size_t metadata_count)
{
    return dit_write(c, m,
                     &(denoiser_file){.path = path,
                                      .format = format,
                                      .dtype = dtype,
                                      .values = values,
                                      .metadata = metadata,
                                      .metadata_count = metadata_count});
}

static inline dt_status fixture_save(ctx *c, const dit *m, real *const values[], const char *path, dt_file_dtype dtype,
                                     const metadata_pair metadata[], size_t metadata_count)
{
    return fixture_export(c, m, values, path, DT_MODEL_SAFETENSORS, dtype, metadata, metadata_count);
}

static inline denoiser fixture_denoiser(dit *m)
{
    denoiser d;
    dit_denoiser(&d, m);
    return d;
}

#endif
