#include "method/bank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/json_file.h"
#include "container/safetensors.h"
#include "model/dit/dit_sampler.h"
#include "settings/settings.h"

#define BANK_FORMAT "difftune bank 1"

static void shard_name(char out[64], int64_t shard)
{
    snprintf(out, 64, "shard-%05lld.safetensors", (long long)shard);
}

/* ---- manifest ---- */

static json_t *read_manifest(const char *folder, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, "manifest.json");
    json_t *manifest = json_file_read(path, err);
    const char *format = json_string_value(json_object_get(manifest, "format"));
    if (format && !strcmp(format, BANK_FORMAT) && json_is_array(json_object_get(manifest, "shards")) &&
        json_is_object(json_object_get(manifest, "drawing")))
        return manifest;
    error_set(err, DT_ERR_FORMAT, "%s: not a manifest of \"" BANK_FORMAT "\"", path);
    json_decref(manifest);
    return NULL;
}

static dt_status write_manifest(const char *folder, json_t *manifest, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, "manifest.json");
    return json_file_write(path, json_incref(manifest), NULL, err);
}

/* What an image of the bank depends on besides its index. */
static json_t *describe_drawing(const dt_settings *s, const dit *m, const char *base_sha256)
{
    bool guided = s->bank_labels == DT_BANK_CLASSES;
    return json_pack("{s:s, s:s, s:s, s:I, s:s, s:f, s:b, s:s, s:f, s:s, s:I, s:[I,I,I], s:I}", "base_sha256",
                     base_sha256, "mixed_precision", settings_word(s, "mixed_precision"), "sampler",
                     settings_word(s, "sampler"), "num_inference_steps", (json_int_t)s->num_inference_steps,
                     "timestep_spacing", settings_word(s, "timestep_spacing"), "eta", s->eta, "clip_sample",
                     s->clip_sample, "labels", settings_word(s, "bank_labels"), "guidance_scale",
                     guided ? s->guidance_scale : 1.0, "guidance_channels",
                     guided ? settings_word(s, "guidance_channels") : "all", "seed", (json_int_t)s->seed, "shape",
                     (json_int_t)m->config.channels, (json_int_t)m->config.input_size, (json_int_t)m->config.input_size,
                     "shard_size", (json_int_t)s->bank_shard_size);
}

static dt_status check_same_drawing(const json_t *manifest, const json_t *drawing, const char *folder, dt_error *err)
{
    const json_t *found = json_object_get(manifest, "drawing");
    if (json_equal(found, drawing)) return DT_OK;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)drawing, key, value)
    {
        json_t *other = json_object_get(found, key);
        if (json_equal(other, value)) continue;
        char *a = json_dumps(other, JSON_ENCODE_ANY), *b = json_dumps(value, JSON_ENCODE_ANY);
        error_set(err, DT_ERR_CONFLICT, "%s: holds a bank drawn with %s %s, this call asks for %s", folder, key,
                  a ? a : "missing", b ? b : "?");
        free(a);
        free(b);
    }
    return error_set(err, DT_ERR_CONFLICT, "%s: holds another bank", folder);
}

/* ---- reading ---- */

static dt_status check_shape(const tensor_entry *e, const char *path, const dit *m, dt_error *err)
{
    int64_t c = m->config.channels, r = m->config.input_size;
    if (e && e->dim_count == 4 && e->dims[1] == c && e->dims[2] == r && e->dims[3] == r && e->dtype == SAFETENSORS_F32)
        return DT_OK;
    return error_set(err, DT_ERR_SHAPE, "%s: a tensor x [n,%lld,%lld,%lld] of F32 is expected", path, (long long)c,
                     (long long)r, (long long)r);
}

static dt_status append_shard(examples *b, const char *folder, const json_t *shard, const dit *m, dt_error *err)
{
    char path[DT_PATH_MAX];
    const char *file = json_string_value(json_object_get(shard, "file"));
    const char *expected = json_string_value(json_object_get(shard, "sha256"));
    if (!file || !expected || strchr(file, '/'))
        return error_set(err, DT_ERR_FORMAT, "%s/manifest.json: a shard lacks its file or sha256", folder);
    file_join(path, folder, file);
    tensor_file f;
    file_hash hash;
    if (safetensors_open(&f, path, err) != DT_OK) return err->status;
    file_map_sha256(&hash, &f.map);
    const tensor_entry *e = tensor_file_find(&f, "x");
    if (strcmp(hash.hex, expected))
        error_set(err, DT_ERR_FORMAT, "%s: SHA-256 is not the manifest's", path);
    else if (check_shape(e, path, m, err) == DT_OK) {
        int64_t values = examples_values(b), count = b->count + e->dims[0];
        float *grown = realloc(b->x, (size_t)(count * values) * sizeof *grown);
        if (!grown)
            error_set(err, DT_ERR_MEMORY, "%s: memory for %lld images", path, (long long)count);
        else {
            b->x = grown;
            tensor_read_f32(b->x + b->count * values, e, err);
            b->count = count;
        }
    }
    tensor_file_close(&f);
    return err->status;
}

static dt_status open_shards(examples *b, const char *folder, const dit *m, const char *base_sha256, dt_error *err)
{
    json_t *manifest = read_manifest(folder, err);
    if (!manifest) return err->status;
    const char *base = json_string_value(json_object_get(json_object_get(manifest, "drawing"), "base_sha256"));
    if (base_sha256 && (!base || strcmp(base, base_sha256)))
        error_set(err, DT_ERR_CONFLICT, "%s: this bank was drawn from another base model (sha256 %.12s.., not %.12s..)",
                  folder, base ? base : "?", base_sha256);
    size_t i;
    json_t *shard;
    json_array_foreach(json_object_get(manifest, "shards"), i, shard)
    {
        if (err->status == DT_OK) append_shard(b, folder, shard, m, err);
    }
    if (err->status == DT_OK && b->count == 0) error_set(err, DT_ERR_FORMAT, "%s: the bank is empty", folder);
    char *text = json_dumps(manifest, JSON_SORT_KEYS);
    if (text) {
        file_hash hash;
        file_sha256_bytes(&hash, text, strlen(text));
        memcpy(b->sha256, hash.hex, sizeof b->sha256);
    }
    free(text);
    json_decref(manifest);
    return err->status;
}

dt_status bank_open(ctx *c, examples *b, const char *path, const dit *m, const char *base_sha256,
                    const examples_options *options)
{
    char manifest[DT_PATH_MAX];
    *b = (examples){0};
    file_join(manifest, path, "manifest.json");
    if (file_exists(manifest)) {
        *b = (examples){.kind = EXAMPLES_VALUES,
                        .codec = options->codec,
                        .channels = m->config.channels,
                        .size = m->config.input_size};
        open_shards(b, path, m, base_sha256, &c->error);
    } else { /* the released code's bank: pictures in folders, whose labels are not used */
        examples_options unlabelled = *options;
        unlabelled.class_name = NULL;
        unlabelled.class_count = 0;
        if (options->codec->channels != m->config.channels)
            error_set(&c->error, DT_ERR_SHAPE, "%s: a bank of pictures has %lld channels for a model of %lld", path,
                      (long long)options->codec->channels, (long long)m->config.channels);
        else
            examples_open(c, b, path, &unlabelled);
    }
    if (ctx_failed(c)) examples_close(b);
    return c->error.status;
}

/* ---- making ---- */

static dt_status prepare_sampler(sampler *p, const dit *m, const dt_settings *s, dt_error *err)
{
    if (dit_sampler_open(p, m, s, err) != DT_OK) return err->status;
    p->start = RNG_BANK_START;
    p->step = RNG_BANK_STEP;
    if (s->bank_labels == DT_BANK_NULL) p->guidance_scale = 1;
    return DT_OK;
}

/* Images first..first+n-1 into x, in batches, until the watcher wants to *stop; true when all were drawn. */
static bool draw_shard(ctx *c, const sampler *p, float *x, int64_t first, int64_t n, const dt_settings *s,
                       bank_watcher *watch, void *user, bool *stop)
{
    int64_t image_size = p->channels * p->size * p->size, done = 0;
    while (done < n && !*stop && !ctx_failed(c)) {
        int32_t y[256];
        uint32_t index[256];
        int64_t batch = s->sample_batch_size < n - done ? s->sample_batch_size : n - done;
        if (batch > 256) batch = 256;
        for (int64_t i = 0; i < batch; i++) {
            index[i] = (uint32_t)(first + done + i);
            y[i] = s->bank_labels == DT_BANK_NULL ? p->null_class : (int32_t)(index[i] % (uint32_t)p->null_class);
        }
        sampler_draw(c, p, x + done * image_size, y, index, batch);
        done += batch;
        *stop = watch && !watch(user, first + done, s->bank_size);
    }
    return done == n && !ctx_failed(c);
}

static dt_status write_shard(const char *folder, json_t *manifest, const float *x, const int64_t dims[4], int64_t shard,
                             dt_error *err)
{
    char name[64], path[DT_PATH_MAX];
    file_hash hash;
    shard_name(name, shard);
    file_join(path, folder, name);
    tensor_source source = {.name = "x", .dtype = SAFETENSORS_F32, .dim_count = 4, .dims = dims, .values = x};
    if (safetensors_write(path, &source, 1, NULL, 0, &hash, err) != DT_OK) return err->status;
    json_t *shards = json_object_get(manifest, "shards");
    json_t *entry = json_pack("{s:s, s:s, s:I}", "file", name, "sha256", hash.hex, "count", (json_int_t)dims[0]);
    if ((int64_t)json_array_size(shards) > shard)
        json_array_set_new(shards, (size_t)shard, entry);
    else
        json_array_append_new(shards, entry);
    return write_manifest(folder, manifest, err);
}

/* The manifest of an earlier call, or a new one in a folder that is missing or empty. It is written before the first shard:
 * a folder that has it is this bank's, wherever a call was stopped. */
static json_t *begin_manifest(const char *folder, json_t *drawing, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, "manifest.json");
    if (file_exists(path)) {
        json_t *manifest = read_manifest(folder, err);
        if (manifest) check_same_drawing(manifest, drawing, folder, err);
        return manifest;
    }
    if (file_check_free_folder(folder, "bank", err) != DT_OK || file_make_dirs(folder, err) != DT_OK) return NULL;
    json_t *manifest = json_pack("{s:s, s:O, s:[]}", "format", BANK_FORMAT, "drawing", drawing, "shards");
    write_manifest(folder, manifest, err);
    return manifest;
}

/* Whether the folder holds what the manifest says: n images at least, and not a byte changed. */
static bool shard_is_whole(const char *folder, const json_t *entry, int64_t n)
{
    char path[DT_PATH_MAX];
    file_hash hash;
    dt_error missing = {0};
    const char *file = json_string_value(json_object_get(entry, "file"));
    const char *expected = json_string_value(json_object_get(entry, "sha256"));
    if (!file || !expected || json_integer_value(json_object_get(entry, "count")) < n) return false;
    file_join(path, folder, file);
    return file_sha256(&hash, path, &missing) == DT_OK && !strcmp(hash.hex, expected);
}

/* Shards are full but for the last one, which a larger bank_size draws again to its new length: image i does not change.
 * A shard that is not whole any more is drawn again too. */
static dt_status fill_bank(ctx *c, const sampler *p, json_t *manifest, const dt_settings *s, bank_watcher *watch,
                           void *user)
{
    const json_t *shards = json_object_get(manifest, "shards");
    int64_t image_size = p->channels * p->size * p->size, size = s->bank_shard_size, finished = 0;
    int64_t largest = size < s->bank_size ? size : s->bank_size;
    const arena_place mark = arena_mark(&c->model);
    float *x = arena_alloc(&c->model, (size_t)(largest * image_size) * sizeof *x, &c->error);
    for (bool stop = false; finished * size < s->bank_size && !stop && !ctx_failed(c);) {
        int64_t first = finished * size, n = s->bank_size - first < size ? s->bank_size - first : size;
        int64_t dims[4] = {n, p->channels, p->size, p->size};
        if (shard_is_whole(s->bank, json_array_get(shards, (size_t)finished), n) ||
            (draw_shard(c, p, x, first, n, s, watch, user, &stop) &&
             write_shard(s->bank, manifest, x, dims, finished, &c->error) == DT_OK))
            finished++;
    }
    if (finished * size < s->bank_size)
        error_set(&c->error, DT_ERR_INTERRUPTED, "%s: stopped after %lld finished shards; the same command goes on",
                  s->bank, (long long)finished);
    arena_release(&c->model, mark);
    return c->error.status;
}

dt_status bank_make(ctx *c, const dit *m, const char *base_sha256, const dt_settings *s, bank_watcher *watch,
                    void *user)
{
    sampler p;
    if (prepare_sampler(&p, m, s, &c->error) != DT_OK) return c->error.status;
    json_t *drawing = describe_drawing(s, m, base_sha256);
    json_t *manifest = begin_manifest(s->bank, drawing, &c->error);
    if (!ctx_failed(c)) fill_bank(c, &p, manifest, s, watch, user);
    json_decref(manifest);
    json_decref(drawing);
    return c->error.status;
}
