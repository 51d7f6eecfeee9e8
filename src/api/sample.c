#include "api/api.h"
#include "api/together.h"
#include "api/sampling.h"
#include "base/clock.h"
#include "base/say.h"
#include "data/watch.h"
#include "file/folder.h"

typedef struct sample_job {
    ctx *c;
    const dt_settings *s;
    const dt_observer *observer;
    sampling with;
    drawing drawing; /* with its tail */
    meter meter;     /* open where statistics are wanted */
    sample_folder folder;
    double started_s;
    int64_t before; /* samples that were there when this call began */
} sample_job;

static bool wants_statistics(const sample_job *p)
{
    return p->s->save_statistics[0] != '\0';
}

/* ---- opening ---- */

static int64_t tail_steps(const sample_job *p)
{
    const dt_settings *s = p->s;
    return s->tail_model[0] ? sampler_steps_of(&p->with.drawing.sampler, s->tail) : 0;
}

static dt_status open_model(sample_job *p)
{
    if (sampling_open(&p->with, p->s->num_samples) != DT_OK) return p->c->error.status;
    p->drawing = p->with.drawing;
    p->drawing.shared = true;
    return sampling_end(&p->with, &p->drawing.sampler, tail_steps(p));
}

static dt_status open_folder(sample_job *p)
{
    const int64_t saved = p->s->save_images < 0 ? p->s->num_samples : p->s->save_images;
    const bool measured = wants_statistics(p);
    if (measured && meter_open(p->c, &p->meter, p->s, p->s->feature_weights, model_kinds_all) != DT_OK)
        return p->c->error.status;
    p->folder = sampling_folder(&p->with, p->s, saved, tail_steps(p), measured ? &p->meter : NULL);
    return sample_folder_open(&p->folder, &p->c->error);
}

static dt_status check_space(const sample_job *p)
{
    dt_error *err = &p->c->error;
    const sample_folder *f = &p->folder;
    const int64_t bytes = sample_folder_missing_bytes(f);
    if (file_check_space(p->s->output_dir, bytes, "the images", err) != DT_OK || !p->s->save_stack[0])
        return err->status;
    return file_check_space(p->s->save_stack, p->s->num_samples * f->size * f->size * 3, "the stack of images", err);
}

/* Behind the last batch come the grid and, where they are wanted, the statistics. */
static dt_status tell_need(const sample_job *p)
{
    const statistics_kind kind = meter_kind(&p->meter);
    const int64_t grid = sample_folder_grid_bytes(&p->folder);
    const int64_t numbers =
        wants_statistics(p) ? statistics_bytes(&kind, p->s->save_features ? p->s->num_samples : 0) : 0;
    return drawing_tell_need(p->c, &p->drawing, p->s->num_samples - p->folder.done,
                             wants_statistics(p) ? &p->meter : NULL, p->observer, grid > numbers ? grid : numbers);
}

/* ---- drawing ---- */

/* Appends the features of a batch in one piece. */
static dt_status keep_features(sample_job *p, drawn *b)
{
    ctx *c = p->c;
    const arena_place mark = arena_mark(&c->scratch);
    const float *rows = drawing_features(c, &p->drawing, &p->meter, b);
    if (rows) feature_rows_append(&p->folder.rows, rows, b->n, &c->error);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

/* Time left is reckoned from what this call has drawn. */
static bool tell(const sample_job *p, int64_t done)
{
    const double seconds = clock_s() - p->started_s, made = (double)(done - p->before);
    return watch_progress(p->observer, "sample", done, p->s->num_samples, made > 0 ? seconds * (double)done / made : 0);
}

/* Files first: an image with features is an image that is there. */
static bool keep_batch(void *user, drawn *b)
{
    sample_job *p = user;
    dt_error *err = &p->c->error;
    const int64_t values = sample_values(drawing_picture_shape(&p->drawing)), done = b->first + b->n;
    for (int64_t i = 0; i < b->n && err->status == DT_OK; i++)
        sample_folder_save(&p->folder, b->pictures + i * values, b->first + i, err);
    if (err->status == DT_OK && wants_statistics(p)) keep_features(p, b);
    if (err->status == DT_OK && !tell(p, done) && done < p->s->num_samples)
        error_set(err, DT_ERR_INTERRUPTED, "%s: stopped after %lld of %lld images", p->s->output_dir, (long long)done,
                  (long long)p->s->num_samples);
    return err->status == DT_OK;
}

static dt_status draw_all(sample_job *p)
{
    p->before = p->folder.done;
    return drawing_run(p->c, &p->drawing, p->folder.done, p->s->num_samples, keep_batch, p);
}

static dt_status save_statistics(sample_job *p)
{
    statistics all;
    dt_error *err = &p->c->error;
    const bool rows = p->s->save_features;
    if (meter_statistics(p->c, &p->meter, &all, rows) != DT_OK) return err->status;
    if (feature_rows_add_to(p->c, &all, &p->folder.rows, p->s->num_samples) == DT_OK &&
        statistics_finish(&all, err) == DT_OK)
        (rows ? statistics_save_with_rows : statistics_save)(&all, p->s->save_statistics, err);
    statistics_close(&all);
    return err->status;
}

static dt_status finish(sample_job *p)
{
    bool labelled;
    if (sample_folder_grid(&p->folder, &labelled, &p->c->error) != DT_OK) return p->c->error.status;
    if (!labelled) say(p->observer->log, p->observer->user, "grid.png has no class names: fontconfig found no font");
    if (p->s->save_stack[0] && sample_folder_stack(p->c, &p->folder, p->s->save_stack) != DT_OK)
        return p->c->error.status;
    return wants_statistics(p) ? save_statistics(p) : DT_OK;
}

dt_status dt_sample(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    together t;
    observer = together_observer(&t, c, api_observer(observer));
    sample_job p = {.c = c, .s = s, .observer = observer, .with = {.c = c, .s = s, .observer = observer}};
    p.started_s = clock_s();
    if (api_enter(c, s, SETTINGS_SAMPLE, observer) != DT_OK) return api_leave(c);
    const bool opened = open_model(&p) == DT_OK;
    if (opened && rank_follows(c->ranks)) {
        drawing_follow(c, &p.drawing, observer->should_stop, observer->user);
    } else if (opened && open_folder(&p) == DT_OK) {
        sampling_tell(&p.with, tail_steps(&p));
        api_tell_beyond(observer, s->output_dir, p.folder.holds, "num_samples", s->num_samples);
        if (check_space(&p) == DT_OK && tell_need(&p) == DT_OK && draw_all(&p) == DT_OK) finish(&p);
        sample_folder_close(&p.folder);
    }
    meter_close(&p.meter);
    sampling_close(&p.with);
    return api_leave(c);
}
