/* A network of another kind than any in src/model/: two convolutions that are told a label, a context and a control picture
 * and predict the velocity of Stable Diffusion's schedule. It lives in the tests alone and shows what a new network needs. */
#ifndef TESTS_TINY_NETWORK_H
#define TESTS_TINY_NETWORK_H

#include <string.h>

#include "container/safetensors.h"
#include "model/file/params_file.h"
#include "model/maker.h"
#include "op/conv.h"
#include "op/op.h"

enum { TINY_WIDTH = 8, TINY_TOKENS = 3, TINY_CONTEXT = 4, TINY_TIME = 4 };

typedef struct tiny_network {
    params params;
    sample_shape shape;
    int64_t class_count;
    tensor *in_w, *in_b;   /* [W,3,3,2C] of x beside the control, [W] */
    tensor *out_w, *out_b; /* [C,3,3,W], [C] */
    tensor *labels;        /* [classes+1,W] */
    lin_w time, told;      /* [W,4], [W,12]: of t and of the context */
    tensor *null;          /* [3,4]: the context of the unconditional branch; fixed */
} tiny_network;

static const params_words tiny_words = {"a tiny network", "a tiny network of this shape"};

static inline void tiny_open(ctx *c, tiny_network *m, sample_shape shape, int64_t class_count)
{
    params *p = &m->params;
    const int64_t k = shape.channels;
    m->shape = shape;
    m->class_count = class_count;
    m->in_w = params_add_convolution(c, p, PARAM_XAVIER, (int64_t[]){TINY_WIDTH, 2 * k, 3, 3}, "%s.weight", "in");
    m->in_b = params_add(c, p, PARAM_ZERO, 1, (int64_t[]){TINY_WIDTH}, "%s.bias", "in");
    m->out_w = params_add_convolution(c, p, PARAM_XAVIER, (int64_t[]){k, TINY_WIDTH, 3, 3}, "%s.weight", "out");
    m->out_b = params_add(c, p, PARAM_ZERO, 1, (int64_t[]){k}, "%s.bias", "out");
    m->labels = params_add(c, p, PARAM_NORMAL, 2, (int64_t[]){class_count + 1, TINY_WIDTH}, "labels.weight");
    m->time.w = params_add(c, p, PARAM_XAVIER, 2, (int64_t[]){TINY_WIDTH, TINY_TIME}, "time.weight");
    m->time.b = params_add(c, p, PARAM_ZERO, 1, (int64_t[]){TINY_WIDTH}, "time.bias");
    m->told.w =
        params_add(c, p, PARAM_XAVIER, 2, (int64_t[]){TINY_WIDTH, TINY_TOKENS * TINY_CONTEXT},
                   "a_name.that_is_longer.than_sixty_four.bytes.as_those.of_stable_diffusion_are.%d.%d.weight", 12, 34);
    m->told.b = params_add(c, p, PARAM_ZERO, 1, (int64_t[]){TINY_WIDTH}, "told.bias");
    m->null = params_add_fixed(c, p, 2, (int64_t[]){TINY_TOKENS, TINY_CONTEXT}, "null_context");
    for (int64_t i = 0; m->null && i < tensor_count(m->null); i++) m->null->data[i] = 0.1F * (real)(i % 5);
}

/* [N,4]: t / 1000, its square, its root, and one */
static inline tensor *tiny_times(ctx *c, const real t[], int64_t n)
{
    tensor *y = tensor_new(c, &c->step, 2, (int64_t[]){n, TINY_TIME});
    for (int64_t i = 0; y && i < n; i++) {
        const real s = t[i] / 1000;
        memcpy(y->data + i * TINY_TIME, (real[]){s, s * s, (real)sqrt((double)s), 1}, TINY_TIME * sizeof(real));
    }
    return y;
}

/* What is told, at every pixel: [N,W] to [N,H,W,W'] by adding rows is not an op, so it enters as tokens: one modulation that
 * both shifts and scales the inner pixels. */
static inline tensor *tiny_forward(ctx *c, const denoiser *d, tensor *x, const real t[], const condition *k)
{
    const tiny_network *m = d->self;
    if (ctx_failed(c)) return NULL;
    const int64_t n = x->dim[0], h = x->dim[2], w = x->dim[3], both = 2 * m->shape.channels;
    tensor *pixels = op_patchify(c, x, 1), *control = op_patchify(c, k->control, 1);           /* [N,HW,C] */
    tensor *y = op_concat(c, pixels, control, 2);                                              /* [N,HW,2C] */
    y = op_conv2d(c, op_reshape(c, y, 4, (int64_t[]){n, h, w, both}), m->in_w, m->in_b, 1, 1); /* [N,H,W,W'] */
    tensor *told = lin(c, &m->told, op_reshape(c, k->context, 2, (int64_t[]){n, TINY_TOKENS * TINY_CONTEXT}), 0);
    told = op_add(c, told, lin(c, &m->time, tiny_times(c, t, n), 0));
    told = op_add(c, told, op_embedding(c, m->labels, k->label, n)); /* [N,W'] */
    y = op_reshape(c, y, 3, (int64_t[]){n, h * w, TINY_WIDTH});
    y = op_gated_add(c, y, op_silu(c, y), told, 0); /* [N,HW,W'] */
    y = op_reshape(c, y, 4, (int64_t[]){n, h, w, TINY_WIDTH});
    y = op_conv2d(c, y, m->out_w, m->out_b, 1, 1); /* [N,H,W,C] */
    y = op_reshape(c, y, 3, (int64_t[]){n, h * w, m->shape.channels});
    return op_unpatchify(c, y, 1, m->shape.channels, h, w); /* [N,C,H,W] */
}

static inline tensor *tiny_features(ctx *c, const denoiser *d, tensor *x, const real t[], const condition *k)
{
    const int64_t n = x->dim[0], values = sample_values(d->shape);
    tensor *y = tiny_forward(c, d, x, t, k);
    return y ? op_mean_tokens(c, op_reshape(c, y, 3, (int64_t[]){n, values / 8, 8})) : NULL; /* [N,8] */
}

static inline dt_status tiny_write(ctx *c, const denoiser *d, const denoiser_file *f)
{
    tensor_source source[16];
    const arena_place mark = arena_mark(&c->scratch);
    if (f->format != DT_MODEL_SAFETENSORS)
        return error_set(&c->error, DT_ERR_UNSUPPORTED, "%s: no place for a tiny network", f->path);
    if (params_sources(c, source, d->params, f->values, params_file_dtype(f->dtype), f->stops) == DT_OK)
        safetensors_write(f->path, source, (size_t)d->params->count, f->metadata, f->metadata_count, f->hash,
                          &c->error);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

static inline void tiny_denoiser(denoiser *d, tiny_network *m)
{
    static const denoiser_ops ops = {
        .kind = "tiny network", .forward = tiny_forward, .features = tiny_features, .write = tiny_write};
    *d = (denoiser){.ops = &ops,
                    .self = m,
                    .params = &m->params,
                    .shape = m->shape,
                    .process = {NOISE_SCALED_LINEAR, PREDICTS_VELOCITY, false},
                    .class_count = m->class_count,
                    .context_tokens = TINY_TOKENS,
                    .context_width = TINY_CONTEXT,
                    .control = m->shape,
                    .null_context = m->null,
                    .feature_width = 8};
}

/* ---- as a kind of network ---- */

static inline bool tiny_fits(const tensor_file *f)
{
    return tensor_file_find(f, "null_context") != NULL;
}

static inline dt_status tiny_view(tensor_file *f, sample_shape *shape, dt_error *err)
{
    const tensor_entry *out = params_need(f, "out.weight", 4, &tiny_words, err);
    const char *side = tensor_file_metadata(f, "tiny.side");
    if (out) *shape = (sample_shape){out->dims[0], side ? atoll(side) : 16, side ? atoll(side) : 16};
    return err->status;
}

static inline int64_t tiny_class_count(const tensor_file *f)
{
    return tensor_file_find(f, "labels.weight")->dims[0] - 1;
}

static inline tiny_network *tiny_new(ctx *c, denoiser *d, sample_shape shape, int64_t class_count)
{
    tiny_network *m = arena_alloc_zeroed(&c->model, sizeof *m, &c->error);
    if (!m) return NULL;
    tiny_open(c, m, shape, class_count);
    tiny_denoiser(d, m);
    return ctx_failed(c) ? NULL : m;
}

static inline dt_status tiny_load(ctx *c, denoiser *d, const tensor_file *f, const model_info *info,
                                  const label_start *labels)
{
    sample_shape shape = {0};
    const bool relabel = labels && !label_table_fits(labels, info, tiny_class_count(f));
    if (tiny_view((tensor_file *)f, &shape, &c->error) != DT_OK) return c->error.status;
    tiny_network *m = tiny_new(c, d, shape, labels ? labels->class_count : tiny_class_count(f));
    if (!m || params_refuse_strangers(&m->params, f, &tiny_words, &c->error) != DT_OK) return c->error.status;
    for (int i = 0; i < m->params.count && !ctx_failed(c); i++) {
        const param *row = &m->params.row[i];
        if (relabel && row->tensor == m->labels)
            label_table_start(c, row, tensor_file_find(f, row->name), labels, info);
        else
            params_read_row(c, row, f, &tiny_words);
    }
    return c->error.status;
}

static inline bool tiny_knows(const char *name)
{
    return !strcmp(name, "tiny");
}

static inline dt_status tiny_make(ctx *c, denoiser *d, const model_size *size, uint64_t seed)
{
    tiny_network *m = tiny_new(c, d, size->shape, size->class_count);
    if (m) params_init(c, &m->params, seed);
    return c->error.status;
}

static const model_kind tiny_kind = {.fits = tiny_fits,
                                     .view = tiny_view,
                                     .class_count = tiny_class_count,
                                     .load = tiny_load,
                                     .knows = tiny_knows,
                                     .make = tiny_make,
                                     .names = "tiny"};

#endif
