#include "api/api.h"
#include "base/clock.h"
#include "base/say.h"
#include "data/examples.h"
#include "data/need.h"
#include "data/watch.h"

static void tell(const dt_observer *observer, const latent_cache *cache, const examples *e, const char *path)
{
    say(observer->log, observer->user, "%s: %lld pictures encoded; %s holds %lld", path, (long long)e->count,
        cache->shards.folder, (long long)cache->shards.row_count);
}

static dt_status encode_set(ctx *c, const examples_options *o, const dt_observer *observer, const char *path)
{
    examples e;
    if (!path[0] || examples_open(c, &e, path, o) != DT_OK) return c->error.status;
    tell(observer, o->cache, &e, path);
    examples_close(&e);
    return c->error.status;
}

/* One set is read after the other. */
static dt_status tell_need(ctx *c, const dt_settings *s, const examples_options *o, const dt_observer *observer)
{
    examples_options held_out = *o;
    examples_size train, validation = {0};
    held_out.held_out = true;
    if (examples_measure(c, &train, s->train_data, o) != DT_OK ||
        (s->validation_data[0] && examples_measure(c, &validation, s->validation_data, &held_out) != DT_OK))
        return c->error.status;
    const int64_t a = train.kept_bytes + train.opening_bytes, b = validation.kept_bytes + validation.opening_bytes;
    need_tell(c, observer, a > b ? a : b);
    return DT_OK;
}

dt_status dt_cache(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    codec vae;
    latent_cache cache = {0};
    watch w = {.observer = api_observer(observer), .task = "cache", .started_s = clock_s()};
    if (api_enter(c, s, SETTINGS_CACHE, w.observer) != DT_OK || codec_open(c, &vae, s->vae) != DT_OK)
        return api_leave(c);
    examples_options o = {.codec = &vae,
                          .cache = &cache,
                          .resolution = s->resolution,
                          .background = s->background,
                          .strict = s->strict,
                          .watch = watch_data(&w)};
    if (codec_check_resolution(&vae, s->resolution, s->vae, &c->error) == DT_OK &&
        latent_cache_open(&cache, s->cache_dir, &vae, s->resolution, s->background, &o.watch, &c->error) == DT_OK &&
        tell_need(c, s, &o, w.observer) == DT_OK && encode_set(c, &o, w.observer, s->train_data) == DT_OK) {
        o.held_out = true;
        if (encode_set(c, &o, w.observer, s->validation_data) == DT_OK) latent_cache_finish(&cache, &c->error);
    }
    latent_cache_close(&cache);
    return api_leave(c);
}
