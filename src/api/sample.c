#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "api/sample_folder.h"
#include "base/clock.h"
#include "model/codec/codec.h"
#include "model/dit/dit_sampler.h"
#include "measure/meter.h"
#include "run/watch.h"

enum { BATCH_MAX = 256 };

typedef struct sampling {
    ctx *c;
    const dt_settings *s;
    const dt_observer *observer;
    dit model;
    dit_file_info info;
    codec codec;
    sampler sampler;
    class_list classes;
    meter meter; /* open where statistics are wanted */
    sample_folder folder;
    double started_s;
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
        settings_word(s, "sampler"), (long long)s->num_inference_steps, settings_word(s, "timestep_spacing"), s->eta,
        s->clip_sample ? "yes" : "no", s->guidance_scale, settings_word(s, "guidance_channels"),
        s->mixed_precision == DT_PRECISION_BF16 ? "bf16" : "f32", (long long)s->seed, p->info.sha256,
        p->codec.kind == CODEC_PIXELS ? "" : ", vae sha256 ", p->codec.sha256, s->classes[0] ? s->classes : "all",
        s->class_order == DT_CLASSES_RANDOM ? " drawn evenly" : " in turn");
}

/* ---- opening ---- */

static dt_status open_model(sampling *p)
{
    char path[DT_PATH_MAX];
    ctx *c = p->c;
    if (dit_file_path(path, p->s->pretrained_model, &c->error) != DT_OK ||
        dit_load(c, &p->model, &p->info, path) != DT_OK ||
        dit_sampler_open(&p->sampler, &p->model, p->s, &c->error) != DT_OK ||
        codec_open_for(c, &p->codec, p->s->vae, p->s->pretrained_model, p->model.config.channels) != DT_OK)
        return c->error.status;
    return class_list_read(&p->classes, c, p->s, &p->info, p->model.config.class_count);
}

/* Of one image: what all distances use, and behind it what sFID uses. */
static int64_t row_values(const sampling *p)
{
    return p->meter.features.dim + p->meter.features.spatial_dim;
}

static dt_status open_folder(sampling *p)
{
    int64_t count = p->s->num_samples, saved = p->s->save_images;
    p->folder = (sample_folder){.s = p->s,
                                .classes = &p->classes,
                                .info = &p->info,
                                .channels = codec_picture_channels(&p->codec),
                                .size = p->sampler.size * p->codec.factor,
                                .saved = saved < 0 || saved > count ? count : saved,
                                .rows = {.fd = -1}};
    describe(p, p->folder.text);
    if (wants_statistics(p)) {
        if (meter_open(p->c, &p->meter, p->s, p->s->feature_weights) != DT_OK) return p->c->error.status;
        p->folder.feature = p->meter.features.identity;
    }
    return sample_folder_open(&p->folder, row_values(p), &p->c->error);
}

/* ---- drawing ---- */

static void tell_codec(const sampling *p)
{
    char line[2 * DT_PATH_MAX + 64];
    if (!codec_is_another(&p->codec, p->info.metadata) || !p->observer->log) return;
    snprintf(line, sizeof line, "%s was trained on latents of another codec than %s", p->s->pretrained_model,
             p->s->vae);
    p->observer->log(p->observer->user, line);
}

/* DiT's default guides three channels only: of its latents of four, a known oddity; of wider ones, next to nothing. */
static void tell_guidance(const sampling *p)
{
    char line[160];
    const dt_settings *s = p->s;
    if (s->guidance_scale == 1 || s->guidance_channels == DT_GUIDE_ALL || p->sampler.channels <= 4) return;
    snprintf(line, sizeof line, "guidance acts on 3 of %lld channels; guidance_channels all guides every one",
             (long long)p->sampler.channels);
    if (p->observer->log) p->observer->log(p->observer->user, line);
}

static int64_t drawn_values(const sampling *p)
{
    return p->sampler.channels * p->sampler.size * p->sampler.size;
}

static int64_t picture_values(const sampling *p)
{
    return p->folder.channels * p->folder.size * p->folder.size;
}

/* Appends the features of images first..first+n-1 in one piece: of latents as they are where the base sees latents, else
 * of pictures as the files would show them. */
static dt_status keep_features(sampling *p, const float *drawn, float *pictures, int64_t first, int64_t n)
{
    ctx *c = p->c;
    const features *f = &p->meter.features;
    bool of_latents = f->kind == DT_FEATURE_BASE && p->codec.kind != CODEC_PIXELS;
    const arena_place mark = arena_mark(&c->scratch);
    float *rows = arena_alloc(&c->scratch, (size_t)(n * row_values(p)) * sizeof *rows, &c->error);
    image_as_shown(pictures, n * picture_values(p));
    if (!rows) return c->error.status;
    if (of_latents)
        features_rows(c, f, rows, drawn, p->sampler.channels, p->sampler.size, first, n);
    else
        features_rows(c, f, rows, pictures, p->folder.channels, p->folder.size, first, n);
    if (!ctx_failed(c)) feature_rows_append(&p->folder.rows, rows, n, &c->error);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

/* Files first: an image with features is an image that is there. */
static dt_status draw_batch(sampling *p, float *drawn, float *pictures, int64_t first, int64_t n)
{
    ctx *c = p->c;
    int32_t y[BATCH_MAX];
    uint32_t index[BATCH_MAX];
    for (int64_t i = 0; i < n; i++) {
        index[i] = (uint32_t)(first + i);
        y[i] = class_list_at(&p->classes, first + i);
    }
    if (sampler_draw(c, &p->sampler, drawn, y, index, n) == DT_OK)
        codec_decode(c, &p->codec, pictures, drawn, n, p->sampler.size, p->sampler.size);
    for (int64_t i = 0; i < n && !ctx_failed(c); i++)
        sample_folder_save(&p->folder, pictures + i * picture_values(p), first + i, &c->error);
    if (!ctx_failed(c) && wants_statistics(p)) keep_features(p, drawn, pictures, first, n);
    return c->error.status;
}

/* Time left is reckoned from what this call has drawn. */
static bool tell(const sampling *p, int64_t before, int64_t done, int64_t count)
{
    double seconds = clock_s() - p->started_s;
    double drawn = (double)(done - before);
    return watch_progress(p->observer, "sample", done, count, drawn > 0 ? seconds * (double)done / drawn : 0);
}

static dt_status draw_all(sampling *p)
{
    ctx *c = p->c;
    int64_t count = p->s->num_samples, before = p->folder.done, batch = p->s->sample_batch_size;
    float *drawn = arena_alloc(&c->model, (size_t)(batch * drawn_values(p)) * sizeof *drawn, &c->error);
    float *pictures = arena_alloc(&c->model, (size_t)(batch * picture_values(p)) * sizeof *pictures, &c->error);
    for (int64_t done = before; done < count && !ctx_failed(c);) {
        int64_t n = count - done < batch ? count - done : batch;
        if (draw_batch(p, drawn, pictures, done, n) != DT_OK) break;
        done += n;
        if (!tell(p, before, done, count) && done < count)
            error_set(&c->error, DT_ERR_INTERRUPTED, "%s: stopped after %lld of %lld images", p->s->output_dir,
                      (long long)done, (long long)count);
    }
    return c->error.status;
}

static dt_status save_statistics(sampling *p)
{
    statistics all;
    dt_error *err = &p->c->error;
    if (meter_statistics(p->c, &p->meter, &all, false) != DT_OK) return err->status;
    if (feature_rows_add_to(&all, &p->folder.rows, p->s->num_samples, err) == DT_OK &&
        statistics_finish(&all, err) == DT_OK)
        statistics_save(&all, p->s->save_statistics, err);
    statistics_close(&all);
    return err->status;
}

static dt_status finish(sampling *p)
{
    bool labelled;
    if (sample_folder_grid(&p->folder, &labelled, &p->c->error) != DT_OK) return p->c->error.status;
    if (!labelled && p->observer->log)
        p->observer->log(p->observer->user, "grid.png has no class names: fontconfig found no font");
    if (p->s->save_stack[0] && sample_folder_stack(&p->folder, p->s->save_stack, &p->c->error) != DT_OK)
        return p->c->error.status;
    return wants_statistics(p) ? save_statistics(p) : DT_OK;
}

dt_status dt_sample(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    sampling p = {.c = c, .s = s, .observer = api_observer(observer), .started_s = clock_s()};
    if (api_enter(c, s, SETTINGS_SAMPLE) != DT_OK) return c->error.status;
    if (open_model(&p) == DT_OK && open_folder(&p) == DT_OK) {
        tell_codec(&p);
        tell_guidance(&p);
        if (draw_all(&p) == DT_OK) finish(&p);
        sample_folder_close(&p.folder);
    }
    meter_close(&p.meter);
    dit_file_info_free(&p.info);
    return api_leave(c);
}
