#include "network.h"

#include <string.h>

#include "model/dit/dit_denoiser.h"
#include "model/sd/controlled.h"
#include "model/sd/controlnet_config.h"
#include "model/sd/unet_config.h"
#include "model/sd/unet_denoiser.h"

enum { CONTROL_FACTOR = 8, LATENTS = 32 };

/* ---- weights ---- */

static void fill_weights(ctx *c, params *p)
{
    enum { PART = 1 << 16 };
    for (int i = 0; i < p->count && !ctx_failed(c); i++) {
        const param *row = &p->row[i];
        if (row->fixed) continue;
        const arena_place mark = arena_mark(&c->scratch);
        const int64_t count = tensor_count(row->tensor);
        real *values = numbers_prepare(c, &c->scratch, row->tensor->data, count);
#pragma omp parallel for schedule(dynamic)
        for (int64_t first = 0; first < count; first += PART) {
            const int64_t part = count - first < PART ? count - first : PART;
            rng_normal(values + first, part, (rng_key){1, RNG_INIT, (uint32_t)i, (uint32_t)(first / PART)});
            for (int64_t j = first; j < first + part; j++) values[j] *= (real)0.02;
        }
        numbers_send(c, row->tensor->data, values, count);
        arena_release(&c->scratch, mark);
    }
    params_round(c, p);
}

/* ---- DiT ---- */

static double dit_multiply_adds(const dit *m)
{
    const dit_config *k = &m->config;
    double d = (double)k->hidden, s = (double)(k->input_size / k->patch) * (double)(k->input_size / k->patch);
    double pixels = (double)(k->patch * k->patch);
    double block = s * d * (3 * d + d + 4 * d + 4 * d) + 2 * s * s * d + 6 * d * d;
    double ends = s * d * pixels * (double)(k->channels + dit_out_channels(m)) + 256 * d + d * d + 2 * d * d;
    return (double)k->depth * block + ends;
}

static dt_status open_dit(ctx *c, network *n, const char *shape, int64_t classes, const dt_settings *s)
{
    dit_config k = {.input_size = s->resolution ? s->resolution : 32,
                    .patch = s->patch_size,
                    .channels = s->in_channels,
                    .hidden = s->hidden_size,
                    .depth = s->depth,
                    .heads = s->num_heads ? s->num_heads : DT_HEADS_OF_NEW,
                    .class_count = classes ? classes : 9,
                    .learn_sigma = s->learn_sigma};
    if (strcmp(shape, "demo") && strcmp(shape, "custom")) {
        k.channels = 4;
        k.class_count = classes ? classes : 1000;
        if (!dit_named(&k, shape))
            return error_set(&c->error, DT_ERR_ARG, "shape %s: one of those in bench/network.h expected", shape);
    }
    dit *m = arena_alloc_zeroed(&c->model, sizeof *m, &c->error);
    if (!m || dit_open(c, m, &k) != DT_OK) return c->error.status;
    dit_denoiser(&n->denoiser, m);
    fill_weights(c, &m->params);
    n->evaluation = dit_multiply_adds(m);
    n->training = 3 * n->evaluation;
    return c->error.status;
}

/* ---- UNet and ControlNet ---- */

/* Of a weight that is multiplied at so many places. */
static double at(const tensor *w, double places)
{
    return w ? (double)tensor_count(w) * places : 0;
}

static double layer_multiply_adds(const unet_layer *l, double pixels)
{
    const unet_resnet *r = &l->resnet;
    const unet_transformer *t = l->transformer;
    double sum = at(r->conv1.w, pixels) + at(r->conv2.w, pixels) + at(r->shortcut.w, pixels) + at(r->time.w, 1);
    if (!t) return sum;
    const lin_w *of_pixels[] = {&t->in,      &t->self.q, &t->self.k, &t->self.v, &t->self.out,
                                &t->cross.q, &t->gate,   &t->mlp,    &t->out,    &t->cross.out};
    for (size_t i = 0; i < sizeof of_pixels / sizeof of_pixels[0]; i++) sum += at(of_pixels[i]->w, pixels);
    const double width = (double)t->self.q.w->dim[0];
    return sum + at(t->cross.k.w, UNET_CONTEXT_TOKENS) + at(t->cross.v.w, UNET_CONTEXT_TOKENS) +
           2 * pixels * width * (pixels + UNET_CONTEXT_TOKENS);
}

/* Pixels of a level; its resampling leads to the next smaller or the next larger one. */
static double level_multiply_adds(const unet_level *l, double pixels, double resampled)
{
    double sum = at(l->resample.w, resampled);
    for (int64_t i = 0; i < l->layer_count; i++) sum += layer_multiply_adds(&l->layer[i], pixels);
    return sum;
}

static double encoder_multiply_adds(const unet_encoder *e, const unet_config *k)
{
    double pixels = (double)(k->input_size * k->input_size);
    double sum = at(e->conv_in.w, pixels) + at(e->time1.w, 1) + at(e->time2.w, 1);
    for (int64_t i = 0; i < k->level_count; i++, pixels /= 4)
        sum += level_multiply_adds(&e->down[i], pixels, pixels / 4);
    return sum + layer_multiply_adds(&e->middle, 4 * pixels) + layer_multiply_adds(&e->after, 4 * pixels);
}

static double decoder_multiply_adds(const unet *m)
{
    const unet_config *k = &m->config;
    double pixels = (double)(k->input_size * k->input_size), sum = at(m->conv_out.w, pixels);
    for (int64_t i = k->level_count - 1; i >= 0; i--, pixels /= 4)
        sum += level_multiply_adds(&m->up[i], pixels, 4 * pixels);
    return sum;
}

static double controlnet_multiply_adds(const controlnet *m)
{
    const unet_config *k = &m->config.unet;
    const double side = (double)(k->input_size * controlnet_factor(&m->config));
    double sum = encoder_multiply_adds(&m->encoder, k), pixels = side * side;
    sum += at(m->stem.in.w, pixels);
    for (int64_t i = 0; i < m->stem.count; i++, pixels /= 4)
        sum += at(m->stem.same[i].w, pixels) + at(m->stem.down[i].w, pixels / 4);
    sum += at(m->stem.out.w, pixels);
    int skip = 0;
    for (int64_t level = 0; level < k->level_count; level++, pixels /= 4) {
        const int64_t here = (level == 0) + k->layers;
        for (int64_t i = 0; i < here; i++) sum += at(m->skip_out[skip++].w, pixels);
        if (level < k->level_count - 1) sum += at(m->skip_out[skip++].w, pixels / 4);
    }
    return sum + at(m->middle_out.w, 4 * pixels);
}

static unet *open_unet(ctx *c, denoiser *d, const dt_settings *s)
{
    unet_config k = unet_config_sd15();
    k.input_size = s->resolution ? s->resolution : LATENTS;
    unet *m = arena_alloc_zeroed(&c->model, sizeof *m, &c->error);
    if (!m || unet_open(c, m, &k) != DT_OK) return NULL;
    unet_denoiser(d, m);
    fill_weights(c, &m->params);
    return ctx_failed(c) ? NULL : m;
}

static dt_status open_controlled(ctx *c, network *n, const dt_settings *s)
{
    controlnet_config k;
    const unet *base = open_unet(c, &n->base, s);
    controlnet *m = arena_alloc_zeroed(&c->model, sizeof *m, &c->error);
    if (!base || !m || controlnet_config_new(&k, &base->config, CONTROL_FACTOR, "", &c->error) != DT_OK ||
        controlnet_open(c, m, &k) != DT_OK || controlled_denoiser(c, &n->denoiser, &n->base, m, "") != DT_OK)
        return c->error.status;
    fill_weights(c, &m->params);
    params_narrow(c, n->base.params);
    const double encoder = encoder_multiply_adds(&base->encoder, &base->config), decoder = decoder_multiply_adds(base),
                 control = controlnet_multiply_adds(m);
    n->evaluation = encoder + decoder + control;
    n->training = encoder + 2 * decoder + 3 * control;
    return c->error.status;
}

dt_status network_open(ctx *c, network *n, const char *shape, int64_t classes, const dt_settings *s)
{
    *n = (network){0};
    if (!strcmp(shape, "ControlNet-1.5")) return open_controlled(c, n, s);
    if (strcmp(shape, "SD-1.5")) return open_dit(c, n, shape, classes, s);
    const unet *m = open_unet(c, &n->denoiser, s);
    if (!m) return c->error.status;
    n->evaluation = encoder_multiply_adds(&m->encoder, &m->config) + decoder_multiply_adds(m);
    n->training = 3 * n->evaluation;
    return c->error.status;
}
