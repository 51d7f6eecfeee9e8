#include "model/maker.h"

#include <stdio.h>

#include "container/tensor_open.h"
#include "model/dit/dit_denoiser.h"

model_kinds model_kinds_all = {&dit_kind, NULL};

dt_status model_path(char out[DT_PATH_MAX], const char *model, dt_error *err)
{
    static const char *const inside[] = {"final/model.safetensors", DIFFUSERS_WEIGHTS, DIFFUSERS_PICKLE,
                                         "transformer/" DIFFUSERS_WEIGHTS, "transformer/" DIFFUSERS_PICKLE};
    snprintf(out, DT_PATH_MAX, "%s", model);
    if (!file_is_folder(model)) return DT_OK;
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        file_join(out, model, inside[i]);
        if (file_exists(out)) return DT_OK;
    }
    return error_set(err, DT_ERR_IO,
                     "%s: a folder without final/model.safetensors and " DIFFUSERS_WEIGHTS
                     ": no finished run and no model of diffusers",
                     model);
}

static const model_kind *kind_of(const tensor_file *f, model_kinds kinds)
{
    int i = 0;
    while (kinds[i + 1] && !kinds[i]->fits(f)) i++;
    return kinds[i];
}

dt_status model_file_open(model_file *f, const char *model, model_kinds kinds, dt_error *err)
{
    *f = (model_file){0};
    if (model_path(f->path, model, err) != DT_OK || tensor_file_open(&f->tensors, f->path, err) != DT_OK)
        return err->status;
    if (!tensor_file_enter(&f->tensors, "ema.")) tensor_file_enter(&f->tensors, "model.");
    tensor_file_enter(&f->tensors, "module.");
    f->kind = kind_of(&f->tensors, kinds);
    if (f->kind->view(&f->tensors, &f->shape, err) != DT_OK) model_file_close(f);
    return err->status;
}

void model_file_close(model_file *f)
{
    tensor_file_close(&f->tensors);
    *f = (model_file){0};
}

dt_status model_file_load(ctx *c, denoiser *d, model_info *info, const model_file *f, const label_start *labels)
{
    model_info own = {0}, *kept = info ? info : &own;
    const int64_t class_count = f->kind->class_count(&f->tensors);
    if (model_info_read(kept, &f->tensors, class_count, info != NULL, &c->error) == DT_OK)
        f->kind->load(c, d, &f->tensors, kept, labels);
    model_info_free(&own);
    return c->error.status;
}

dt_status denoiser_load(ctx *c, denoiser *d, model_info *info, const char *model, model_kinds kinds)
{
    model_file f;
    if (model_file_open(&f, model, kinds, &c->error) != DT_OK) return c->error.status;
    model_file_load(c, d, info, &f, NULL);
    model_file_close(&f);
    return c->error.status;
}

dt_status denoiser_new(ctx *c, denoiser *d, const model_size *size, uint64_t seed, model_kinds kinds)
{
    int i = 0;
    while (kinds[i] && !kinds[i]->knows(size->name)) i++;
    if (kinds[i]) return kinds[i]->make(c, d, size, seed);
    return error_set(&c->error, DT_ERR_ARG, "model %s: %s expected", size->name, kinds[0]->names);
}
