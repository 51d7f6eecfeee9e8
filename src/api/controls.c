#include "api/controls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/watch.h"
#include "file/folder.h"
#include "model/maker.h"

/* One map behind the other: the pictures themselves, or what the annotator makes of them. NULL after a failure. */
static uint8_t *maps_of(ctx *c, const examples *pictures, const annotator *a, int64_t channels)
{
    const int64_t side = pictures->shape.height, pixels = side * side;
    const uint8_t *rgb = pictures->pictures.pixels;
    uint8_t *maps = malloc((size_t)(pictures->count * pixels * channels));
    if (!maps) error_set(&c->error, DT_ERR_MEMORY, "no memory for %lld control pictures", (long long)pictures->count);
    if (maps && !a) memcpy(maps, rgb, (size_t)(pictures->count * pixels * channels));
    for (int64_t i = 0; maps && a && i < pictures->count && ctx_go_on(c); i++)
        annotate(c, a, maps + i * pixels * channels, rgb + i * pixels * 3, side, side);
    if (!ctx_failed(c)) return maps;
    free(maps);
    return NULL;
}

/* So many rows, those that there are in turn. */
static dt_status repeat(example_table *t, int64_t count, dt_error *err)
{
    example_table all;
    if (example_table_in_turn(&all, t, t->row_count, count, err) != DT_OK) return err->status;
    all.values = t->values;
    t->values = NULL;
    example_table_close(t);
    *t = all;
    return DT_OK;
}

/* All together, however many of the pictures are told: more samples may follow. */
static dt_status hash_with(ctx *c, examples *told, const dt_settings *s, const annotator *a)
{
    char text[DT_TEXT_MAX], path[DT_PATH_MAX];
    file_hash hash;
    snprintf(path, sizeof path, "%s", s->control_data);
    const char *split = file_cut_word(path);
    if (file_tree_hash(&hash, path, &c->error) != DT_OK) return c->error.status;
    const int length = snprintf(text, sizeof text, "%s %s %s %s %s %s", told->sha256, hash.hex, split ? split : "",
                                s->control, a ? a->settings : "", a ? a->sha256 : "");
    file_sha256_bytes(&hash, text, (size_t)length);
    memcpy(told->sha256, hash.hex, sizeof told->sha256);
    return DT_OK;
}

static dt_status take(ctx *c, examples *told, const examples *pictures, const annotator *a, int64_t numbers)
{
    const sample_shape *s = &pictures->shape;
    const int64_t channels = a ? a->channels : s->channels;
    uint8_t *maps = maps_of(c, pictures, a, channels);
    if (!maps) return c->error.status;
    told->control =
        (example_table){.dim_count = 3, .dim = {s->channels, s->height, s->width}, .map_channels = channels};
    if (example_table_own(&told->control, (float *)(void *)maps, pictures->count, &c->error) != DT_OK)
        return c->error.status;
    if (!told->context.row) {
        told->count = pictures->count;
        return DT_OK;
    }
    told->count = numbers;
    return repeat(&told->context, numbers, &c->error) == DT_OK ? repeat(&told->control, numbers, &c->error)
                                                               : c->error.status;
}

bool controls_are_annotated(const dt_settings *s)
{
    return annotator_named(s->control) != ANNOTATOR_KINDS;
}

dt_status controls_check_base(const dt_settings *s, dt_error *err)
{
    model_file f;
    model_choice choice = model_choice_of(s, NULL);
    choice.control = control_choice_of(s);
    if (model_file_open_as(&f, s->pretrained_model, &choice, model_kinds_all, err) == DT_OK) model_file_close(&f);
    return err->status;
}

dt_status controls_annotator(ctx *c, annotator *a, const dt_settings *s, bool *wanted)
{
    const annotator_kind kind = annotator_named(s->control);
    *wanted = kind != ANNOTATOR_KINDS;
    if (*wanted) annotator_open(c, a, kind, s->annotator_weights);
    return c->error.status;
}

dt_status controls_open(ctx *c, examples *told, const denoiser *d, const dt_settings *s, int64_t numbers,
                        const dt_observer *observer)
{
    bool annotates;
    annotator a;
    examples pictures = {0};
    const codec pixels = codec_of_pixels(3);
    watch w = {.observer = observer, .task = "control"};
    const examples_options options = {.codec = &pixels,
                                      .resolution = d->control.height,
                                      .background = s->background,
                                      .strict = true, /* one that was passed over would be taken for the next */
                                      .memory_limit_bytes = examples_memory(),
                                      .at_most = numbers,
                                      .first = true,
                                      .watch = watch_data(&w)};
    if (ctx_failed(c) || !d->control.channels) return c->error.status;
    if (d->control.channels != 3)
        return error_set(&c->error, DT_ERR_UNSUPPORTED, "%s: is told %lld channels; control pictures have 3",
                         s->controlnet_model, (long long)d->control.channels);
    const arena_place mark = arena_mark(&c->model);
    if (controls_annotator(c, &a, s, &annotates) == DT_OK &&
        examples_open(c, &pictures, s->control_data, &options) == DT_OK &&
        take(c, told, &pictures, annotates ? &a : NULL, numbers) == DT_OK)
        hash_with(c, told, s, annotates ? &a : NULL);
    examples_close(&pictures);
    arena_release(&c->model, mark);
    return c->error.status;
}
