/* The chain of forgetting (Zhong et al. 2024, figure 1, right): one set of samples, of which the last steps are made by the base, in
 * rising shares. The tuned model's steps are made once for all shares. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "api/chain_file.h"
#include "api/sampling.h"
#include "base/clock.h"
#include "base/say.h"
#include "data/need.h"
#include "data/watch.h"
#include "file/folder.h"
#include "tensor/rehearsal.h"

typedef struct chain chain;

/* One share: its samples lie in a folder of their own, as dt_sample leaves them. */
typedef struct point {
    chain *chain;
    double tail;
    int64_t steps;
    dt_settings s; /* of its folder */
    sampler sampler;
    sample_folder folder;
} point;

struct chain {
    ctx *c;
    const dt_settings *s;
    const dt_observer *observer;
    sampling with;
    meter meter; /* its reference is that of the settings */
    file_lock lock;
    point *point; /* [count], by rising share */
    int count;
    int64_t first;        /* samples that every point had when this call began */
    int64_t holds;        /* the most that a point has, which may be more than are asked for */
    int64_t before, made; /* samples of all points together: then, and by this call */
    double started_s;
};

/* ---- opening ---- */

/* The reference as a training run's held-out pictures: at the size of the model's pictures, for features of the base as the model
 * sees them. */
static dt_status open_reference(chain *h)
{
    const dt_settings *s = h->s;
    const codec *k = s->feature == DT_FEATURE_BASE ? &h->with.codec : NULL;
    return meter_open_reference(h->c, &h->meter, s, s->reference, k, drawing_picture_shape(&h->with.drawing).height,
                                h->observer);
}

static dt_status open_point(chain *h, point *p, double tail)
{
    char name[CHAIN_NAME_MAX];
    p->chain = h;
    p->tail = tail;
    p->steps = sampler_steps_of(&h->with.drawing.sampler, tail);
    p->s = *h->s;
    p->s.num_samples = h->s->eval_count;
    chain_point_name(name, tail);
    file_join(p->s.output_dir, h->s->output_dir, name);
    if (sampling_end(&h->with, &p->sampler, p->steps) != DT_OK) return h->c->error.status;
    p->folder = sampling_folder(&h->with, &p->s, h->s->num_samples, p->steps, &h->meter);
    return sample_folder_open(&p->folder, &h->c->error);
}

/* What is the same for all points. */
static dt_status claim(chain *h)
{
    char text[2 * SAMPLE_TEXT_MAX];
    sampling_describe(&h->with, 0, text);
    const size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, ", tails by %s told %s, features %s", h->with.tail_info.sha256,
             h->with.tail_told ? "the same" : "nothing", h->meter.features.identity);
    return sample_folder_claim(&h->lock, h->s->output_dir, "chain.txt", "samples of a chain", text, &h->c->error);
}

static dt_status open_points(chain *h)
{
    ctx *c = h->c;
    double tails[DT_CHAIN_POINTS_MAX];
    const int64_t count = chain_read_tails(tails, h->s->tails, &c->error);
    h->point = arena_alloc_zeroed(&c->model, (size_t)count * sizeof *h->point, &c->error);
    if (ctx_failed(c) || claim(h) != DT_OK) return c->error.status;
    h->first = h->s->eval_count;
    for (; h->count < count && open_point(h, &h->point[h->count], tails[h->count]) == DT_OK; h->count++) {
        const int64_t done = h->point[h->count].folder.done;
        const int64_t holds = h->point[h->count].folder.holds;
        if (done < h->first) h->first = done;
        if (holds > h->holds) h->holds = holds;
        h->before += done;
    }
    return c->error.status;
}

static dt_status chain_open(chain *h)
{
    if (sampling_open(&h->with, h->s->eval_count) != DT_OK ||
        meter_open(h->c, &h->meter, h->s, h->s->tail_model, model_kinds_all) != DT_OK || open_reference(h) != DT_OK)
        return h->c->error.status;
    return open_points(h);
}

static void chain_close(chain *h)
{
    for (int i = 0; i < h->count; i++) sample_folder_close(&h->point[i].folder);
    file_unlock(&h->lock);
    meter_close(&h->meter);
    sampling_close(&h->with);
}

/* ---- what it takes ---- */

static dt_status check_space(const chain *h)
{
    int64_t bytes = 0;
    for (int i = 0; i < h->count; i++) bytes += sample_folder_missing_bytes(&h->point[i].folder);
    return file_check_space(h->s->output_dir, bytes, "the samples of all shares", &h->c->error);
}

/* Of the points, by falling share, as drawing has them. */
static void list_ends(const chain *h, drawing_end ends[DT_CHAIN_POINTS_MAX])
{
    for (int i = 0; i < h->count; i++) {
        point *p = &h->point[h->count - 1 - i];
        ends[i] = (drawing_end){.sampler = &p->sampler, .steps = p->steps, .first = p->folder.done, .user = p};
    }
}

static dt_status tell_need(const chain *h)
{
    ctx *c = h->c;
    rehearsal r;
    drawing_end ends[DT_CHAIN_POINTS_MAX];
    const statistics_kind kind = meter_kind(&h->meter);
    const int64_t count = h->s->eval_count, grid = sample_folder_grid_bytes(&h->point[0].folder);
    list_ends(h, ends);
    rehearsal_begin(c, &r);
    drawing_rehearse_ends(c, &h->with.drawing, count - h->first, ends, h->count, &h->meter);
    const int64_t comparing = meter_rehearse_compare(c, &h->meter, h->meter.reference.row_count, count);
    rehearsal_end(c, &r);
    const int64_t numbers = statistics_bytes(&kind, count) + comparing;
    if (!ctx_failed(c)) need_tell(c, h->observer, grid > numbers ? grid : numbers);
    return c->error.status;
}

/* ---- drawing ---- */

static bool tell(chain *h, int64_t made)
{
    h->made += made;
    const int64_t all = h->s->eval_count * h->count, done = h->before + h->made < all ? h->before + h->made : all;
    const double seconds = clock_s() - h->started_s;
    return watch_progress(h->observer, "chain", done, all, h->made > 0 ? seconds * (double)done / (double)h->made : 0);
}

/* A batch that an earlier call stopped in is drawn again as a whole. */
static dt_status keep_features(point *p, drawn *b)
{
    ctx *c = p->chain->c;
    if (p->folder.rows.count > b->first && feature_rows_cut(&p->folder.rows, b->first, &c->error) != DT_OK)
        return c->error.status;
    const arena_place mark = arena_mark(&c->scratch);
    const float *rows = drawing_features(c, &p->chain->with.drawing, &p->chain->meter, b);
    if (rows) feature_rows_append(&p->folder.rows, rows, b->n, &c->error);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

static bool keep_batch(void *user, drawn *b)
{
    point *p = user;
    chain *h = p->chain;
    dt_error *err = &h->c->error;
    const int64_t values = sample_values(drawing_picture_shape(&h->with.drawing)), last = b->first + b->n;
    for (int64_t i = 0; i < b->n && err->status == DT_OK; i++)
        sample_folder_save(&p->folder, b->pictures + i * values, b->first + i, err);
    if (err->status != DT_OK || keep_features(p, b) != DT_OK) return false;
    if (!tell(h, last - (p->folder.done > b->first ? p->folder.done : b->first)))
        error_set(err, DT_ERR_INTERRUPTED, "%s: stopped after %lld of %lld samples; the same command goes on",
                  h->s->output_dir, (long long)b->first, (long long)h->s->eval_count);
    return err->status == DT_OK;
}

static dt_status draw_all(chain *h)
{
    drawing_end ends[DT_CHAIN_POINTS_MAX];
    list_ends(h, ends);
    return drawing_run_ends(h->c, &h->with.drawing, h->first, h->s->eval_count, ends, h->count, keep_batch);
}

/* ---- measuring ---- */

static dt_status measure_point(chain *h, point *p, dt_chain_point *out)
{
    ctx *c = h->c;
    statistics all;
    bool labelled;
    *out = (dt_chain_point){.tail = p->tail, .tail_steps = p->steps};
    if (sample_folder_grid(&p->folder, &labelled, &c->error) != DT_OK ||
        meter_statistics(c, &h->meter, &all, true) != DT_OK)
        return c->error.status;
    if (feature_rows_add_to(c, &all, &p->folder.rows, h->s->eval_count) == DT_OK &&
        statistics_finish(&all, &c->error) == DT_OK)
        meter_compare(c, &h->meter, &out->distance, &h->meter.reference, &all, (uint64_t)h->s->seed);
    statistics_close(&all);
    return c->error.status;
}

static json_t *describe(const chain *h)
{
    const dt_settings *s = h->s;
    return JSON_OBJECT({"format", json_string("difftune chain 1")}, {"model", json_string(s->pretrained_model)},
                       {"model_sha256", json_string(h->with.info.sha256)}, {"tail_model", json_string(s->tail_model)},
                       {"tail_model_sha256", json_string(h->with.tail_info.sha256)},
                       {"tail_is_told", json_string(h->with.tail_told ? "the same" : "nothing")},
                       {"drawing", json_string(h->point[0].folder.text)},
                       {"steps", json_integer(s->num_inference_steps)}, {"samples", json_integer(s->eval_count)},
                       {"measure", json_string(h->meter.features.measure)}, {"reference", json_string(s->reference)},
                       {"reference_count", json_integer(h->meter.reference.count)});
}

static dt_status measure(chain *h, dt_chain_result *r)
{
    r->count = h->count;
    for (int i = 0; i < h->count && ctx_go_on(h->c); i++) {
        if (measure_point(h, &h->point[i], &r->point[i]) != DT_OK) break;
        if (r->point[i].distance.frechet_distance < r->point[r->best].distance.frechet_distance) r->best = i;
    }
    return ctx_failed(h->c) ? h->c->error.status : chain_write(h->s->output_dir, describe(h), r, &h->c->error);
}

dt_status dt_chain(dt_context *c, const dt_settings *s, const dt_observer *observer, dt_chain_result *result)
{
    observer = api_observer(observer);
    chain h = {.c = c, .s = s, .observer = observer, .with = {.c = c, .s = s, .observer = observer}};
    h.started_s = clock_s();
    *result = (dt_chain_result){0};
    if (api_enter(c, s, SETTINGS_CHAIN, observer) != DT_OK) return api_leave(c);
    if (chain_open(&h) == DT_OK) {
        sampling_tell(&h.with, h.point[h.count - 1].steps);
        api_tell_beyond(observer, s->output_dir, h.holds, "eval_count", s->eval_count);
        if (check_space(&h) == DT_OK && tell_need(&h) == DT_OK && draw_all(&h) == DT_OK) measure(&h, result);
    }
    chain_close(&h);
    return api_leave(c);
}
