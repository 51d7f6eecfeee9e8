#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "api/sample_folder.h"
#include "base/clock.h"
#include "base/say.h"
#include "data/watch.h"
#include "measure/drawing.h"
#include "model/maker.h"

typedef struct sampling {
    ctx *c;
    const dt_settings *s;
    const dt_observer *observer;
    denoiser model, guide; /* the guide is open where guidance_model is given */
    model_info info, guide_info;
    codec codec;
    class_list classes;
    drawing drawing;
    meter meter; /* open where statistics are wanted */
    sample_folder folder;
    double started_s;
    int64_t before; /* samples that were there when this call began */
} sampling;

static bool wants_statistics(const sampling *p)
{
    return p->s->save_statistics[0] != '\0';
}

/* What makes an image what it is; the same text again means that the same images are being drawn. */
static void describe(const sampling *p, char out[SAMPLE_TEXT_MAX])
{
    const dt_settings *s = p->s;
    snprintf(
        out, SAMPLE_TEXT_MAX,
        "sampler %s, steps %lld, spacing %s, eta %g, clip_sample %s, guidance_scale %g on %s channels, %s, seed %lld, "
        "model sha256 %s%s%s, classes %s%s",
        settings_word(s, "sampler"), (long long)s->num_inference_steps, api_spacing_word(s), s->eta,
        s->clip_sample ? "yes" : "no", s->guidance_scale, settings_word(s, "guidance_channels"),
        s->mixed_precision == DT_PRECISION_BF16 ? "bf16" : "f32", (long long)s->seed, p->info.sha256,
        p->codec.kind == CODEC_PIXELS ? "" : ", vae sha256 ", p->codec.sha256, s->classes[0] ? s->classes : "all",
        s->class_order == DT_CLASSES_RANDOM ? " drawn evenly" : " in turn");
    const size_t used = strlen(out);
    if (s->guidance_model[0] || s->guidance_interval[0])
        snprintf(out + used, SAMPLE_TEXT_MAX - used, ", guided by %s told %s, at t %s",
                 s->guidance_model[0] ? p->guide_info.sha256 : "itself",
                 s->guidance_condition == DT_GUIDE_BY_SAME ? "the same" : "nothing",
                 s->guidance_interval[0] ? s->guidance_interval : "all");
    const size_t so_far = strlen(out);
    if (s->nag_scale > 0) snprintf(out + so_far, SAMPLE_TEXT_MAX - so_far, ", nag_scale %g", s->nag_scale);
}

/* ---- opening ---- */

/* The other branch's model, of which adapters and blends are not asked. */
static dt_status open_guide(sampling *p)
{
    ctx *c = p->c;
    const dt_settings *s = p->s;
    if (!s->guidance_model[0] || s->guidance_scale == 1) return c->error.status;
    const model_choice choice = {.process = s->process, .observer = p->observer};
    if (denoiser_load_as(c, &p->guide, &p->guide_info, s->guidance_model, &choice, model_kinds_all) != DT_OK)
        return c->error.status;
    return sampler_guide_by(&p->drawing.sampler, &p->guide, s->guidance_condition == DT_GUIDE_BY_SAME,
                            s->guidance_model, &c->error);
}

static dt_status open_model(sampling *p)
{
    ctx *c = p->c;
    const dt_settings *s = p->s;
    p->drawing = (drawing){.labels = &p->classes, .codec = &p->codec, .batch = s->sample_batch_size};
    model_choice choice = model_choice_of(s, p->observer);
    choice.length = s->ema_length;
    if (denoiser_load_as(c, &p->model, &p->info, s->pretrained_model, &choice, model_kinds_all) != DT_OK ||
        sampler_open(&p->drawing.sampler, &p->model, s, &c->error) != DT_OK || open_guide(p) != DT_OK ||
        codec_open_for(c, &p->codec, s->vae, s->pretrained_model, p->model.shape.channels) != DT_OK)
        return c->error.status;
    return class_list_read(&p->classes, c, s, &p->info, p->model.class_count);
}

/* Of one image: what all distances use, and behind it what sFID uses. */
static int64_t row_values(const sampling *p)
{
    return p->meter.features.dim + p->meter.features.spatial_dim;
}

static dt_status open_folder(sampling *p)
{
    const int64_t count = p->s->num_samples, saved = p->s->save_images;
    const sample_shape shape = drawing_picture_shape(&p->drawing);
    p->folder = (sample_folder){.s = p->s,
                                .classes = &p->classes,
                                .info = &p->info,
                                .channels = shape.channels,
                                .size = shape.height,
                                .saved = saved < 0 || saved > count ? count : saved,
                                .rows = {.fd = -1}};
    describe(p, p->folder.text);
    if (wants_statistics(p)) {
        if (meter_open(p->c, &p->meter, p->s, p->s->feature_weights, model_kinds_all) != DT_OK)
            return p->c->error.status;
        p->folder.feature = p->meter.features.identity;
    }
    return sample_folder_open(&p->folder, row_values(p), &p->c->error);
}

/* PNGs of the usual pictures take at least a quarter of their pixels' bytes, rows and the stack what they hold. */
static dt_status check_space(const sampling *p)
{
    dt_error *err = &p->c->error;
    const sample_folder *f = &p->folder;
    const int64_t pixels = f->size * f->size * 3, row = row_values(p) * (int64_t)sizeof(float);
    const int64_t missing = p->s->num_samples - f->done;
    int64_t images = missing < f->saved ? missing : f->saved, bytes = images * (pixels / 4);
    if (wants_statistics(p)) bytes += missing * row;
    if (file_check_space(p->s->output_dir, bytes, "the images", err) != DT_OK || !p->s->save_stack[0])
        return err->status;
    return file_check_space(p->s->save_stack, p->s->num_samples * pixels, "the stack of images", err);
}

/* Behind the last batch come the grid and, where they are wanted, the statistics. */
static dt_status tell_need(const sampling *p)
{
    const statistics_kind kind = meter_kind(&p->meter);
    const int64_t grid = sample_folder_grid_bytes(&p->folder);
    const int64_t numbers =
        wants_statistics(p) ? statistics_bytes(&kind, p->s->save_features ? p->s->num_samples : 0) : 0;
    return drawing_tell_need(p->c, &p->drawing, p->s->num_samples - p->folder.done,
                             wants_statistics(p) ? &p->meter : NULL, p->observer, grid > numbers ? grid : numbers);
}

/* ---- drawing ---- */

static void tell_codec(const sampling *p)
{
    if (codec_is_another(&p->codec, p->info.metadata))
        say(p->observer->log, p->observer->user, "%s was trained on latents of another codec than %s",
            p->s->pretrained_model, p->s->vae);
}

/* DiT's default guides three channels only: of its latents of four, a known oddity; of wider ones, next to nothing. */
static void tell_guidance(const sampling *p)
{
    const dt_settings *s = p->s;
    const int64_t channels = p->model.shape.channels;
    if ((s->guidance_scale == 1 && s->nag_scale == 0) || s->guidance_channels == DT_GUIDE_ALL || channels <= 4) return;
    say(p->observer->log, p->observer->user,
        "guidance acts on 3 of %lld channels; guidance_channels all guides every one", (long long)channels);
}

static void tell_beyond(const sampling *p)
{
    const int64_t asked = p->s->num_samples;
    if (p->folder.beyond == 0) return;
    say(p->observer->log, p->observer->user, "%s holds %lld images, num_samples is %lld: those beyond stay",
        p->s->output_dir, (long long)(asked + p->folder.beyond), (long long)asked);
}

/* Appends the features of a batch in one piece. */
static dt_status keep_features(sampling *p, drawn *b)
{
    ctx *c = p->c;
    const arena_place mark = arena_mark(&c->scratch);
    const float *rows = drawing_features(c, &p->drawing, &p->meter, b);
    if (rows) feature_rows_append(&p->folder.rows, rows, b->n, &c->error);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

/* Time left is reckoned from what this call has drawn. */
static bool tell(const sampling *p, int64_t done)
{
    const double seconds = clock_s() - p->started_s, made = (double)(done - p->before);
    return watch_progress(p->observer, "sample", done, p->s->num_samples, made > 0 ? seconds * (double)done / made : 0);
}

/* Files first: an image with features is an image that is there. */
static bool keep_batch(void *user, drawn *b)
{
    sampling *p = user;
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

static dt_status draw_all(sampling *p)
{
    p->before = p->folder.done;
    return drawing_run(p->c, &p->drawing, p->folder.done, p->s->num_samples, keep_batch, p);
}

static dt_status save_statistics(sampling *p)
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

static dt_status finish(sampling *p)
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
    sampling p = {.c = c, .s = s, .observer = api_observer(observer), .started_s = clock_s()};
    if (api_enter(c, s, SETTINGS_SAMPLE, p.observer) != DT_OK) return api_leave(c);
    if (open_model(&p) == DT_OK && open_folder(&p) == DT_OK) {
        tell_codec(&p);
        tell_guidance(&p);
        tell_beyond(&p);
        if (check_space(&p) == DT_OK && tell_need(&p) == DT_OK && draw_all(&p) == DT_OK) finish(&p);
        sample_folder_close(&p.folder);
    }
    meter_close(&p.meter);
    model_info_free(&p.info);
    model_info_free(&p.guide_info);
    return api_leave(c);
}
