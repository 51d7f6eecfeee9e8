#include "diffusion/sampler.h"

dt_status sampler_from_settings(sampler *s, const dt_settings *settings, dt_error *err)
{
    *s = (sampler){.kind = settings->sampler,
                   .eta = settings->eta,
                   .guidance_scale = settings->guidance_scale,
                   .guidance_channels = settings->guidance_channels,
                   .clip_sample = settings->clip_sample,
                   .seed = (uint64_t)settings->seed,
                   .start = RNG_SAMPLE_START,
                   .step = RNG_SAMPLE_STEP};
    return schedule_respaced(&s->schedule, settings->timestep_spacing, settings->num_inference_steps, err);
}

static int64_t image_count(const sampler *s)
{
    return s->channels * s->size * s->size;
}

void sampler_start(const sampler *s, real *x, const uint32_t index[], int64_t n)
{
    int64_t count = image_count(s);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) rng_normal(x + i * count, count, (rng_key){s->seed, s->start, 0, index[i]});
}

static bool guided(const sampler *s)
{
    return s->guidance_scale != 1;
}

/* One model call on x, or on [x; x] with the labels and the null class behind them. */
static tensor *ask(ctx *c, const sampler *s, const real *x, const int32_t y[], int64_t n, int32_t t)
{
    int64_t rows = guided(s) ? 2 * n : n, count = n * image_count(s);
    tensor *input = tensor_new(c, &c->step, 4, (int64_t[]){rows, s->channels, s->size, s->size});
    int32_t *times = arena_alloc(&c->step, (size_t)rows * sizeof *times, &c->error);
    int32_t *labels = arena_alloc(&c->step, (size_t)rows * sizeof *labels, &c->error);
    if (ctx_failed(c)) return NULL;
    for (int64_t i = 0; i < rows; i++) {
        times[i] = t;
        labels[i] = i < n ? y[i] : s->null_class;
    }
    numbers_send(c, input->data, x, count);
    if (guided(s)) c->engine.memory.copy(input->data + count, input->data, (size_t)count * sizeof *x);
    return s->model(c, s->weights, input, times, labels);
}

/* eps = uncond + scale (cond - uncond) on the guided channels, into the conditional half. */
static void guide(const sampler *s, real *out, int64_t stride, int64_t n)
{
    int64_t channels = s->guidance_channels == DT_GUIDE_THREE && s->channels > 3 ? 3 : s->channels;
    int64_t count = channels * s->size * s->size;
    real scale = (real)s->guidance_scale;
    for (int64_t i = 0; i < n; i++) {
        real *cond = out + i * stride;
        const real *uncond = out + (n + i) * stride;
        for (int64_t j = 0; j < count; j++) cond[j] = uncond[j] + scale * (cond[j] - uncond[j]);
    }
}

static void take_step(const sampler *s, real *x, real *out, int64_t stride, const uint32_t index[], int64_t n,
                      int64_t i, real *noise)
{
    int64_t count = image_count(s);
    bool random = i > 0 && (s->kind == DT_SAMPLER_DDPM || s->eta > 0);
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < n; k++) {
        real *eps = out + k * stride, *image = x + k * count, *z = noise + k * count;
        const real *v = stride == 2 * count ? eps + count : NULL;
        if (s->clip_sample) schedule_clip_x0(eps, image, count, &s->schedule, i);
        if (random) rng_normal(z, count, (rng_key){s->seed, s->step, (uint32_t)i, index[k]});
        if (s->kind == DT_SAMPLER_DDPM)
            schedule_ancestral_step(image, image, eps, v, z, count, &s->schedule, i);
        else
            schedule_ddim_step(image, image, eps, z, count, &s->schedule, i, s->eta);
    }
}

dt_status sampler_continue(ctx *c, const sampler *s, real *x, const int32_t y[], const uint32_t index[], int64_t n)
{
    c->recording = false;
    for (int64_t i = s->schedule.count - 1; i >= 0 && !ctx_failed(c); i--) {
        const arena_place mark = arena_mark(&c->step);
        const tensor *answer = ask(c, s, x, y, n, s->schedule.original[i]);
        real *noise = arena_alloc(&c->step, (size_t)(n * image_count(s)) * sizeof *noise, &c->error);
        real *out = answer ? numbers_read(c, &c->step, answer->data, tensor_count(answer)) : NULL;
        if (ctx_failed(c)) break;
        const int64_t stride = tensor_count(answer) / answer->dim[0];
        if (guided(s)) guide(s, out, stride, n);
        take_step(s, x, out, stride, index, n, i, noise);
        arena_release(&c->step, mark);
    }
    return c->error.status;
}

dt_status sampler_draw(ctx *c, const sampler *s, real *x, const int32_t y[], const uint32_t index[], int64_t n)
{
    sampler_start(s, x, index, n);
    return sampler_continue(c, s, x, y, index, n);
}
