/* The parity door: what the model says about given tensors, its loss terms and gradients. */
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "container/tensor_open.h"
#include "model/dit/dit_file.h"
#include "train/batch.h"

typedef struct prediction {
    ctx *c;
    const dt_settings *s;
    tensor_file input;
    dit model;
    batch b;
    tensor *out;
    bool with_loss; /* the input holds x0 and noise */
} prediction;

static const tensor_entry *need(prediction *p, const char *name, int dim_count)
{
    const tensor_entry *e = tensor_file_find(&p->input, name);
    if (!e || e->dim_count != dim_count)
        error_set(&p->c->error, DT_ERR_SHAPE, "%s: tensor %s with %d dimension%s expected, %s", p->s->input, name,
                  dim_count, dim_count == 1 ? "" : "s", e ? "found another shape" : "it is missing");
    return ctx_failed(p->c) ? NULL : e;
}

/* Into the host's [N,C,H,W] of the batch. */
static dt_status read_images(prediction *p, real *into, const char *name)
{
    const int64_t *dim = p->b.xt->dim;
    const tensor_entry *e = need(p, name, 4);
    for (int i = 0; e && i < 4; i++)
        if (e->dims[i] != dim[i])
            return error_set(&p->c->error, DT_ERR_SHAPE, "%s: tensor %s: dimension %d is %lld, %lld expected",
                             p->s->input, name, i, (long long)e->dims[i], (long long)dim[i]);
    return e ? tensor_read_f32(into, e, &p->c->error) : p->c->error.status;
}

static dt_status read_integers(prediction *p, int32_t *into, const char *name, int64_t most)
{
    const tensor_entry *e = need(p, name, 1);
    if (e && e->count != p->b.count)
        error_set(&p->c->error, DT_ERR_SHAPE, "%s: tensor %s has %lld entries, %lld expected", p->s->input, name,
                  (long long)e->count, (long long)p->b.count);
    if (ctx_failed(p->c)) return p->c->error.status;
    int64_t *wide = arena_alloc(&p->c->step, (size_t)e->count * sizeof *wide, &p->c->error);
    if (!wide || tensor_read_i64(wide, e, &p->c->error) != DT_OK) return p->c->error.status;
    for (int64_t i = 0; i < e->count; i++) {
        if (wide[i] < 0 || wide[i] > most)
            return error_set(&p->c->error, DT_ERR_ARG, "%s: tensor %s: entry %lld is %lld, 0..%lld expected",
                             p->s->input, name, (long long)i, (long long)wide[i], (long long)most);
        into[i] = (int32_t)wide[i];
    }
    return DT_OK;
}

static dt_status read_input(prediction *p)
{
    p->with_loss = tensor_file_find(&p->input, "x0") != NULL;
    const char *first = p->with_loss ? "x0" : "x";
    const tensor_entry *e = need(p, first, 4);
    if (!e) return p->c->error.status;
    if (e->dims[0] < 1 || !batch_new(p->c, &p->b, &p->model, e->dims[0]))
        return error_set(&p->c->error, DT_ERR_SHAPE, "%s: tensor %s is empty", p->s->input, first);
    read_integers(p, p->b.t, "t", SCHEDULE_STEPS - 1);
    read_integers(p, p->b.y, "y", dit_null_class(&p->model));
    if (!p->with_loss) {
        read_images(p, p->b.xt_values, "x");
        numbers_send(p->c, p->b.xt->data, p->b.xt_values, tensor_count(p->b.xt));
        return p->c->error.status;
    }
    read_images(p, p->b.x0_values, "x0");
    read_images(p, p->b.noise_values, "noise");
    schedule all;
    schedule_full(&all);
    if (!ctx_failed(p->c)) batch_diffuse(p->c, &p->b, &all);
    return p->c->error.status;
}

/* Loss: the mean over samples of mse + vb, as the official training loop has it. */
static dt_status run(prediction *p)
{
    ctx *c = p->c;
    if (p->s->gradients && !p->with_loss)
        return error_set(&c->error, DT_ERR_ARG, "%s: gradients need the tensors x0 and noise", p->s->input);
    if (p->s->gradients) params_train(c, &p->model.params, true);
    c->recording = p->s->gradients;
    p->out = dit_forward(c, &p->model, p->b.xt, p->b.t, p->b.y);
    for (int64_t i = 0; i < p->b.count; i++) p->b.weight[i] = (real)(1.0 / (double)p->b.count);
    if (p->with_loss && !ctx_failed(c)) {
        tensor *loss = batch_loss_of(c, &p->b, p->out);
        if (p->s->gradients) batch_backward(c, loss);
    }
    c->recording = false;
    return c->error.status;
}

static dt_status write_output(prediction *p)
{
    ctx *c = p->c;
    const params *table = &p->model.params;
    size_t count = 0;
    tensor_source *source = arena_alloc_zeroed(&c->scratch, (size_t)(table->count + 4) * sizeof *source, &c->error);
    char(*name)[80] = arena_alloc(&c->scratch, (size_t)table->count * sizeof *name, &c->error);
    const real *out = numbers_read(c, &c->scratch, p->out->data, tensor_count(p->out));
    if (ctx_failed(c)) return c->error.status;
    source[count++] = (tensor_source){"out", SAFETENSORS_F32, 4, p->out->dim, out, NULL};
    if (p->with_loss) {
        source[count++] = (tensor_source){"x_t", SAFETENSORS_F32, 4, p->b.xt->dim, p->b.xt_values, NULL};
        source[count++] = (tensor_source){"mse", SAFETENSORS_F32, 1, &p->b.count, p->b.mse, NULL};
        source[count++] = (tensor_source){"vb", SAFETENSORS_F32, 1, &p->b.count, p->b.vb, NULL};
    }
    for (int i = 0; p->s->gradients && i < table->count; i++) {
        const param *row = &table->row[i];
        if (!row->tensor->grad) continue;
        const real *gradient = numbers_read(c, &c->scratch, row->tensor->grad, tensor_count(row->tensor));
        snprintf(name[i], sizeof name[i], "grad.%s", row->name);
        source[count++] = (tensor_source){name[i], SAFETENSORS_F32, row->file_dim_count, row->file_dim, gradient, NULL};
    }
    if (ctx_failed(c)) return c->error.status;
    return safetensors_write(p->s->output, source, count, NULL, 0, NULL, &c->error);
}

dt_status dt_predict(dt_context *c, const dt_settings *s)
{
    prediction p = {.c = c, .s = s};
    char path[DT_PATH_MAX];
    if (api_enter(c, s, SETTINGS_PREDICT) != DT_OK) return c->error.status;
    if (dit_file_path(path, s->pretrained_model, &c->error) == DT_OK && dit_load(c, &p.model, NULL, path) == DT_OK &&
        tensor_file_open(&p.input, s->input, &c->error) == DT_OK) {
        if (read_input(&p) == DT_OK && run(&p) == DT_OK) write_output(&p);
        tensor_file_close(&p.input);
    }
    return api_leave(c);
}
