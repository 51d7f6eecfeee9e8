/* The parity door: what the model says about given tensors, its loss terms and gradients. */
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "api/prompts.h"
#include "container/tensor_open.h"
#include "container/safetensors.h"
#include "diffusion/flow.h"
#include "model/maker.h"
#include "train/batch.h"
#include "train/trainset_file.h"

typedef struct prediction {
    ctx *c;
    const dt_settings *s;
    tensor_file input;
    prompts prompts; /* count 0: the input holds what the network is told */
    denoiser model;
    trainset set; /* of all weights, where gradients are wanted */
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

/* Into the host's numbers of a tensor of the batch. */
static dt_status read_tensor(prediction *p, real *into, const tensor *like, const char *name)
{
    const int64_t *dim = like->dim;
    const tensor_entry *e = need(p, name, like->dim_count);
    for (int i = 0; e && i < like->dim_count; i++)
        if (e->dims[i] != dim[i])
            return error_set(&p->c->error, DT_ERR_SHAPE, "%s: tensor %s: dimension %d is %lld, %lld expected",
                             p->s->input, name, i, (long long)e->dims[i], (long long)dim[i]);
    return e ? tensor_read_finite(into, e, &p->c->error) : p->c->error.status;
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

/* What a flow is told: numbers in [0, 1]. */
static dt_status read_times(prediction *p)
{
    batch *b = &p->b;
    const tensor_entry *e = need(p, "t", 1);
    if (e && e->count != b->count)
        error_set(&p->c->error, DT_ERR_SHAPE, "%s: tensor t has %lld entries, %lld expected", p->s->input,
                  (long long)e->count, (long long)b->count);
    if (ctx_failed(p->c) || tensor_read_finite(b->time, e, &p->c->error) != DT_OK) return p->c->error.status;
    for (int64_t i = 0; i < b->count; i++) {
        if (!(b->time[i] >= 0 && b->time[i] <= 1))
            return error_set(&p->c->error, DT_ERR_ARG, "%s: tensor t: entry %lld is %g, 0 to 1 expected", p->s->input,
                             (long long)i, (double)b->time[i]);
        b->t[i] = flow_level((double)b->time[i]);
    }
    return DT_OK;
}

/* A context is a tensor of the input, or the settings' prompts in turn. */
static dt_status read_context(prediction *p)
{
    batch *b = &p->b;
    const examples *told = &p->prompts.told;
    const int64_t values = example_table_values(&told->context);
    if (!b->condition.context) return p->c->error.status;
    if (!p->s->prompt[0]) return read_tensor(p, b->context_values, b->condition.context, "context");
    for (int64_t i = 0; i < b->count; i++)
        example_table_get(b->context_values + i * values, &told->context, i % told->count, 0, false);
    return DT_OK;
}

static dt_status read_told(prediction *p)
{
    batch *b = &p->b;
    const condition *k = &b->condition;
    if (b->label) read_integers(p, b->label, "y", denoiser_null_class(&p->model));
    if (!ctx_failed(p->c)) read_context(p);
    if (k->control) read_tensor(p, b->control_values, k->control, "control");
    return p->c->error.status;
}

static dt_status read_input(prediction *p)
{
    p->with_loss = tensor_file_find(&p->input, "x0") != NULL;
    const char *first = p->with_loss ? "x0" : "x";
    batch *b = &p->b;
    const tensor_entry *e = need(p, first, 4);
    if (!e) return p->c->error.status;
    if (e->dims[0] < 1 || !batch_new(p->c, b, &p->model, e->dims[0]))
        return error_set(&p->c->error, DT_ERR_SHAPE, "%s: tensor %s is empty", p->s->input, first);
    if (process_is_flow(&p->model.process))
        read_times(p);
    else
        read_integers(p, b->t, "t", SCHEDULE_STEPS - 1);
    read_told(p);
    if (!p->with_loss) {
        read_tensor(p, b->xt_values, b->xt, "x");
        batch_send_inputs(p->c, b, &p->model);
        return p->c->error.status;
    }
    read_tensor(p, b->x0_values, b->x0, "x0");
    read_tensor(p, b->noise_values, b->noise, "noise");
    schedule all;
    schedule_full(&all, p->model.process.noise);
    if (!ctx_failed(p->c)) batch_diffuse(p->c, b, &p->model, &all);
    return p->c->error.status;
}

/* Loss: the mean over samples of mse + vb, as the official training loop has it. */
static dt_status run(prediction *p)
{
    ctx *c = p->c;
    if (p->s->gradients && !p->with_loss)
        return error_set(&c->error, DT_ERR_ARG, "%s: gradients need the tensors x0 and noise", p->s->input);
    if (p->s->gradients && trainset_add(c, &p->set, p->model.params, NULL, 0) == DT_OK)
        trainset_want_gradients(c, &p->set, true);
    c->recording = p->s->gradients;
    p->out = denoiser_forward(c, &p->model, p->b.xt, p->b.time, &p->b.condition);
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
    const batch *b = &p->b;
    const int rows = p->s->gradients ? p->set.count : 0;
    size_t count = 0;
    tensor_source *source = arena_alloc_zeroed(&c->scratch, (size_t)(rows + 4) * sizeof *source, &c->error);
    const real *out = numbers_read(c, &c->scratch, p->out->data, tensor_count(p->out));
    if (ctx_failed(c)) return c->error.status;
    source[count++] = (tensor_source){
        .name = "out", .dtype = SAFETENSORS_F32, .dim_count = 4, .dims = p->out->dim, .values = out, .finite = true};
    if (p->with_loss) {
        source[count++] = (tensor_source){.name = "x_t",
                                          .dtype = SAFETENSORS_F32,
                                          .dim_count = 4,
                                          .dims = b->xt->dim,
                                          .values = b->xt_values,
                                          .finite = true};
        source[count++] = (tensor_source){.name = "mse",
                                          .dtype = SAFETENSORS_F32,
                                          .dim_count = 1,
                                          .dims = &b->count,
                                          .values = b->mse,
                                          .finite = true};
        source[count++] = (tensor_source){
            .name = "vb", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = &b->count, .values = b->vb, .finite = true};
    }
    if (rows && trainset_sources(c, source + count, &p->set, &(train_values){TRAIN_GRADIENTS}, &(const char *){"grad."},
                                 1) == DT_OK)
        count += (size_t)rows;
    if (ctx_failed(c)) return c->error.status;
    return safetensors_write(p->s->output, source, count, NULL, 0, NULL, &c->error);
}

/* Of the settings' prompts, unless the input holds a context. Nobody is guided. */
static dt_status open_prompts(prediction *p, const model_file *f)
{
    ctx *c = p->c;
    dt_settings s = *p->s;
    const bool given = tensor_file_find(&p->input, "context") != NULL;
    s.negative_prompt[0] = '\0';
    if (given && s.prompt[0])
        return error_set(&c->error, DT_ERR_ARG, "%s: holds a context already; leave out prompt", s.input);
    if (given || (!s.prompt[0] && !s.text_encoder[0] && !s.tokenizer[0])) return c->error.status;
    return prompts_open(c, &p->prompts, f, &s, INT64_MAX, api_observer(NULL));
}

static dt_status open_model(prediction *p)
{
    ctx *c = p->c;
    model_file f;
    model_choice choice = model_choice_of(p->s, NULL);
    choice.length = p->s->ema_length;
    choice.control = control_choice_of(p->s);
    choice.control.wanted = p->s->controlnet_model[0] != '\0';
    if (model_file_open_as(&f, p->s->pretrained_model, &choice, model_kinds_all, &c->error) != DT_OK)
        return c->error.status;
    if (open_prompts(p, &f) == DT_OK) model_file_load(c, &p->model, NULL, &f, NULL);
    model_file_close(&f);
    return c->error.status;
}

dt_status dt_predict(dt_context *c, const dt_settings *s)
{
    prediction p = {.c = c, .s = s};
    if (api_enter(c, s, SETTINGS_PREDICT, api_observer(NULL)) != DT_OK) return api_leave(c);
    if (tensor_file_open(&p.input, s->input, &c->error) == DT_OK) {
        if (open_model(&p) == DT_OK && read_input(&p) == DT_OK && run(&p) == DT_OK) write_output(&p);
        tensor_file_close(&p.input);
    }
    prompts_close(&p.prompts);
    return api_leave(c);
}
