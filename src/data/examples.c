#include "data/examples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/encode.h"
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
    report_tell_skips(&d->report, o->watch.log, o->watch.user);
}

dt_status examples_open(ctx *c, examples *e, const char *path, const examples_options *o)
{
    dataset_options how = dataset_options_of(c, o);
    const int64_t side = o->resolution / o->codec->factor;
    *e = (examples){.codec = o->codec, .cache = o->cache, .shape = {o->codec->channels, side, side}};
    if (o->codec->kind == CODEC_PIXELS) {
        e->kind = EXAMPLES_PIXELS;
        dataset_open(&e->pictures, path, &how, &c->error);
    } else if (o->cache && o->rehearsal) {
        encode_stand_in(c, &e->pictures, &e->x, &e->stand_in, o->cache, path, &how, o->codec, &o->watch);
        e->kind = e->stand_in.missing ? EXAMPLES_VALUES : EXAMPLES_LATENTS;
    } else if (o->cache) {
        e->kind = EXAMPLES_LATENTS;
        encode_into_cache(c, &e->pictures, o->cache, path, &how, o->codec, &o->watch);
    } else {
        e->kind = EXAMPLES_VALUES;
        encode_into_memory(c, &e->pictures, &e->x, path, &how, o->codec, &o->watch);
    }
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
    size->opening_bytes += d->window_bytes + latent_cache_growing_bytes(o->cache, new);
    encode_rehearse(c, o->codec, o->resolution, 2);
}

/* All pictures are read first; each becomes a latent then. */
static void measure_encoded(ctx *c, examples_size *size, const dataset_size *d, const examples_options *o)
{
    const int64_t side = o->resolution / o->codec->factor;
    const int64_t latents = d->files * o->codec->channels * side * side * (int64_t)sizeof(float);
    size->kept_bytes += latents;
    size->opening_bytes = d->reading_bytes > latents ? d->reading_bytes - latents : 0;
    encode_rehearse(c, o->codec, o->resolution, 1);
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
    *size = (examples_size){.count = d.files, .kept_bytes = d.kept_bytes, .opening_bytes = d.reading_bytes};
    if (o->codec->kind == CODEC_PIXELS) return DT_OK;
    rehearsal_begin(c, &r);
    (o->cache ? measure_cached : measure_encoded)(c, size, &d, o);
    rehearsal_end(c, &r);
    return c->error.status;
}

void examples_close(examples *e)
{
    dataset_close(&e->pictures);
    free(e->x);
    free(e->context.values);
    free(e->control.values);
    *e = (examples){0};
}

int64_t examples_memory(void)
{
    return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 2;
}

static void mirror_rows(float *x, int64_t count, int64_t width)
{
    for (int64_t row = 0; row < count; row += width)
        for (int64_t i = 0; i < width / 2; i++) {
            float left = x[row + i];
            x[row + i] = x[row + width - 1 - i];
            x[row + width - 1 - i] = left;
        }
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
        if (mirrored && e->codec->kind == CODEC_PIXELS) mirror_rows(x, count, e->shape.width);
        break;
    }
}

int64_t example_table_values(const example_table *t)
{
    int64_t values = t->values ? 1 : 0;
    for (int i = 0; i < t->dim_count; i++) values *= t->dim[i];
    return values;
}

void example_table_get(float *row, const example_table *t, int64_t i, bool mirrored)
{
    const int64_t values = example_table_values(t);
    memcpy(row, t->values + i * values, (size_t)values * sizeof *row);
    if (mirrored && t->dim_count == 3) mirror_rows(row, values, t->dim[2]);
}
