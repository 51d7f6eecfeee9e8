#include "train/told.h"

#include <stdio.h>
#include <string.h>

#include "data/context_cache.h"
#include "data/prompt_list.h"

/* ---- opening ---- */

/* Rows of a table, known by their texts until it is settled. */
static dt_status encode(told_data *d, example_table *t, const char *const text[], int64_t n, const examples_options *o)
{
    *t = (example_table){.dim_count = 2, .dim = {d->encoder.tokens, d->encoder.width}};
    if (example_table_await(t, n, &d->c->error) != DT_OK) return d->c->error.status;
    for (int64_t i = 0; i < n; i++) context_cache_key(t->key[i], text[i]);
    return o->rehearsal ? DT_OK : context_cache_fill(d->c, &d->contexts, &d->encoder, text, n, &o->watch);
}

static dt_status open_prompts(told_data *d, const dt_settings *s, const examples_options *o)
{
    prompt_list p;
    dt_error *err = &d->c->error;
    if (!s->validation_prompt[0] || prompt_list_open(&p, s->validation_prompt, err) != DT_OK) return err->status;
    encode(d, &d->prompts, p.text, p.count, o);
    context_tell_cut(d->c, &d->encoder, "prompts of validation_prompt", p.text, p.count, &o->watch);
    prompt_list_close(&p);
    return err->status;
}

static dt_status open_contexts(told_data *d, const dt_settings *s, const model_file *file, const examples_options *o)
{
    dt_error *err = &d->c->error;
    const char *const given[] = {s->text_encoder,      "text_encoder",      s->tokenizer, "tokenizer",
                                 s->validation_prompt, "validation_prompt", NULL};
    if (model_file_open_encoder(d->c, &d->encoder, file, s, given) != DT_OK || !d->encoder.encode) return err->status;
    d->has_contexts = true;
    memcpy(d->encoder_sha256, d->encoder.sha256, sizeof d->encoder_sha256);
    d->told.encoder = &d->encoder;
    d->told.contexts = &d->contexts;
    d->told.default_prompt = s->default_prompt;
    if ((o->rehearsal ? context_cache_look : context_cache_open)(&d->contexts, s->cache_dir, &d->encoder, &o->watch,
                                                                 err) != DT_OK)
        return err->status;
    return encode(d, &d->null, &(const char *){""}, 1, o) == DT_OK ? open_prompts(d, s, o) : err->status;
}

static dt_status make_map(ctx *c, void *user, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width)
{
    return annotate(c, user, map, rgb, height, width);
}

/* A kind of annotator makes maps of the pictures themselves; else they are read. */
static dt_status open_maker(told_data *d, control_maker *maker, const dt_settings *s)
{
    const annotator_kind kind = annotator_named(s->control);
    annotator *a = &d->annotator;
    *maker = control_of_pictures();
    d->told.control_folder = "";
    if (kind == ANNOTATOR_KINDS) {
        if (strcmp(s->control, CONTROL_GIVEN) != 0) d->told.control_folder = s->control;
        return d->c->error.status;
    }
    if (annotator_open(d->c, a, kind, s->annotator_weights) != DT_OK) return d->c->error.status;
    annotator_identity(d->maker_identity, annotator_name(kind), a->settings, a->sha256);
    *maker = (control_maker){.identity = d->maker_identity, .channels = a->channels, .user = a, .make = make_map};
    return DT_OK;
}

static dt_status open_controls(told_data *d, const dt_settings *s, const model_file *file, const examples_options *o)
{
    dt_error *err = &d->c->error;
    control_maker maker;
    d->has_controls =
        file->control.choice.wanted || (file->kind->is_controlled && file->kind->is_controlled(&file->tensors));
    if (!d->has_controls) return DT_OK;
    if (open_maker(d, &maker, s) != DT_OK) return err->status;
    d->told.controls = &d->controls;
    return (o->rehearsal ? control_cache_look : control_cache_open)(&d->controls, s->cache_dir, &maker, o->resolution,
                                                                    o->background, &o->watch, err);
}

dt_status told_open(told_data *d, ctx *c, const dt_settings *s, const model_file *file, const examples_options *options)
{
    *d = (told_data){.c = c, .mark = arena_mark(&c->model)};
    if (open_contexts(d, s, file, options) == DT_OK) open_controls(d, s, file, options);
    return c->error.status;
}

const examples_told *told_options(const told_data *d)
{
    return d->has_contexts || d->has_controls ? &d->told : NULL;
}

/* ---- when the data is open ---- */

static void close_encoder(told_data *d)
{
    if (d->encoder.close) d->encoder.close(d->encoder.user);
    d->encoder = (context_encoder){0};
}

dt_status told_finish(told_data *d, examples *const sets[], int count)
{
    dt_error *err = &d->c->error;
    if (!told_options(d)) return err->status;
    close_encoder(d);
    arena_release(&d->c->model, d->mark);
    if (d->has_contexts && shard_cache_finish(&d->contexts, err) != DT_OK) return err->status;
    if (d->has_contexts && example_table_settle(&d->null, &d->contexts, err) == DT_OK)
        example_table_settle(&d->prompts, &d->contexts, err);
    if (d->has_controls && shard_cache_finish(&d->controls.shards, err) != DT_OK) return err->status;
    for (int i = 0; i < count && err->status == DT_OK; i++) examples_settle(sets[i], &d->told, err);
    return err->status;
}

dt_status told_check(const told_data *d, const examples *set, const denoiser *model)
{
    const int64_t *context = set->context.dim, *control = set->control.dim;
    const sample_shape *k = &model->control;
    dt_error *err = &d->c->error;
    if (d->has_contexts && (context[0] != model->context_tokens || context[1] != model->context_width))
        error_set(err, DT_ERR_SHAPE, "the text encoder makes contexts of %lld x %lld, the network takes %lld x %lld",
                  (long long)context[0], (long long)context[1], (long long)model->context_tokens,
                  (long long)model->context_width);
    if (d->has_controls && (control[0] != k->channels || control[1] != k->height || control[2] != k->width))
        error_set(err, DT_ERR_SHAPE, "control pictures are %lldx%lldx%lld, the network takes %lldx%lldx%lld",
                  (long long)control[0], (long long)control[1], (long long)control[2], (long long)k->channels,
                  (long long)k->height, (long long)k->width);
    return err->status;
}

void told_close(told_data *d)
{
    close_encoder(d);
    example_table_close(&d->null);
    example_table_close(&d->prompts);
    shard_cache_close(&d->contexts);
    control_cache_close(&d->controls);
}
