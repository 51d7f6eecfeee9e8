#include "run/weights_file.h"

#include <stdio.h>
#include <stdlib.h>

#include "adapter/adapter_file.h"
#include "average/snapshots.h"
#include "container/safetensors.h"
#include "file/json_file.h"
#include "model/file/of_run.h"
#include "model/file/params_file.h"
#include "settings/settings.h"

bool weights_adapt(const training *r)
{
    return r->trainer.adapter.plan.kind != DT_ADAPTER_NONE;
}

/* ---- what is said ---- */

json_t *weights_class_names(const training *r)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < r->trainer.train.pictures.class_count; i++)
        json_add(&list, json_string(r->trainer.train.pictures.class_name[i]));
    return list;
}

static void note(weights_note *n, const char *key, const char *value)
{
    n->pair[n->count++] = (metadata_pair){key, value};
}

static void note_average(weights_note *n, const trainer *t, int power)
{
    power_length_text(n->length, t->optimizer.power_length[power]);
    snprintf(n->updates, sizeof n->updates, "%lld", (long long)t->optimizer.update_count);
    note(n, SNAPSHOT_LENGTH, n->length);
    note(n, SNAPSHOT_UPDATES, n->updates);
}

static void note_all(weights_note *n, const training *r, const char *weights)
{
    const trainer *t = &r->trainer;
    note(n, "format", "pt");
    note(n, "difftune.tool", "difftune " DT_VERSION);
    note(n, "difftune.method", settings_word(r->s, "method"));
    note(n, "difftune.method_line", t->method.line);
    note(n, "difftune.preset", r->s->method == DT_METHOD_DIFF_TUNING ? settings_word(r->s, "preset") : "");
    note(n, ADAPTER_BASE, t->base.sha256);
    note(n, "difftune.bank_sha256", t->bank.sha256);
    note(n, "difftune.data_sha256", t->train.sha256);
    note(n, MODEL_CODEC, t->codec.sha256);
    if (t->told.encoder_sha256[0]) note(n, MODEL_ENCODER, t->told.encoder_sha256);
    note(n, "difftune.images", n->images);
    note(n, "difftune.bank_images", n->bank_images);
    note(n, "difftune.steps", n->step);
    note(n, "difftune.seed", n->seed);
    note(n, "difftune.weights", weights);
    note(n, MODEL_CLASSES, n->classes);
    if (!weights_adapt(r)) return;
    note(n, ADAPTER_KIND, settings_word(r->s, "adapter"));
    note(n, ADAPTER_SCALE, n->scale);
}

dt_status weights_note_open(weights_note *n, const training *r, train_values values)
{
    const trainer *t = &r->trainer;
    const bool average = values >= TRAIN_POWERS;
    json_t *list = weights_class_names(r);
    *n = (weights_note){.classes = json_text_of(list, JSON_COMPACT)};
    json_decref(list);
    if (!n->classes) return error_set(&t->c->error, DT_ERR_MEMORY, "%s: no memory to list the classes", r->folder);
    snprintf(n->step, sizeof n->step, "%lld", (long long)t->step);
    snprintf(n->seed, sizeof n->seed, "%lld", (long long)r->s->seed);
    snprintf(n->images, sizeof n->images, "%lld", (long long)t->train.count);
    snprintf(n->bank_images, sizeof n->bank_images, "%lld", (long long)t->bank.count);
    snprintf(n->scale, sizeof n->scale, "%.9g", r->s->adaptformer_scale);
    if (average) note_average(n, t, (int)(values - TRAIN_POWERS));
    if (r->s->metadata) note_all(n, r, average ? "power" : settings_word(r->s, "weights"));
    return t->c->error.status;
}

void weights_note_close(weights_note *n)
{
    free(n->classes);
}

/* ---- files ---- */

dt_status weights_write_model(training *r, const char *path, train_values values, dt_model_format format,
                              dt_file_dtype dtype, const weights_note *n)
{
    return weights_write_network(r, &r->trainer.model, path, values, format, dtype, n);
}

dt_status weights_write_network(training *r, const denoiser *d, const char *path, train_values values,
                                dt_model_format format, dt_file_dtype dtype, const weights_note *n)
{
    trainer *t = &r->trainer;
    ctx *c = t->c;
    const arena_place mark = arena_mark(&c->scratch);
    const denoiser_file file = {.path = path,
                                .format = format,
                                .dtype = dtype,
                                .values =
                                    values == TRAIN_WEIGHTS ? NULL : trainset_values_in(c, &t->set, d->params, values),
                                .metadata = n->pair,
                                .metadata_count = n->count,
                                .base_sha256 = n->base_sha256[0] ? n->base_sha256 : NULL};
    if (!ctx_failed(c) && d->ops->write(c, d, &file) == DT_OK) trainer_log(t, "wrote %s", path);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

dt_status weights_write_adapter(training *r, const char *path, train_values values, dt_file_dtype dtype,
                                const weights_note *n)
{
    trainer *t = &r->trainer;
    ctx *c = t->c;
    const arena_place mark = arena_mark(&c->scratch);
    const char *const prefix = adapter_prefix(&t->adapter.plan);
    tensor_source *source = arena_alloc_zeroed(&c->scratch, (size_t)t->set.count * sizeof *source, &c->error);
    if (source) trainset_sources(c, source, &t->set, &values, &prefix, 1);
    for (int i = 0; i < t->set.count && !ctx_failed(c); i++) {
        source[i].dtype = params_file_dtype(dtype);
        source[i].finite = true;
    }
    if (!ctx_failed(c) &&
        safetensors_write(path, source, (size_t)t->set.count, n->pair, n->count, NULL, &c->error) == DT_OK)
        trainer_log(t, "wrote %s", path);
    arena_release(&c->scratch, mark);
    return c->error.status;
}
