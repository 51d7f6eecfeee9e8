#include "measure/drawing.h"

#include <string.h>

#include "base/finite.h"
#include "data/need.h"
#include "image/image.h"
#include "rank/rank.h"
#include "tensor/rehearsal.h"

sample_shape drawing_picture_shape(const drawing *d)
{
    const sample_shape *s = &d->sampler.shape;
    return (sample_shape){codec_picture_channels(d->codec), s->height * d->codec->factor, s->width * d->codec->factor};
}

int64_t drawing_example(const drawing *d, int64_t number)
{
    const int64_t i = number % d->told->count;
    return d->order ? d->order[i] : i;
}

/* What samples number first.. are told of a table as a tensor [n, ..] in the step arena; NULL: nothing. */
static tensor *rows_of(ctx *c, const drawing *d, const example_table *t, int64_t first, int64_t n)
{
    if (!t->row) return NULL;
    int64_t dim[TENSOR_DIM_MAX] = {n};
    const int64_t values = example_table_values(t);
    memcpy(dim + 1, t->dim, (size_t)t->dim_count * sizeof *dim);
    tensor *rows = tensor_new(c, &c->step, t->dim_count + 1, dim);
    real *prepared = rows ? numbers_prepare(c, &c->step, rows->data, n * values) : NULL;
    for (int64_t i = 0; prepared && i < n; i++)
        example_table_get(prepared + i * values, t, drawing_example(d, first + i), (first + i) / d->told->count, false);
    if (prepared) numbers_send(c, rows->data, prepared, n * values);
    return rows;
}

static condition condition_of(ctx *c, const drawing *d, int64_t first, int64_t n)
{
    condition k = {0};
    int32_t *label = d->labels ? arena_alloc(&c->step, (size_t)n * sizeof *label, &c->error) : NULL;
    for (int64_t i = 0; label && i < n; i++) label[i] = class_list_at(d->labels, first + i);
    k.label = label;
    if (d->told) k.context = rows_of(c, d, &d->told->context, first, n);
    if (d->told) k.control = rows_of(c, d, &d->told->control, first, n);
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

/* A batch on its way: its samples, and what they are told. */
typedef struct batch_way {
    trajectories at;
    condition told;
} batch_way;

/* Room for a batch in the step arena. */
static dt_status batch_alloc(ctx *c, const drawing *d, drawn *b)
{
    b->x = arena_alloc(&c->step, (size_t)(b->n * sample_values(d->sampler.shape)) * sizeof *b->x, &c->error);
    if (!d->codec) return c->error.status;
    const size_t values = (size_t)(b->n * sample_values(drawing_picture_shape(d)));
    b->pictures = arena_alloc(&c->step, values * sizeof *b->pictures, &c->error);
    return c->error.status;
}

/* Puts a batch, whose room there is, at the beginning of its way. */
static dt_status batch_begin(ctx *c, const drawing *d, const drawn *b, batch_way *w)
{
    uint32_t *index = arena_alloc(&c->step, (size_t)b->n * sizeof *index, &c->error);
    w->told = condition_of(c, d, b->first, b->n);
    if (ctx_failed(c)) return c->error.status;
    for (int64_t i = 0; i < b->n; i++) index[i] = (uint32_t)(b->first + i);
    sampler_start(&d->sampler, b->x, index, b->n);
    return sampler_begin(c, &d->sampler, &w->at, b->x, index, b->n);
}

/* What is at the end of its way becomes pictures. */
static dt_status batch_decode(ctx *c, const drawing *d, const drawn *b)
{
    const sample_shape *s = &d->sampler.shape;
    if (!ctx_failed(c) && d->codec) codec_decode(c, d->codec, b->pictures, b->x, b->n, s->height, s->width);
    return c->error.status;
}

static dt_status draw_batch(ctx *c, const drawing *d, drawn *b)
{
    batch_way w;
    if (batch_alloc(c, d, b) != DT_OK) return c->error.status;
    const arena_place mark = arena_mark(&c->step);
    if (batch_begin(c, d, b, &w) == DT_OK) sampler_go_on(c, &d->sampler, &w.at, &w.told, 0);
    batch_decode(c, d, b);
    arena_release(&c->step, mark);
    return c->error.status;
}

static dt_status check_batch(ctx *c, const drawing *d, const drawn *b)
{
    check_finite(c, b, b->x, sample_values(d->sampler.shape));
    return d->codec ? check_finite(c, b, b->pictures, sample_values(drawing_picture_shape(d))) : c->error.status;
}

/* ---- several ranks ---- */

/* Batch number `i` of the round that begins with sample `first`: the one of rank i. */
static drawn batch_of_rank(const drawing *d, int64_t first, int64_t last, int i)
{
    const int64_t at = first + i * d->batch, left = last - at;
    return (drawn){.first = at, .n = left < 0 ? 0 : left < d->batch ? left : d->batch};
}

/* A batch that another rank has drawn, in memory that there is, and whether that rank's caller wants to stop. */
static dt_status carry_batch(ctx *c, const drawing *d, const drawn *b, int peer, bool sends, bool *stop, dt_error *err)
{
    const size_t x = (size_t)(b->n * sample_values(d->sampler.shape)) * sizeof *b->x;
    const size_t pictures = d->codec ? (size_t)(b->n * sample_values(drawing_picture_shape(d))) * sizeof *b->x : 0;
    const rank_part part[] = {
        {peer, sends, stop, sizeof *stop}, {peer, sends, b->x, x}, {peer, sends, b->pictures, pictures}};
    rank_transfer(c->ranks, part, d->codec ? 3 : 2, err);
    return rank_receipt(c->ranks, peer, sends, err);
}

/* What was asked for is taken from its rank in any case, so that it hears what comes next. */
static bool take_from(ctx *c, const drawing *d, drawn *b, int peer, bool wanted, drawing_taker *take, void *user)
{
    dt_error err = {0};
    const dt_error before = c->error;
    bool stop = false, go_on = false;
    const arena_place mark = arena_mark(&c->step);
    error_clear(&c->error);
    if (batch_alloc(c, d, b) == DT_OK && carry_batch(c, d, b, peer, false, &stop, &err) == DT_OK) {
        c->ranks->stop_wanted |= stop;
        if (before.status == DT_OK && wanted) go_on = check_batch(c, d, b) == DT_OK && take(user, b);
    }
    if (before.status != DT_OK) c->error = before;
    if (err.status != DT_OK) error_set(&c->error, err.status, "%s", err.message);
    arena_release(&c->step, mark);
    return go_on;
}

/* Rounds of as many batches as there are ranks, each of which draws one; they are taken in the order of samples. */
static dt_status run_shared(ctx *c, const drawing *d, int64_t first, int64_t last, drawing_taker *take, void *user)
{
    bool go_on = true;
    for (int64_t done = first; done < last && go_on && !ctx_failed(c); done += c->ranks->count * d->batch) {
        drawn b = batch_of_rank(d, done, last, 0);
        for (int i = 1; i < c->ranks->count; i++) {
            const drawn other = batch_of_rank(d, done, last, i);
            if (other.n) rank_tell_one(c->ranks, i, (rank_order){RANK_DRAW, (int32_t)other.n, other.first}, &c->error);
        }
        const arena_place mark = arena_mark(&c->step);
        go_on = draw_batch(c, d, &b) == DT_OK && check_batch(c, d, &b) == DT_OK && take(user, &b);
        arena_release(&c->step, mark);
        for (int i = 1; i < c->ranks->count; i++) {
            b = batch_of_rank(d, done, last, i);
            if (b.n) go_on = take_from(c, d, &b, i, go_on, take, user);
        }
    }
    return c->error.status;
}

dt_status drawing_follow(ctx *c, const drawing *d, bool (*stop_wanted)(void *user), void *user)
{
    rank_order order = {0};
    c->ranks->obeys = true;
    while (rank_hear(c->ranks, &order, &c->error) == DT_OK && order.what == RANK_DRAW) {
        drawn b = {.first = order.value, .n = order.number};
        bool stop = stop_wanted && stop_wanted(user);
        const arena_place mark = arena_mark(&c->step);
        if (draw_batch(c, d, &b) == DT_OK && check_batch(c, d, &b) == DT_OK)
            carry_batch(c, d, &b, 0, true, &stop, &c->error);
        arena_release(&c->step, mark);
    }
    return ctx_failed(c) ? c->error.status : rank_heard_end(c->ranks, &order, &c->error);
}

dt_status drawing_run(ctx *c, const drawing *d, int64_t first, int64_t last, drawing_taker *take, void *user)
{
    bool go_on = true;
    if (d->shared && rank_count(c->ranks) > 1) return run_shared(c, d, first, last, take, user);
    for (int64_t done = first; done < last && go_on && !ctx_failed(c);) {
        drawn b = {.first = done, .n = last - done < d->batch ? last - done : d->batch};
        const arena_place mark = arena_mark(&c->step);
        go_on = draw_batch(c, d, &b) == DT_OK && check_batch(c, d, &b) == DT_OK && take(user, &b);
        arena_release(&c->step, mark);
        done += b.n;
    }
    return c->error.status;
}

/* ---- several ends ---- */

/* One end of a batch that stands where it begins. False: no more is wanted. */
static bool draw_end(ctx *c, const drawing *d, const drawn *b, const batch_way *w, const drawing_end *end,
                     drawing_taker *take)
{
    drawn own = *b;
    batch_way twin = *w;
    if (end->first >= b->first + b->n) return true;
    const arena_place mark = arena_mark(&c->step);
    bool go_on = false;
    if (batch_alloc(c, d, &own) == DT_OK && sampler_fork(c, end->sampler, &twin.at, &w->at, own.x) == DT_OK &&
        sampler_go_on(c, end->sampler, &twin.at, &w->told, 0) == DT_OK && batch_decode(c, d, &own) == DT_OK)
        go_on = check_batch(c, d, &own) == DT_OK && take(end->user, &own);
    arena_release(&c->step, mark);
    return go_on;
}

static bool draw_ends(ctx *c, const drawing *d, const drawn *b, const drawing_end ends[], int count,
                      drawing_taker *take)
{
    batch_way w;
    bool go_on = batch_begin(c, d, b, &w) == DT_OK;
    for (int i = 0; i < count && go_on; i++)
        go_on = sampler_go_on(c, &d->sampler, &w.at, &w.told, ends[i].steps) == DT_OK &&
                draw_end(c, d, b, &w, &ends[i], take);
    return go_on;
}

/* The samples' own way takes no room for pictures. */
static drawn way_alloc(ctx *c, const drawing *d, int64_t first, int64_t n)
{
    drawn b = {.first = first, .n = n};
    b.x = arena_alloc(&c->step, (size_t)(n * sample_values(d->sampler.shape)) * sizeof *b.x, &c->error);
    return b;
}

dt_status drawing_run_ends(ctx *c, const drawing *d, int64_t first, int64_t last, const drawing_end ends[], int count,
                           drawing_taker *take)
{
    bool go_on = true;
    for (int64_t done = first; done < last && go_on && !ctx_failed(c);) {
        const arena_place mark = arena_mark(&c->step);
        const drawn b = way_alloc(c, d, done, last - done < d->batch ? last - done : d->batch);
        go_on = !ctx_failed(c) && draw_ends(c, d, &b, ends, count, take);
        arena_release(&c->step, mark);
        done += b.n;
    }
    return c->error.status;
}

/* ---- memory ---- */

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

/* A step of the way beside the batch of an end that draws alone. */
void drawing_rehearse_ends(ctx *c, const drawing *d, int64_t count, const drawing_end ends[], int end_count,
                           const meter *m)
{
    if (count < 1) return;
    const arena_place mark = arena_mark(&c->step);
    const drawn b = way_alloc(c, d, 0, count < d->batch ? count : d->batch);
    batch_way w;
    drawing once = *d;
    once.sampler.schedule.count = 1;
    if (batch_begin(c, &once, &b, &w) == DT_OK) sampler_go_on(c, &once.sampler, &w.at, &w.told, 0);
    for (int i = 0; i < end_count; i++) {
        once.sampler = *ends[i].sampler;
        once.sampler.schedule.count = 1;
        drawing_rehearse(c, &once, count, m);
    }
    arena_release(&c->step, mark);
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
