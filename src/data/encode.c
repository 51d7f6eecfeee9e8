#include "data/encode.h"

#include <stdlib.h>
#include <string.h>

#include "base/finite.h"
#include "base/clock.h"
#include "file/folder.h"

typedef struct encoder {
    ctx *c;
    const codec *codec;
    const data_watcher *watch;
    const char *path;
    int64_t resolution;
    latent_cache *cache;
    control_cache *controls;
    bool has_room; /* on the disk of the cache, for what is certainly new */
} encoder;

static dt_status check_finite(const encoder *e, const float *moments, int64_t number, int64_t copies)
{
    const int64_t side = e->resolution / e->codec->factor;
    const int64_t count = copies * codec_moment_count(e->codec) * e->codec->channels * side * side;
    if (ctx_failed(e->c) || finite_first_bad(moments, count) < 0) return e->c->error.status;
    return error_set(&e->c->error, DT_ERR_NUMERIC, "%s: picture number %lld: its latents are not finite numbers",
                     e->path, (long long)number);
}

/* moments [copies, M, C, h, w] of the picture and, with two copies, of its mirror image */
static dt_status encode_picture(const encoder *e, float *moments, const uint8_t *rgb, int64_t number, int64_t copies)
{
    ctx *c = e->c;
    int64_t side = e->resolution, pixels = 3 * side * side;
    const arena_place mark = arena_mark(&c->scratch);
    float *x = arena_alloc(&c->scratch, (size_t)(copies * pixels) * sizeof *x, &c->error);
    for (int64_t i = 0; x && i < copies; i++) image_to_floats(x + i * pixels, 3, rgb, side, i == 1);
    codec_encode(c, e->codec, moments, x, copies, side, side);
    arena_release(&c->scratch, mark);
    return check_finite(e, moments, number, copies);
}

void encode_rehearse(ctx *c, const codec *vae, int64_t resolution, int64_t copies)
{
    const int64_t side = resolution / vae->factor, values = codec_moment_count(vae) * vae->channels * side * side;
    const arena_place mark = arena_mark(&c->scratch);
    float *moments = arena_alloc(&c->scratch, (size_t)(2 * values) * sizeof *moments, &c->error);
    float *x = arena_alloc_zeroed(&c->scratch, (size_t)(copies * 3 * resolution * resolution) * sizeof *x, &c->error);
    if (moments && x) codec_encode(c, vae, moments, x, copies, resolution, resolution);
    arena_release(&c->scratch, mark);
}

/* Who does not want to be told how far it has come is asked all the same. */
static dt_status go_on(const encoder *e, int64_t done, int64_t count, dt_error *err)
{
    const data_watcher *w = e->watch;
    if (!w->go_on) {
        ctx_go_on(e->c);
        return e->c->error.status;
    }
    if (w->go_on(w->user, done, count) || done == count) return DT_OK;
    return error_set(err, DT_ERR_INTERRUPTED,
                     "%s: stopped encoding after %lld of %lld pictures; the same command goes on", e->path,
                     (long long)done, (long long)count);
}

/* ---- into the cache ---- */

static bool cache_knows(void *user, dataset_file *file)
{
    const encoder *e = user;
    dataset_file same = *file;
    return latent_cache_find(e->cache, file->content, &file->origin) &&
           (!e->controls || control_cache_find(e->controls, &same));
}

/* Of all files of the set at most those that the cache holds are known. */
static dt_status check_room(encoder *e, const dataset_file *file, dt_error *err)
{
    const latent_cache *k = e->cache;
    const int64_t new = file->count - k->shards.row_count, each = k->picture_values *(int64_t)sizeof(float);
    if (!e->has_room && new > 0) file_check_space(k->shards.folder, new *each, "encoded pictures", err);
    e->has_room = true;
    return err->status;
}

static dt_status add_moments(encoder *e, const dataset_file *file, const uint8_t *rgb, dt_error *err)
{
    ctx *c = e->c;
    if (check_room(e, file, err) != DT_OK) return err->status;
    const arena_place mark = arena_mark(&c->scratch);
    float *moments = arena_alloc(&c->scratch, (size_t)e->cache->picture_values * sizeof *moments, &c->error);
    if (moments && encode_picture(e, moments, rgb, file->number, 2) == DT_OK)
        latent_cache_add(e->cache, file, moments, err);
    arena_release(&c->scratch, mark);
    return err->status;
}

/* One of the two caches may have it, from before or because the same picture is twice in one batch. */
static dt_status cache_takes(void *user, const dataset_file *file, const uint8_t *rgb, dt_error *err)
{
    encoder *e = user;
    const bool encoded = latent_cache_find(e->cache, file->content, NULL);
    if (!encoded && add_moments(e, file, rgb, err) != DT_OK) return err->status;
    if (e->controls && control_cache_take(e->c, e->controls, file, rgb) != DT_OK) return err->status;
    return encoded && !e->controls ? DT_OK : go_on(e, file->number + 1, file->count, err);
}

dt_status encode_into_cache(ctx *c, dataset *d, const encode_caches *caches, const char *path,
                            const dataset_options *options, const codec *vae, const data_watcher *watch)
{
    encoder e = {.c = c,
                 .codec = vae,
                 .watch = watch,
                 .path = path,
                 .resolution = options->resolution,
                 .cache = caches->latents,
                 .controls = caches->controls};
    const dataset_taker taker = {.user = &e, .knows = cache_knows, .take = cache_takes};
    dataset_options how = *options;
    how.taker = &taker;
    if (dataset_open(d, path, &how, &c->error) == DT_ERR_INTERRUPTED) {
        dt_error ignored = {0}; /* what could not be kept is encoded again */
        latent_cache_finish(caches->latents, &ignored);
    }
    return c->error.status;
}

/* ---- one for all ---- */

enum { STAND_IN_TRIES = 2 }; /* the first one pays for what is done once */

typedef struct trial {
    encoder e;
    stand_in *in;
    float *moments; /* of one picture */
} trial;

static bool trial_knows(void *user, dataset_file *file)
{
    return cache_knows(&((trial *)user)->e, file);
}

static dt_status trial_takes(void *user, const dataset_file *file, const uint8_t *rgb, dt_error *err)
{
    trial *t = user;
    if (t->in->missing++ < STAND_IN_TRIES) {
        const double before = clock_s();
        encode_picture(&t->e, t->moments, rgb, file->number, 2);
        t->in->seconds = clock_s() - before;
    }
    return err->status == DT_OK ? go_on(&t->e, file->number + 1, file->count, err) : err->status;
}

dt_status encode_stand_in(ctx *c, dataset *d, float **x, stand_in *in, latent_cache *cache, const char *path,
                          const dataset_options *options, const codec *vae, const data_watcher *watch)
{
    const int64_t values = cache->picture_values / (2 * codec_moment_count(vae));
    const arena_place mark = arena_mark(&c->scratch);
    trial t = {
        .e = {.c = c, .codec = vae, .watch = watch, .path = path, .resolution = options->resolution, .cache = cache},
        .in = in,
        .moments = arena_alloc(&c->scratch, (size_t)cache->picture_values * sizeof(float), &c->error)};
    const dataset_taker taker = {.user = &t, .knows = trial_knows, .take = trial_takes};
    dataset_options how = *options;
    how.taker = &taker;
    *in = (stand_in){0};
    *x = NULL;
    if (t.moments && dataset_open(d, path, &how, &c->error) == DT_OK && in->missing > 0) {
        *x = malloc((size_t)values * sizeof **x);
        if (!*x) error_set(&c->error, DT_ERR_MEMORY, "%s: no memory for a latent", path);
        if (*x) codec_latent(*x, vae, t.moments, NULL, values);
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}

/* ---- into memory ---- */

dt_status encode_into_memory(ctx *c, dataset *d, float **x, const char *path, const dataset_options *options,
                             const codec *vae, const data_watcher *watch)
{
    const encoder e = {.c = c, .codec = vae, .watch = watch, .path = path, .resolution = options->resolution};
    int64_t side = options->resolution / vae->factor, values = vae->channels * side * side;
    if (dataset_open(d, path, options, &c->error) != DT_OK) return c->error.status;
    const arena_place mark = arena_mark(&c->scratch);
    const size_t bytes = (size_t)(values * codec_moment_count(vae)) * sizeof(float);
    float *moments = arena_alloc(&c->scratch, bytes, &c->error);
    *x = malloc((size_t)(d->count * values) * sizeof **x);
    if (!*x) error_set(&c->error, DT_ERR_MEMORY, "%s: no memory for %lld latents", path, (long long)d->count);
    for (int64_t i = 0; i < d->count && !ctx_failed(c); i++) {
        const uint8_t *rgb = d->pixels + i * 3 * options->resolution * options->resolution;
        if (encode_picture(&e, moments, rgb, i, 1) != DT_OK) break;
        codec_latent(*x + i * values, vae, moments, NULL, values);
        go_on(&e, i + 1, d->count, &c->error);
    }
    arena_release(&c->scratch, mark);
    free(d->pixels);
    d->pixels = NULL;
    return c->error.status;
}
