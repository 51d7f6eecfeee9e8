/* The ideal denoiser of a set of pictures: limits, losses over t, and a network beside it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/ideal_file.h"
#include "base/clock.h"
#include "data/need.h"
#include "data/picture_file.h"
#include "data/watch.h"
#include "file/folder.h"
#include "file/lock.h"
#include "file/names.h"
#include "image/grid.h"
#include "measure/ideal_bands.h"
#include "model/file/of_run.h"
#include "model/ideal/ideal.h"
#include "tensor/rehearsal.h"

enum { GRID_PICTURES = 4, GRID_LEVELS = 10 };
static const int32_t grid_levels[GRID_LEVELS] = {0, 50, 100, 200, 300, 400, 500, 600, 800, SCHEDULE_STEPS - 1};

/* A set as values of the denoisers: pictures on disk, or latents. */
typedef struct source {
    picture_file pictures; /* of a set of pixels that the ideal goes through */
    examples examples;     /* of another one */
    ideal_set set;
} source;

typedef struct ideal_job {
    ctx *c;
    const dt_settings *s;
    watch watch;
    file_lock lock;
    denoiser model, ideal; /* the model is open where pretrained_model is given */
    model_info info;
    codec codec;
    latent_cache cache; /* of latents */
    source known, other;
    int64_t done, all; /* examples */
} ideal_job;

/* ---- sets ---- */

static void get_picture(const void *user, real *x, int64_t i)
{
    picture_file_get(x, user, i);
}

static void get_example(const void *user, real *x, int64_t i)
{
    examples_get(x, user, i, false, NULL);
}

static void get_block(const void *user, real *x, int64_t first, int64_t n)
{
    const ideal_job *p = user;
    const int64_t values = sample_values(p->ideal.shape);
    for (int64_t i = 0; i < n; i++) p->known.set.get(p->known.set.user, x + i * values, first + i);
}

static examples_options options_of(ideal_job *p, bool held_out)
{
    const dt_settings *s = p->s;
    const bool latents = p->codec.kind != CODEC_PIXELS;
    return (examples_options){.codec = &p->codec,
                              .cache = latents ? &p->cache : NULL,
                              .resolution = p->model.ops ? p->model.shape.height * p->codec.factor : s->resolution,
                              .background = s->background,
                              .strict = s->strict,
                              .memory_limit_bytes = examples_memory(),
                              .held_out = held_out,
                              .watch = watch_data(&p->watch)};
}

/* The set that the ideal knows may be larger than memory. */
static dt_status open_known(ideal_job *p, const examples_options *o)
{
    source *k = &p->known;
    if (p->codec.kind == CODEC_PIXELS) {
        picture_file_open(p->c, &k->pictures, p->s->train_data, p->s->output_dir, o);
        k->set = (ideal_set){k->pictures.count, get_picture, &k->pictures};
    } else {
        examples_open(p->c, &k->examples, p->s->train_data, o);
        k->set = (ideal_set){k->examples.count, get_example, &k->examples};
    }
    return p->c->error.status;
}

static dt_status open_other(ideal_job *p)
{
    source *k = &p->other;
    examples_options o = options_of(p, true);
    if (!p->s->validation_data[0]) return DT_OK;
    examples_open(p->c, &k->examples, p->s->validation_data, &o);
    k->set = (ideal_set){k->examples.count, get_example, &k->examples};
    return p->c->error.status;
}

static dt_status open_sets(ideal_job *p)
{
    dt_error *err = &p->c->error;
    const examples_options o = options_of(p, false);
    if (codec_check_resolution(&p->codec, o.resolution, p->s->vae, err) != DT_OK) return err->status;
    if (o.cache && latent_cache_open(&p->cache, p->s->cache_dir, &p->codec, o.resolution, p->s->background, &o.watch,
                                     err) != DT_OK)
        return err->status;
    if (open_known(p, &o) != DT_OK || open_other(p) != DT_OK) return err->status;
    return o.cache ? latent_cache_finish(&p->cache, err) : DT_OK;
}

/* ---- opening ---- */

static dt_status open_model(ideal_job *p)
{
    ctx *c = p->c;
    const dt_settings *s = p->s;
    const model_choice choice = model_choice_of(s, p->watch.observer);
    if (!s->pretrained_model[0] && s->vae[0]) return codec_open(c, &p->codec, s->vae);
    p->codec = codec_of_pixels(3);
    if (!s->pretrained_model[0]) return DT_OK;
    if (denoiser_load_as(c, &p->model, &p->info, s->pretrained_model, &choice, model_kinds_all) != DT_OK)
        return c->error.status;
    if (codec_open_for(c, &p->codec, s->vae, s->pretrained_model, p->model.shape.channels) == DT_OK)
        of_run_tell_others(p->info.metadata, &(of_run_use){s->pretrained_model, s->vae, p->codec.sha256, "", ""},
                           p->watch.observer);
    return c->error.status;
}

/* The process is the model's, for it is what noise is put on by. */
static dt_status open_ideal(ideal_job *p)
{
    const process straight = {NOISE_STRAIGHT, PREDICTS_VELOCITY, false}, usual = {NOISE_LINEAR, PREDICTS_NOISE, false};
    const int64_t side = options_of(p, false).resolution / p->codec.factor;
    p->ideal.shape = (sample_shape){p->codec.channels, side, side};
    const ideal_source from = {.count = p->known.set.count, .shape = p->ideal.shape, .get = get_block, .user = p};
    return ideal_open(p->c, &p->ideal, &from,
                      p->model.ops                      ? p->model.process
                      : p->s->process == DT_PROCESS_SIT ? straight
                                                        : usual);
}

static bool count_examples(void *user, int64_t n)
{
    ideal_job *p = user;
    p->done += n;
    return watch_go_on(&p->watch, p->done, p->all);
}

static ideal_plan plan_of(ideal_job *p, const source *set)
{
    const int64_t wanted = p->s->validation_count;
    return (ideal_plan){.c = p->c,
                        .ideal = &p->ideal,
                        .model = p->model.ops ? &p->model : NULL,
                        .known = &p->known.set,
                        .set = &set->set,
                        .seed = (uint64_t)p->s->seed,
                        .batch = p->s->sample_batch_size,
                        .examples = wanted < set->set.count ? wanted : set->set.count,
                        .told = count_examples,
                        .user = p};
}

static int64_t grid_values(const ideal_job *p)
{
    const int64_t side = p->ideal.shape.height * p->codec.factor;
    return (int64_t)2 * GRID_PICTURES * GRID_LEVELS * codec_picture_channels(&p->codec) * side * side;
}

static dt_status tell_need(ideal_job *p)
{
    ctx *c = p->c;
    rehearsal r;
    const ideal_plan plan = plan_of(p, &p->known);
    const int64_t grid = grid_values(p) * (int64_t)sizeof(float);
    rehearsal_begin(c, &r);
    ideal_rehearse(&plan);
    rehearsal_end(c, &r);
    if (!ctx_failed(c)) need_tell(c, p->watch.observer, ideal_pass_bytes(&p->ideal, plan.batch) + 2 * grid);
    return c->error.status;
}

/* ---- measuring ---- */

static dt_status measure(ideal_job *p, dt_ideal_result *r)
{
    dt_ideal_band first, last;
    const ideal_plan known = plan_of(p, &p->known), other = plan_of(p, &p->other);
    r->count = p->known.set.count;
    r->has_model = p->model.ops;
    r->has_other = p->s->validation_data[0];
    p->watch.task = "ideal";
    p->watch.started_s = clock_s();
    p->all = (2 + BAND_COUNT) * known.examples + (r->has_other ? BAND_COUNT * other.examples : 0);
    if (ideal_at(&known, 0, &first) != DT_OK || ideal_at(&known, SCHEDULE_STEPS - 1, &last) != DT_OK ||
        ideal_bands(&known, r->known) != DT_OK || (r->has_other && ideal_bands(&other, r->other) != DT_OK))
        return p->c->error.status;
    r->nearest_at_first = first.nearest;
    r->mean_at_last = last.mean;
    return DT_OK;
}

/* ---- the grid: a column for each level; of each picture a row with its noise and one of what the ideal says ---- */

/* Puts picture i of a level, decoded, into its place in x[row][level]. */
static void place(const ideal_job *p, float *x, const float *pictures, int64_t n, int row, int level)
{
    const int64_t each = grid_values(p) / (2 * GRID_PICTURES * GRID_LEVELS);
    for (int64_t i = 0; i < n; i++)
        memcpy(x + ((2 * i + row) * GRID_LEVELS + level) * each, pictures + i * each, (size_t)each * sizeof *x);
}

static dt_status fill_grid(ideal_job *p, float *x, int64_t n)
{
    ctx *c = p->c;
    const sample_shape *k = &p->ideal.shape;
    const ideal_plan plan = plan_of(p, p->s->validation_data[0] ? &p->other : &p->known);
    const size_t values = (size_t)(n * sample_values(*k)), pictures = (size_t)(grid_values(p) / 2 / GRID_LEVELS);
    const arena_place mark = arena_mark(&c->step);
    real *rows[2] = {arena_alloc(&c->step, values * sizeof(real), &c->error),
                     arena_alloc(&c->step, values * sizeof(real), &c->error)};
    float *decoded = arena_alloc(&c->step, pictures * sizeof *decoded, &c->error);
    for (int level = 0; level < GRID_LEVELS && ctx_go_on(c); level++)
        if (ideal_show(&plan, grid_levels[level], n, rows[0], rows[1]) == DT_OK && ctx_go_on(c))
            for (int row = 0; row < 2; row++)
                if (codec_decode(c, &p->codec, decoded, rows[row], n, k->height, k->width) == DT_OK)
                    place(p, x, decoded, n, row, level);
    arena_release(&c->step, mark);
    return c->error.status;
}

static dt_status draw_grid(ideal_job *p, const float *x, int64_t n)
{
    char text[GRID_LEVELS][16], *names[GRID_LEVELS], path[DT_PATH_MAX];
    image picture = {0};
    bool labelled;
    dt_error *err = &p->c->error;
    for (int i = 0; i < GRID_LEVELS; i++) {
        snprintf(text[i], sizeof text[i], "t %d", (int)grid_levels[i]);
        names[i] = text[i];
    }
    const grid_pictures grid = {.x = x,
                                .count = 2 * n * GRID_LEVELS,
                                .channels = codec_picture_channels(&p->codec),
                                .size = p->ideal.shape.height * p->codec.factor,
                                .class_list_count = GRID_LEVELS,
                                .class_name = names,
                                .class_name_count = GRID_LEVELS};
    const image_text texts[] = {{"Software", "difftune " DT_VERSION}};
    file_join(path, p->s->output_dir, "grid.png");
    if (grid_draw(&picture, &labelled, &grid, err) == DT_OK)
        image_write_png(path, picture.rgb, picture.width, picture.height, texts, 1, err);
    image_close(&picture);
    return err->status;
}

/* Of the other pictures where there are any: what the ideal makes of pictures that it does not know. */
static dt_status show(ideal_job *p)
{
    ctx *c = p->c;
    const int64_t count = p->s->validation_data[0] ? p->other.set.count : p->known.set.count;
    const int64_t n = count < GRID_PICTURES ? count : GRID_PICTURES;
    float *x = malloc((size_t)grid_values(p) * sizeof *x);
    if (!x) return error_set(&c->error, DT_ERR_MEMORY, "%s: no memory for grid.png", p->s->output_dir);
    if (fill_grid(p, x, n) == DT_OK) draw_grid(p, x, n);
    free(x);
    return c->error.status;
}

/* ---- the verb ---- */

static dt_status run(ideal_job *p, dt_ideal_result *r)
{
    dt_error *err = &p->c->error;
    const char *folder = p->s->output_dir;
    if (measure(p, r) != DT_OK || file_make_dirs(folder, err) != DT_OK ||
        file_lock_folder(&p->lock, folder, err) != DT_OK)
        return err->status;
    if (show(p) == DT_OK) ideal_write(p->s, p->info.sha256, r, err);
    return err->status;
}

static void close_source(source *k)
{
    picture_file_close(&k->pictures);
    examples_close(&k->examples);
}

dt_status dt_ideal(dt_context *c, const dt_settings *s, const dt_observer *observer, dt_ideal_result *result)
{
    ideal_job p = {.c = c, .s = s};
    p.watch = (watch){.observer = api_observer(observer), .task = "cache", .started_s = clock_s()};
    *result = (dt_ideal_result){0};
    if (api_enter(c, s, SETTINGS_IDEAL, p.watch.observer) != DT_OK) return api_leave(c);
    if (file_check_own_folder(s->output_dir, IDEAL_FILE, "ideal denoiser", &c->error) == DT_OK &&
        open_model(&p) == DT_OK && open_sets(&p) == DT_OK && open_ideal(&p) == DT_OK && tell_need(&p) == DT_OK)
        run(&p, result);
    file_unlock(&p.lock);
    close_source(&p.known);
    close_source(&p.other);
    latent_cache_close(&p.cache);
    model_info_free(&p.info);
    return api_leave(c);
}
