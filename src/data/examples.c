#include "data/examples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nettle/sha2.h>

#include "data/context_cache.h"
#include "tensor/rehearsal.h"

static bool go_on(void *user)
{
    return ctx_go_on(user);
}

static dataset_options dataset_options_of(ctx *c, const examples_options *o)
{
    return (dataset_options){.resolution = o->resolution,
                             .background = o->background,
                             .strict = o->strict,
                             .memory_limit_bytes = o->memory_limit_bytes,
                             .threads = c->threads,
                             .class_name = o->class_name,
                             .class_count = o->class_count,
                             .held_out = o->held_out,
                             .at_most = o->at_most,
                             .first = o->first,
                             .go_on = go_on,
                             .go_on_user = c};
}

static void tell(const examples_options *o, const dataset *d)
{
    char line[DT_PATH_MAX + 128];
    if (!o->watch.log) return;
    snprintf(line, sizeof line, "%s%s%s: %lld images of %lld classes at %lldx%lld, %lld skipped", d->path,
             d->split[0] ? ", split " : "", d->split, (long long)d->count, (long long)d->class_count,
             (long long)d->resolution, (long long)d->resolution, (long long)d->report.skip_count);
    o->watch.log(o->watch.user, line);
    if (d->caption_first)
        say(o->watch.log, o->watch.user, "  %lld captions of %lld images; %lld are told the default prompt",
            (long long)(d->caption_first[d->count] - d->count + d->captioned), (long long)d->captioned,
            (long long)(d->count - d->captioned));
    if (d->control) say(o->watch.log, o->watch.user, "  %lld control pictures", (long long)d->count);
    report_tell_skips(&d->report, o->watch.log, o->watch.user);
}

/* ---- what is told ---- */

/* Maps are made of the pictures. */
static bool makes_controls(const examples_options *o)
{
    return o->told && o->told->controls && o->told->controls->maker.make;
}

/* Who takes control pictures. */
typedef struct control_taker {
    ctx *c;
    const examples_options *o;
} control_taker;

static bool control_is_known(void *user, dataset_file *file)
{
    const control_taker *k = user;
    return control_cache_find(k->o->told->controls, file);
}

static dt_status take_control(void *user, const dataset_file *file, const uint8_t *rgb, dt_error *err)
{
    const control_taker *k = user;
    const data_watcher *w = &k->o->watch;
    if (!k->o->rehearsal) control_cache_take(k->c, k->o->told->controls, file, rgb);
    if (err->status == DT_OK && w->go_on && !w->go_on(w->user, file->number + 1, file->count))
        error_set(err, DT_ERR_INTERRUPTED, "stopped after %lld of %lld control pictures; the same command goes on",
                  (long long)file->number + 1, (long long)file->count);
    return err->status;
}

static dt_status tell_contexts(ctx *c, examples *e, const examples_options *o)
{
    const context_encoder *encoder = o->told->encoder;
    const dataset *d = &e->pictures;
    const int64_t rows = d->caption_first[d->count];
    const size_t bytes = (size_t)(d->count + 1) * sizeof *e->context.first;
    e->context = (example_table){.dim_count = 2, .dim = {encoder->tokens, encoder->width}, .first = malloc(bytes)};
    if (!e->context.first) return error_set(&c->error, DT_ERR_MEMORY, "%s: no memory for its captions", d->path);
    memcpy(e->context.first, d->caption_first, bytes);
    if (example_table_await(&e->context, rows, &c->error) != DT_OK) return c->error.status;
    for (int64_t i = 0; i < rows; i++) context_cache_key(e->context.key[i], d->caption[i]);
    if (o->rehearsal) return DT_OK;
    const char *const *caption = (const char *const *)d->caption;
    context_cache_fill(c, o->told->contexts, encoder, caption, rows, &o->watch);
    return context_tell_cut(c, encoder, "captions", caption, rows, &o->watch);
}

/* The map of a picture in memory is known by its square. */
static dt_status make_control(ctx *c, uint8_t key[SHARD_KEY], const dataset *d, int64_t i, const examples_options *o)
{
    const size_t bytes = (size_t)(3 * d->resolution * d->resolution);
    const uint8_t *rgb = d->pixels + (size_t)i * bytes;
    dataset_file file = {.number = i, .count = d->count};
    struct sha256_ctx hash;
    sha256_init(&hash);
    sha256_update(&hash, bytes, rgb);
    sha256_digest(&hash, SHARD_KEY, key);
    memcpy(file.content, key, SHARD_KEY);
    if (o->rehearsal || control_cache_find(o->told->controls, &file)) return DT_OK;
    file.origin.width = file.origin.height = d->resolution;
    return control_cache_take(c, o->told->controls, &file, rgb);
}

static dt_status tell_controls(ctx *c, examples *e, const examples_options *o)
{
    const dataset *d = &e->pictures;
    const int64_t side = o->resolution;
    const uint8_t(*known)[DATASET_CONTENT] = (const uint8_t(*)[DATASET_CONTENT])(d->control ? d->control : d->content);
    e->control =
        (example_table){.dim_count = 3, .dim = {3, side, side}, .map_channels = o->told->controls->maker.channels};
    if (example_table_await(&e->control, d->count, &c->error) != DT_OK) return c->error.status;
    for (int64_t i = 0; i < d->count && (known || ctx_go_on(c)); i++) {
        if (known)
            memcpy(e->control.key[i], known[i], SHARD_KEY);
        else
            make_control(c, e->control.key[i], d, i, o);
    }
    return c->error.status;
}

/* What was made before a call was stopped stays. */
static void keep_told(const examples_told *told)
{
    dt_error ignored = {0};
    if (told->contexts) shard_cache_finish(told->contexts, &ignored);
    if (told->controls) shard_cache_finish(&told->controls->shards, &ignored);
}

static dt_status tell_rows(ctx *c, examples *e, const examples_options *o)
{
    if (o->told->encoder) tell_contexts(c, e, o);
    if (!ctx_failed(c) && o->told->controls) tell_controls(c, e, o);
    return c->error.status;
}

dt_status examples_settle(examples *e, const examples_told *told, dt_error *err)
{
    if (told->contexts && example_table_settle(&e->context, told->contexts, err) != DT_OK) return err->status;
    return told->controls ? example_table_settle(&e->control, &told->controls->shards, err) : err->status;
}

/* ---- opening ---- */

static dt_status open_pictures(ctx *c, examples *e, const char *path, const examples_options *o,
                               const dataset_options *how)
{
    const encode_caches caches = {o->cache, makes_controls(o) ? o->told->controls : NULL};
    if (o->codec->kind == CODEC_PIXELS) {
        e->kind = EXAMPLES_PIXELS;
        return dataset_open(&e->pictures, path, how, &c->error);
    }
    if (!o->cache) {
        e->kind = EXAMPLES_VALUES;
        return encode_into_memory(c, &e->pictures, &e->x, path, how, o->codec, &o->watch);
    }
    if (o->rehearsal) {
        encode_stand_in(c, &e->pictures, &e->x, &e->stand_in, o->cache, path, how, o->codec, &o->watch);
        e->kind = e->stand_in.missing ? EXAMPLES_VALUES : EXAMPLES_LATENTS;
        return c->error.status;
    }
    e->kind = EXAMPLES_LATENTS;
    return encode_into_cache(c, &e->pictures, &caches, path, how, o->codec, &o->watch);
}

/* What the data set is asked for; the others are the caller's. */
static const dataset_wants *wants_of(dataset_wants *wants, const dataset_taker *taker, const examples_options *o)
{
    if (!o->told) return NULL;
    *wants = (dataset_wants){.default_prompt = o->told->encoder ? o->told->default_prompt : NULL,
                             .control_taker = o->told->controls && !makes_controls(o) ? taker : NULL,
                             .control_folder = o->told->control_folder};
    return wants;
}

dt_status examples_open(ctx *c, examples *e, const char *path, const examples_options *o)
{
    dataset_options how = dataset_options_of(c, o);
    dataset_wants wants;
    control_taker controls = {c, o};
    const dataset_taker taker = {.user = &controls, .knows = control_is_known, .take = take_control};
    const int64_t side = o->resolution / o->codec->factor;
    how.wants = wants_of(&wants, &taker, o);
    *e = (examples){.codec = o->codec, .cache = o->cache, .shape = {o->codec->channels, side, side}};
    if (open_pictures(c, e, path, o, &how) == DT_OK && o->told) tell_rows(c, e, o);
    if (c->error.status == DT_ERR_INTERRUPTED && o->told && !o->rehearsal) keep_told(o->told);
    e->count = e->pictures.count;
    memcpy(e->sha256, e->pictures.sha256, sizeof e->sha256);
    if (ctx_failed(c))
        examples_close(e);
    else
        tell(o, &e->pictures);
    return c->error.status;
}

/* What the cache holds already is taken for pictures of this set: where it is not, the cache grows less than it might. */
static void measure_cached(ctx *c, examples_size *size, const dataset_size *d, const examples_options *o)
{
    const int64_t new = d->files - o->cache->shards.row_count;
    size->opening_bytes = d->reading_bytes;
    if (new <= 0) return;
    size->opening_bytes += d->decoding_bytes + d->window_bytes + latent_cache_growing_bytes(o->cache, new);
    encode_rehearse(c, o->codec, o->resolution, 2);
}

/* All pictures are read first; each becomes a latent then. */
static void measure_encoded(ctx *c, examples_size *size, const dataset_size *d, const examples_options *o)
{
    const int64_t side = o->resolution / o->codec->factor;
    const int64_t latents = d->files * o->codec->channels * side * side * (int64_t)sizeof(float);
    size->kept_bytes += latents;
    const int64_t reading = d->reading_bytes + d->decoding_bytes;
    size->opening_bytes = reading > latents ? reading - latents : 0;
    encode_rehearse(c, o->codec, o->resolution, 1);
}

/* Rows that are new at most; of those that there are, a key and a pointer each. */
static void measure_told(examples_size *size, const dataset_size *d, const examples_told *told)
{
    const int64_t each = SHARD_KEY + (int64_t)sizeof(void *);
    if (told->encoder) size->opening_bytes += shard_cache_growing_bytes(told->contexts, d->files);
    if (told->controls) size->opening_bytes += shard_cache_growing_bytes(&told->controls->shards, d->files);
    size->kept_bytes += d->files * each * ((told->encoder != NULL) + (told->controls != NULL));
}

dt_status examples_measure(ctx *c, examples_size *size, const char *path, const examples_options *o)
{
    const dataset_taker taker = {0};
    dataset_options how = dataset_options_of(c, o);
    dataset_size d;
    rehearsal r;
    *size = (examples_size){0};
    if (o->cache) how.taker = &taker;
    if (dataset_measure(&d, path, &how, &c->error) != DT_OK) return c->error.status;
    *size = (examples_size){
        .count = d.files, .kept_bytes = d.kept_bytes, .opening_bytes = d.reading_bytes + d.decoding_bytes};
    if (o->codec->kind != CODEC_PIXELS) {
        rehearsal_begin(c, &r);
        (o->cache ? measure_cached : measure_encoded)(c, size, &d, o);
        rehearsal_end(c, &r);
    }
    if (o->told) measure_told(size, &d, o->told);
    return c->error.status;
}

void examples_close(examples *e)
{
    dataset_close(&e->pictures);
    free(e->x);
    example_table_close(&e->context);
    example_table_close(&e->control);
    for (int64_t i = 0; i < e->shard_count; i++) tensor_file_close(&e->shard[i]);
    free(e->shard);
    *e = (examples){0};
}

int64_t examples_memory(void)
{
    return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 2;
}

bool examples_can_mirror(const examples *e)
{
    return e->kind != EXAMPLES_VALUES || e->codec->kind == CODEC_PIXELS;
}

void examples_get(float *x, const examples *e, int64_t i, bool mirrored, const rng_key *noise)
{
    const int64_t count = sample_values(e->shape);
    switch (e->kind) {
    case EXAMPLES_PIXELS: dataset_image(x, &e->pictures, i, mirrored); break;
    case EXAMPLES_LATENTS: {
        const float *moments = latent_cache_moments(e->cache, e->pictures.content[i]);
        if (mirrored) moments += codec_moment_count(e->codec) * count;
        bool draws = noise && e->codec->random;
        if (draws) rng_normal(x, count, *noise);
        codec_latent(x, e->codec, moments, draws ? x : NULL, count);
        break;
    }
    case EXAMPLES_VALUES:
        memcpy(x, e->x + (e->stand_in.missing ? 0 : i * count), (size_t)count * sizeof *x);
        if (mirrored && examples_can_mirror(e)) example_mirror(x, count, e->shape.width);
        break;
    }
}
