#include "measure/measure.h"

#include <string.h>

#include "data/watch.h"
#include "image/grid.h"
#include "measure/weights.h"
#include "tensor/rehearsal.h"

/* ---- validation loss by band ---- */

typedef struct band_sums {
    double loss[BANDS_MAX], mse[BANDS_MAX];
    int64_t count[BANDS_MAX], width;
} band_sums;

int64_t measure_spread(int64_t i, int64_t wanted, int64_t count)
{
    const int64_t stride = count / wanted > 0 ? count / wanted : 1;
    return i * stride % count;
}

/* Where the examples of a plan lie in their set. */
typedef struct placing {
    int64_t wanted, count;
    bool of_bank; /* in turn */
} placing;

static int64_t example_at(const void *user, int64_t i)
{
    const placing *p = user;
    return p->of_bank ? i % p->count : measure_spread(i, p->wanted, p->count);
}

static void add_item(void *user, int64_t k, int32_t t, real mse, real vb)
{
    band_sums *sums = user;
    const int64_t band = t / sums->width;
    (void)k;
    sums->mse[band] += (double)mse;
    sums->loss[band] += (double)mse + (double)vb;
    sums->count[band]++;
}

dt_status measure_bands(const measures *m, const trainer *t, const band_plan *plan, band_means *out)
{
    band_sums sums = {.width = SCHEDULE_STEPS / plan->bands};
    const bool of_bank = plan->set == MEASURED_BANK;
    const examples *set = of_bank ? &t->bank : t->validation.count ? &t->validation : &t->train;
    const placing place = {plan->examples, set->count, of_bank};
    const band_asker asker = {t->c, &t->model, &t->schedule, t->null_context, m->seed, m->batch};
    const band_items items = {.set = set,
                              .examples = plan->examples,
                              .bands = plan->bands,
                              .told = plan->told && !of_bank,
                              .drawn = plan->told && of_bank,
                              .example_at = example_at,
                              .user = &place};
    bands_ask(&asker, &items, add_item, &sums);
    for (int i = 0; i < plan->bands; i++) {
        out->loss[i] = sums.loss[i] / (double)sums.count[i];
        out->mse[i] = sums.mse[i] / (double)sums.count[i];
    }
    return t->c->error.status;
}

dt_status measure_validation(const measures *m, const trainer *t, measured_set set, band_losses *out)
{
    const band_plan plan = {.set = set, .bands = BAND_COUNT, .examples = m->validation_count, .told = true};
    band_means means;
    *out = (band_losses){0};
    measure_bands(m, t, &plan, &means);
    for (int i = 0; i < BAND_COUNT; i++) {
        out->loss[i] = means.loss[i];
        out->mse[i] = means.mse[i];
        out->mean += out->loss[i] / BAND_COUNT;
    }
    return t->c->error.status;
}

/* ---- samples ---- */

static dt_status draw_with(const measures *m, trainer *t, const drawing *d, int64_t count, drawing_taker *take,
                           void *user)
{
    if (m->averaged) trainset_swap_averages(t->c, &t->set);
    drawing_run(t->c, d, 0, count, take, user);
    if (m->averaged) trainset_swap_averages(t->c, &t->set);
    return t->c->error.status;
}

dt_status measure_draw(const measures *m, trainer *t, int64_t count, drawing_taker *take, void *user)
{
    return draw_with(m, t, &m->drawing, count, take, user);
}

static drawing grid_drawing(const measures *m)
{
    drawing d = m->drawing;
    if (!m->grid_told.count) return d;
    d.told = &m->grid_told;
    d.order = NULL;
    return d;
}

typedef struct grid_taker {
    float *pictures; /* of all samples */
    int64_t values;  /* of one */
} grid_taker;

static bool take_pictures(void *user, drawn *b)
{
    grid_taker *g = user;
    memcpy(g->pictures + b->first * g->values, b->pictures, (size_t)(b->n * g->values) * sizeof *g->pictures);
    return true;
}

static dt_status draw_grid(const measures *m, const trainer *t, const float *x, image *grid, bool *labelled)
{
    const sample_shape shape = drawing_picture_shape(&m->drawing);
    const dataset *d = &t->train.pictures;
    const bool told = m->drawing.labels && m->drawing.told; /* a column of its own for each */
    const int64_t columns = told && m->sample_count < m->labels.count ? m->sample_count : m->labels.count;
    const grid_pictures pictures = {.x = x,
                                    .count = m->sample_count,
                                    .channels = shape.channels,
                                    .size = shape.height,
                                    .class_list = told ? m->labels.class : NULL,
                                    .class_list_count = told ? columns : d->class_count,
                                    .class_name = d->class_name,
                                    .class_name_count = d->class_count};
    return grid_draw(grid, labelled, &pictures, &t->c->error);
}

/* Room for the pictures of all samples of a grid, in the step arena. */
static float *grid_pictures_alloc(ctx *c, const measures *m)
{
    const int64_t values = sample_values(drawing_picture_shape(&m->drawing));
    return arena_alloc(&c->step, (size_t)(m->sample_count * values) * sizeof(float), &c->error);
}

dt_status measure_grid(const measures *m, trainer *t, image *grid, bool *labelled)
{
    ctx *c = t->c;
    const drawing d = grid_drawing(m);
    const arena_place mark = arena_mark(&c->step);
    grid_taker g = {.values = sample_values(drawing_picture_shape(&m->drawing)), .pictures = grid_pictures_alloc(c, m)};
    *labelled = true;
    if (g.pictures && draw_with(m, t, &d, m->sample_count, take_pictures, &g) == DT_OK)
        draw_grid(m, t, g.pictures, grid, labelled);
    arena_release(&c->step, mark);
    return c->error.status;
}

/* ---- distance ---- */

typedef struct distance_taker {
    ctx *c;
    const measures *m;
    statistics drawn;
} distance_taker;

static bool add_features(void *user, drawn *b)
{
    distance_taker *k = user;
    ctx *c = k->c;
    const arena_place mark = arena_mark(&c->scratch);
    const float *rows = drawing_features(c, &k->m->drawing, &k->m->meter, b);
    if (rows) statistics_add(&k->drawn, rows, b->n, &c->error);
    arena_release(&c->scratch, mark);
    return !ctx_failed(c);
}

dt_status measure_distance(const measures *m, trainer *t, dt_eval_result *result)
{
    ctx *c = t->c;
    distance_taker k = {.c = c, .m = m};
    if (meter_statistics(c, &m->meter, &k.drawn, true) != DT_OK) return c->error.status;
    if (measure_draw(m, t, m->distance_count, add_features, &k) == DT_OK &&
        statistics_finish(&k.drawn, &c->error) == DT_OK)
        meter_compare(c, &m->meter, result, &m->meter.reference, &k.drawn, m->seed);
    statistics_close(&k.drawn);
    return c->error.status;
}

/* ---- opening ---- */

/* What a model is told beside its labels comes from the held-out examples. */
static const examples *told_by(const trainer *t)
{
    const denoiser *d = &t->model;
    if (!d->context_tokens && !d->control.channels) return NULL;
    return t->validation.count ? &t->validation : &t->train;
}

static int64_t common_divisor(int64_t a, int64_t b)
{
    return b ? common_divisor(b, a % b) : a;
}

/* An order in the model arena of which every beginning is spread over the set, because sets stand class by class: steps of about the
 * golden section, which have no divisor with the count. */
static int32_t *spread_order(ctx *c, int64_t count)
{
    int32_t *order = arena_alloc(&c->model, (size_t)count * sizeof *order, &c->error);
    int64_t stride = (int64_t)(0.6180339887498949 * (double)count);
    while (common_divisor(count, stride) != 1) stride++;
    for (int64_t i = 0; order && i < count; i++) order[i] = (int32_t)(i * stride % count);
    return order;
}

/* Samples are told what held-out examples say, and are of their classes. */
static dt_status tell_examples(measures *m, ctx *c, const examples *told)
{
    int32_t *order = spread_order(c, told->count);
    if (!order || class_list_all(&m->labels, c, told->count) != DT_OK) return c->error.status;
    for (int64_t i = 0; i < told->count; i++) m->labels.class[i] = told->pictures.label[order[i]];
    m->drawing.told = told;
    m->drawing.order = order;
    return DT_OK;
}

static dt_status open_drawing(measures *m, const trainer *t, const dt_settings *s)
{
    ctx *c = t->c;
    const examples *told = told_by(t);
    m->drawing = (drawing){.codec = &t->codec, .batch = s->sample_batch_size};
    if (t->model.class_count) m->drawing.labels = &m->labels;
    if (told)
        tell_examples(m, c, told);
    else
        class_list_all(&m->labels, c, t->model.class_count);
    if (ctx_failed(c)) return c->error.status;
    return sampler_open(&m->drawing.sampler, &t->model, s, &c->error);
}

/* A grid of prompts of its own has the controls of the held-out examples as ever. */
static dt_status open_grid(measures *m, const trainer *t)
{
    const examples *told = m->drawing.told;
    dt_error *err = &t->c->error;
    examples *grid = &m->grid_told;
    const example_table *prompts = &t->told.prompts;
    if (!prompts->row || m->sample_count == 0) return err->status;
    grid->count = m->sample_count;
    if (example_table_in_turn(&grid->context, prompts, prompts->row_count, grid->count, err) != DT_OK)
        return err->status;
    return told->control.row ? example_table_in_turn(&grid->control, &told->control, told->count, grid->count, err)
                             : DT_OK;
}

/* The reference is the held-out data: as the base sees it, or as pictures. */
static dt_status open_meter(measures *m, const trainer *t, const dt_settings *s, model_kinds kinds)
{
    ctx *c = t->c;
    if (meter_open(c, &m->meter, s, s->pretrained_model, kinds) != DT_OK || s->dry_run) return c->error.status;
    if (s->feature == DT_FEATURE_BASE || t->codec.kind == CODEC_PIXELS)
        return meter_measure_examples(c, &m->meter, &m->meter.reference, &t->validation, s->sample_batch_size);
    return meter_open_reference(c, &m->meter, s, s->validation_data, NULL, t->resolution, t->observer);
}

dt_status measures_open(measures *m, const trainer *t, const dt_settings *s, model_kinds kinds)
{
    *m = (measures){.seed = (uint64_t)s->seed,
                    .batch = s->sample_batch_size,
                    .validation_count = s->validation_count,
                    .sample_count = s->num_samples,
                    .distance_count = s->eval_count,
                    .obedience_count = s->convergence_steps > 0 ? s->convergence_count : 0,
                    .validates = s->validation_steps > 0 || s->psi == DT_PSI_MEASURED,
                    .draws_grids = s->sample_steps > 0,
                    .measures_distances = s->eval_steps > 0,
                    .averaged = s->weights == DT_WEIGHTS_EMA};
    if (s->eval_steps > 0 && open_meter(m, t, s, kinds) != DT_OK) return t->c->error.status;
    if (s->eval_steps > 0 || s->sample_steps > 0 || s->convergence_steps > 0) open_drawing(m, t, s);
    return m->draws_grids && !ctx_failed(t->c) ? open_grid(m, t) : t->c->error.status;
}

/* ---- what all of it takes ---- */

static void rehearse_validation(const measures *m, const trainer *t)
{
    ctx *c = t->c;
    const int64_t items = m->validation_count * BAND_COUNT;
    const arena_place mark = arena_mark(&c->step);
    batch b;
    if (batch_new(c, &b, &t->model, items < m->batch ? items : m->batch)) {
        batch_empty(&b);
        batch_loss(c, &t->model, &b);
    }
    arena_release(&c->step, mark);
}

static int64_t rehearse_grid(const measures *m, ctx *c)
{
    const sample_shape shape = drawing_picture_shape(&m->drawing);
    const arena_place mark = arena_mark(&c->step);
    grid_pictures_alloc(c, m);
    drawing_rehearse(c, &m->drawing, m->sample_count, NULL);
    arena_release(&c->step, mark);
    return grid_bytes(m->sample_count, shape.channels, shape.height);
}

/* A dry run has not measured its reference, the held-out images. */
static int64_t rehearse_distance(const measures *m, const trainer *t)
{
    const statistics_kind kind = meter_kind(&m->meter);
    const int64_t held_out = t->validation.count;
    drawing_rehearse(t->c, &m->drawing, m->distance_count, &m->meter);
    return statistics_bytes(&kind, m->distance_count) +
           (m->meter.reference.count ? 0 : statistics_bytes(&kind, held_out)) +
           meter_rehearse_compare(t->c, &m->meter, held_out, m->distance_count);
}

int64_t measures_rehearse(const measures *m, trainer *t)
{
    ctx *c = t->c;
    rehearsal r;
    int64_t grid = 0, distance = 0;
    rehearsal_begin(c, &r);
    trainer_rehearse(t);
    if (m->validates) rehearse_validation(m, t);
    if (m->validates) measure_weights_rehearse(t);
    if (m->draws_grids) grid = rehearse_grid(m, c);
    if (m->measures_distances) distance = rehearse_distance(m, t);
    if (m->obedience_count) drawing_rehearse(c, &m->drawing, m->obedience_count, NULL);
    rehearsal_end(c, &r);
    return grid > distance ? grid : distance;
}

void measures_close(measures *m)
{
    meter_close(&m->meter);
    example_table_close(&m->grid_told.context);
    example_table_close(&m->grid_told.control);
}
