#include "measure/drawing.h"

#include <string.h>

#include "base/finite.h"
#include "data/need.h"
#include "image/image.h"
#include "tensor/rehearsal.h"

sample_shape drawing_picture_shape(const drawing *d)
{
    const sample_shape *s = &d->sampler.shape;
    return (sample_shape){codec_picture_channels(d->codec), s->height * d->codec->factor, s->width * d->codec->factor};
}

/* Rows number first.. of a table as a tensor [n, ..] in the step arena. */
static tensor *rows_of(ctx *c, const example_table *t, int64_t count, int64_t first, int64_t n)
{
    int64_t dim[TENSOR_DIM_MAX] = {n};
    const int64_t values = example_table_values(t);
    memcpy(dim + 1, t->dim, (size_t)t->dim_count * sizeof *dim);
    tensor *rows = tensor_new(c, &c->step, t->dim_count + 1, dim);
    real *prepared = rows ? numbers_prepare(c, &c->step, rows->data, n * values) : NULL;
    for (int64_t i = 0; prepared && i < n; i++) example_table_get(prepared + i * values, t, (first + i) % count, false);
    if (prepared) numbers_send(c, rows->data, prepared, n * values);
    return rows;
}

static condition condition_of(ctx *c, const drawing *d, int64_t first, int64_t n)
{
    condition k = {0};
    int32_t *label = d->labels ? arena_alloc(&c->step, (size_t)n * sizeof *label, &c->error) : NULL;
    for (int64_t i = 0; label && i < n; i++) label[i] = class_list_at(d->labels, first + i);
    k.label = label;
    if (d->told && d->told->context.values) k.context = rows_of(c, &d->told->context, d->told->count, first, n);
    if (d->told && d->told->control.values) k.control = rows_of(c, &d->told->control, d->told->count, first, n);
    return k;
}

/* Weights may be finite and their products not: a picture of such numbers would be black, and nobody would know. */
static dt_status check_finite(ctx *c, const drawn *b, const float *values, int64_t each)
{
    const int64_t bad = !ctx_failed(c) ? finite_first_bad(values, b->n * each) : -1;
    if (bad < 0) return c->error.status;
    return error_set(
        &c->error, DT_ERR_NUMERIC,
        "sample %lld: a value is %g: the model's numbers overflow, or its weights are not those of this network",
        (long long)(b->first + bad / each), (double)values[bad]);
}

static dt_status draw_batch(ctx *c, const drawing *d, drawn *b)
{
    const sample_shape *s = &d->sampler.shape;
    const int64_t n = b->n;
    b->x = arena_alloc(&c->step, (size_t)(n * sample_values(*s)) * sizeof *b->x, &c->error);
    if (d->codec) {
        const size_t values = (size_t)(n * sample_values(drawing_picture_shape(d)));
        b->pictures = arena_alloc(&c->step, values * sizeof *b->pictures, &c->error);
    }
    const arena_place mark = arena_mark(&c->step);
    uint32_t *index = arena_alloc(&c->step, (size_t)n * sizeof *index, &c->error);
    const condition k = condition_of(c, d, b->first, n);
    if (ctx_failed(c)) return c->error.status;
    for (int64_t i = 0; i < n; i++) index[i] = (uint32_t)(b->first + i);
    if (sampler_draw(c, &d->sampler, b->x, &k, index, n) == DT_OK && d->codec)
        codec_decode(c, d->codec, b->pictures, b->x, n, s->height, s->width);
    arena_release(&c->step, mark);
    return c->error.status;
}

static dt_status check_batch(ctx *c, const drawing *d, const drawn *b)
{
    check_finite(c, b, b->x, sample_values(d->sampler.shape));
    return d->codec ? check_finite(c, b, b->pictures, sample_values(drawing_picture_shape(d))) : c->error.status;
}

dt_status drawing_run(ctx *c, const drawing *d, int64_t first, int64_t last, drawing_taker *take, void *user)
{
    bool go_on = true;
    for (int64_t done = first; done < last && go_on && !ctx_failed(c);) {
        drawn b = {.first = done, .n = last - done < d->batch ? last - done : d->batch};
        const arena_place mark = arena_mark(&c->step);
        go_on = draw_batch(c, d, &b) == DT_OK && check_batch(c, d, &b) == DT_OK && take(user, &b);
        arena_release(&c->step, mark);
        done += b.n;
    }
    return c->error.status;
}

void drawing_rehearse(ctx *c, const drawing *d, int64_t count, const meter *m)
{
    drawing once = *d;
    drawn b = {.n = count < d->batch ? count : d->batch};
    const arena_place mark = arena_mark(&c->step), scratch = arena_mark(&c->scratch);
    if (count < 1) return;
    once.sampler.schedule.count = 1; /* all steps take the same */
    if (draw_batch(c, &once, &b) == DT_OK && m) drawing_features(c, d, m, &b);
    arena_release(&c->step, mark);
    arena_release(&c->scratch, scratch);
}

dt_status drawing_tell_need(ctx *c, const drawing *d, int64_t count, const meter *m, const dt_observer *observer,
                            int64_t beside)
{
    rehearsal r;
    rehearsal_begin(c, &r);
    drawing_rehearse(c, d, count, m);
    rehearsal_end(c, &r);
    if (!ctx_failed(c)) need_tell(c, observer, beside);
    return c->error.status;
}

float *drawing_features(ctx *c, const drawing *d, const meter *m, drawn *b)
{
    const features *f = &m->features;
    const bool of_latents = f->kind == DT_FEATURE_BASE && d->codec->kind != CODEC_PIXELS;
    const sample_shape shape = of_latents ? d->sampler.shape : drawing_picture_shape(d);
    const size_t values = (size_t)(b->n * (f->dim + f->spatial_dim));
    float *rows = arena_alloc(&c->scratch, values * sizeof *rows, &c->error);
    if (!rows) return NULL;
    if (!of_latents) image_as_shown(b->pictures, b->n * sample_values(shape));
    features_rows(c, f, rows, of_latents ? b->x : b->pictures, shape, b->first, b->n);
    return ctx_failed(c) ? NULL : rows;
}
