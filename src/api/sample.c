#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "io/grid.h"
#include "model/codec.h"
#include "model/dit_file.h"
#include "model/dit_sampler.h"
#include "base/clock.h"

typedef struct sampling {
    ctx *c;
    const dt_settings *s;
    const dt_observer *observer;
    dit model;
    dit_file_info info;
    codec codec;
    sampler sampler;
    int32_t *class_list; /* the classes drawn in turn */
    int64_t class_list_count;
    double started_s;
} sampling;

/* ---- classes ---- */

static int32_t class_of(const sampling *p, const char *word)
{
    for (int64_t i = 0; i < p->info.class_name_count; i++)
        if (!strcmp(p->info.class_name[i], word)) return (int32_t)i;
    char *end;
    long number = strtol(word, &end, 10);
    return *word && !*end && number >= 0 && number < p->model.config.class_count ? (int32_t)number : -1;
}

/* "0,3,dogs": numbers and names; nothing: all classes in turn. */
static dt_status read_classes(sampling *p)
{
    ctx *c = p->c;
    char text[DT_TEXT_MAX], *rest = text;
    int64_t all = p->model.config.class_count;
    snprintf(text, sizeof text, "%s", p->s->classes);
    p->class_list =
        arena_alloc(&c->model, (size_t)(all > DT_TEXT_MAX ? all : DT_TEXT_MAX) * sizeof(int32_t), &c->error);
    if (ctx_failed(c)) return c->error.status;
    for (const char *word; (word = strsep(&rest, ",")) && p->s->classes[0];) {
        int32_t y = class_of(p, word);
        if (y < 0)
            return error_set(&c->error, DT_ERR_ARG,
                             "classes: \"%s\" is neither a class name of the model nor a number 0..%lld", word,
                             (long long)all - 1);
        p->class_list[p->class_list_count++] = y;
    }
    for (int32_t y = 0; p->s->classes[0] == '\0' && y < all; y++) p->class_list[p->class_list_count++] = y;
    return DT_OK;
}

static int32_t label_of(const sampling *p, int64_t number)
{
    return p->class_list[number % p->class_list_count];
}

/* ---- the folder ---- */

/* What makes an image what it is; the same text again means that the same images are being drawn. */
static void describe(const sampling *p, char out[1024])
{
    static const char *const spacing[] = {"ddim", "sections", "leading"};
    const dt_settings *s = p->s;
    snprintf(
        out, 1024,
        "sampler %s, steps %lld, spacing %s, eta %g, clip_sample %s, guidance_scale %g on %s channels, %s, seed %lld, "
        "model sha256 %s%s%s, classes %s",
        s->sampler == DT_SAMPLER_DDIM ? "ddim" : "ddpm", (long long)s->num_inference_steps,
        spacing[s->timestep_spacing], s->eta, s->clip_sample ? "yes" : "no", s->guidance_scale,
        s->guidance_channels == DT_GUIDE_THREE ? "three" : "all",
        s->mixed_precision == DT_PRECISION_BF16 ? "bf16" : "f32", (long long)s->seed, p->info.sha256,
        p->codec.kind == CODEC_PIXELS ? "" : ", vae sha256 ", p->codec.sha256,
        s->classes[0] ? s->classes : "all in turn");
}

/* A folder with samples.txt of the same text is gone on with; anything else in it is somebody else's. */
static dt_status open_folder(const sampling *p)
{
    char path[DT_PATH_MAX], images[DT_PATH_MAX], text[1024], *found = NULL;
    const char *folder = p->s->output_dir;
    dt_error *err = &p->c->error;
    size_t size;
    describe(p, text);
    file_join(path, folder, "samples.txt");
    file_join(images, folder, "images");
    if (file_exists(path)) {
        if (file_read_all(&found, &size, path, 1 << 16, err) == DT_OK && strcmp(found, text))
            error_set(err, DT_ERR_CONFLICT,
                      "%s: the folder holds samples drawn otherwise (%s); choose another output_dir", folder, found);
        free(found);
    } else if (file_check_free_folder(folder, "samples", err) == DT_OK && file_make_dirs(folder, err) == DT_OK) {
        file_write_atomic(path, text, strlen(text), err);
    }
    return err->status == DT_OK ? file_make_dirs(images, err) : err->status;
}

static int64_t picture_size(const sampling *p)
{
    return p->sampler.size * p->codec.factor;
}

static dt_status save_image(const sampling *p, const float *x, int64_t number)
{
    char path[DT_PATH_MAX], name[32], label[128], text[1024];
    int32_t y = label_of(p, number);
    image picture = {0};
    describe(p, text);
    snprintf(name, sizeof name, "images/%06lld.png", (long long)number);
    snprintf(label, sizeof label, "%d %s", (int)y, y < p->info.class_name_count ? p->info.class_name[y] : "");
    file_join(path, p->s->output_dir, name);
    const image_text texts[] = {{"Software", "difftune " DT_VERSION}, {"class", label}, {"parameters", text}};
    if (image_grid(&picture, x, 1, codec_picture_channels(&p->codec), picture_size(p), picture_size(p), 1,
                   &p->c->error) == DT_OK)
        image_write_png(path, picture.rgb, picture.width, picture.height, texts, 3, &p->c->error);
    image_close(&picture);
    return p->c->error.status;
}

/* grid.png: the first images by class, under the names of the classes. */
static dt_status save_grid(const sampling *p, const float *x, int64_t count)
{
    const grid_pictures pictures = {.x = x,
                                    .count = count,
                                    .channels = codec_picture_channels(&p->codec),
                                    .size = picture_size(p),
                                    .class_list = p->class_list,
                                    .class_list_count = p->class_list_count,
                                    .class_name = p->info.class_name,
                                    .class_name_count = p->info.class_name_count};
    char path[DT_PATH_MAX], text[1024];
    image picture = {0};
    bool labelled = true;
    describe(p, text);
    file_join(path, p->s->output_dir, "grid.png");
    const image_text texts[] = {{"Software", "difftune " DT_VERSION}, {"parameters", text}};
    if (grid_draw(&picture, &labelled, &pictures, &p->c->error) == DT_OK)
        image_write_png(path, picture.rgb, picture.width, picture.height, texts, 2, &p->c->error);
    if (!labelled && p->observer->log)
        p->observer->log(p->observer->user, "grid.png has no class names: fontconfig found no font");
    image_close(&picture);
    return p->c->error.status;
}

/* ---- drawing ---- */

static dt_status open_sampler(sampling *p)
{
    if (dit_sampler_open(&p->sampler, &p->model, p->s, &p->c->error) != DT_OK ||
        codec_open_for(p->c, &p->codec, p->s->vae, p->s->pretrained_model, p->model.config.channels) != DT_OK)
        return p->c->error.status;
    return read_classes(p);
}

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

static dt_status draw_all(sampling *p)
{
    enum { GRID_MAX = 256 };
    ctx *c = p->c;
    int64_t side = p->sampler.size, count = p->s->num_samples;
    int64_t size = codec_picture_channels(&p->codec) * picture_size(p) * picture_size(p);
    int64_t shown = count < GRID_MAX ? count : GRID_MAX;
    float *grid = arena_alloc(&c->model, (size_t)(shown * size) * sizeof *grid, &c->error);
    int64_t batch = p->s->sample_batch_size;
    float *drawn =
        arena_alloc(&c->model, (size_t)(batch * p->sampler.channels * side * side) * sizeof *drawn, &c->error);
    float *x = arena_alloc(&c->model, (size_t)(batch * size) * sizeof *x, &c->error);
    for (int64_t done = 0; done < count && !ctx_failed(c);) {
        int32_t y[256];
        uint32_t index[256];
        int64_t n = count - done < batch ? count - done : batch;
        for (int64_t i = 0; i < n; i++) {
            index[i] = (uint32_t)(done + i);
            y[i] = label_of(p, done + i);
        }
        if (sampler_draw(c, &p->sampler, drawn, y, index, n) == DT_OK)
            codec_decode(c, &p->codec, x, drawn, n, side, side);
        for (int64_t i = 0; i < n && !ctx_failed(c); i++) {
            save_image(p, x + i * size, done + i);
            if (done + i < shown) memcpy(grid + (done + i) * size, x + i * size, (size_t)size * sizeof *x);
        }
        done += n;
        if (!api_progress(p->observer, "sample", done, count, clock_s() - p->started_s) && done < count)
            error_set(&c->error, DT_ERR_INTERRUPTED, "%s: stopped after %lld of %lld images", p->s->output_dir,
                      (long long)done, (long long)count);
    }
    return ctx_failed(c) ? c->error.status : save_grid(p, grid, shown);
}

dt_status dt_sample(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    sampling p = {.c = c, .s = s, .observer = api_observer(observer), .started_s = clock_s()};
    char path[DT_PATH_MAX];
    if (api_enter(c, s, SETTINGS_SAMPLE) != DT_OK) return c->error.status;
    if (dit_file_path(path, s->pretrained_model, &c->error) == DT_OK && dit_load(c, &p.model, &p.info, path) == DT_OK &&
        open_sampler(&p) == DT_OK && open_folder(&p) == DT_OK) {
        tell_codec(&p);
        tell_guidance(&p);
        draw_all(&p);
    }
    dit_file_info_free(&p.info);
    return api_leave(c);
}
