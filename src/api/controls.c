#include "api/controls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/watch.h"

/* values[n,C,H,W] in [0,1] of pictures in [-1,1]; NULL after a failure. */
static float *values_of(const examples *pictures, dt_error *err)
{
    const int64_t each = sample_values(pictures->shape), count = pictures->count * each;
    float *values = malloc((size_t)count * sizeof *values);
    if (!values) {
        error_set(err, DT_ERR_MEMORY, "no memory for %lld control pictures", (long long)pictures->count);
        return NULL;
    }
    for (int64_t i = 0; i < pictures->count; i++) examples_get(values + i * each, pictures, i, false, NULL);
    for (int64_t i = 0; i < count; i++) values[i] = (values[i] + 1) / 2;
    return values;
}

/* So many rows, those that there are in turn. */
static dt_status repeat(example_table *t, int64_t count, dt_error *err)
{
    const void **row = malloc((size_t)count * sizeof *row);
    if (!row) return error_set(err, DT_ERR_MEMORY, "no memory for a table of %lld rows", (long long)count);
    for (int64_t i = 0; i < count; i++) row[i] = t->row[i % t->row_count];
    free(t->row);
    t->row = row;
    t->row_count = count;
    return DT_OK;
}

/* Both together. */
static void hash_with(examples *told, const char *pictures)
{
    char text[2 * 65];
    file_hash hash;
    const int length = snprintf(text, sizeof text, "%s %s", told->sha256, pictures);
    file_sha256_bytes(&hash, text, (size_t)length);
    memcpy(told->sha256, hash.hex, sizeof told->sha256);
}

static dt_status take(examples *told, const examples *pictures, int64_t numbers, dt_error *err)
{
    const sample_shape *s = &pictures->shape;
    float *values = values_of(pictures, err);
    if (!values) return err->status;
    told->control = (example_table){.dim_count = 3, .dim = {s->channels, s->height, s->width}};
    if (example_table_own(&told->control, values, pictures->count, err) != DT_OK) return err->status;
    hash_with(told, pictures->sha256);
    if (!told->context.row) {
        told->count = pictures->count;
        return DT_OK;
    }
    told->count = numbers;
    return repeat(&told->context, numbers, err) == DT_OK ? repeat(&told->control, numbers, err) : err->status;
}

dt_status controls_open(ctx *c, examples *told, const denoiser *d, const dt_settings *s, int64_t numbers,
                        const dt_observer *observer)
{
    examples pictures = {0};
    const codec pixels = codec_of_pixels(3);
    watch w = {.observer = observer, .task = "control"};
    const examples_options options = {.codec = &pixels,
                                      .resolution = d->control.height,
                                      .background = s->background,
                                      .memory_limit_bytes = examples_memory(),
                                      .at_most = numbers,
                                      .watch = watch_data(&w)};
    if (ctx_failed(c) || !d->control.channels) return c->error.status;
    if (d->control.channels != 3)
        return error_set(&c->error, DT_ERR_UNSUPPORTED, "%s: is told %lld channels; control pictures have 3",
                         s->controlnet_model, (long long)d->control.channels);
    if (examples_open(c, &pictures, s->control_data, &options) == DT_OK) take(told, &pictures, numbers, &c->error);
    examples_close(&pictures);
    return c->error.status;
}
