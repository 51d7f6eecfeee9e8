#include "train/teacher.h"

/* Bytes of the weights that are not used where they lie in the file, and of narrow copies. */
static int64_t copied_bytes(const teacher *k)
{
    int64_t bytes = 0;
    for (int i = 0; i < k->model.params->count; i++) {
        const param *row = &k->model.params->row[i];
        const tensor_entry *e = tensor_file_find(&k->file.tensors, row->name);
        if (!e || e->data != (const void *)row->tensor->data) bytes += (int64_t)tensor_bytes(row->tensor);
        if (row->tensor->narrow_copy) bytes += 2 * tensor_count(row->tensor);
    }
    return bytes;
}

dt_status teacher_open(ctx *c, teacher *k, const char *model, const model_choice *choice, model_kinds kinds)
{
    model_choice quiet = *choice;
    quiet.observer = NULL; /* who was told of the model that trains */
    if (model_file_open_as(&k->file, model, &quiet, kinds, &c->error) != DT_OK) return c->error.status;
    k->file.tensors.in_place = true;
    if (model_file_load(c, &k->model, NULL, &k->file, NULL) != DT_OK) return c->error.status;
    k->copied_bytes = copied_bytes(k);
    return DT_OK;
}

void teacher_within(teacher *k, const denoiser *model, trainset *set, bool *off)
{
    *k = (teacher){.model = *model, .set = set, .off = off};
}

/* Between the network that trains and the base that it was; nothing where the base is another network. */
static void change_over(const teacher *k)
{
    if (!k->set) return;
    *k->off = !*k->off;
    trainset_swap_start(k->set);
}

void teacher_close(teacher *k)
{
    model_file_close(&k->file);
}

tensor *teacher_predict(ctx *c, const teacher *k, tensor *x, const real t[], const condition *told)
{
    const denoiser *d = &k->model;
    if (ctx_failed(c)) return NULL;
    const int64_t n = x->dim[0], values = sample_values(d->shape);
    const bool recording = c->recording;
    tensor *prediction = tensor_new(c, &c->step, 4, x->dim);
    const arena_place mark = arena_mark(&c->step);
    const condition null = denoiser_unconditional(c, d, told, n);
    c->recording = false;
    change_over(k);
    const tensor *out = denoiser_forward(c, d, x, t, &null);
    change_over(k);
    c->recording = recording;
    if (!ctx_failed(c)) c->engine.slice_fwd(prediction->data, out->data, n, tensor_count(out) / n, 0, values);
    arena_release(&c->step, mark);
    return ctx_failed(c) ? NULL : prediction;
}
