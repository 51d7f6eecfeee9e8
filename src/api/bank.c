/* Making the memory bank (data/bank.h): drawn from the frozen model into shards, each of which is finished before the next is
 * begun. */
#include "api/bank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/controls.h"
#include "api/prompts.h"
#include "api/together.h"
#include "base/clock.h"
#include "container/safetensors.h"
#include "file/folder.h"
#include "file/json_file.h"
#include "file/lock.h"
#include "file/names.h"
#include "image/image.h"
#include "measure/drawing.h"
#include "model/file/of_run.h"
#include "model/maker.h"
#include "data/watch.h"

static void shard_name(char out[64], int64_t shard)
{
    snprintf(out, 64, "shard-%05lld.safetensors", (long long)shard);
}

/* ---- manifest ---- */

static dt_status write_manifest(const char *folder, json_t *manifest, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, MANIFEST_FILE);
    return json_file_write_sealed(path, json_incref(manifest), err);
}

/* What an image of the bank depends on besides its index. */
static json_t *describe_drawing(const dt_settings *s, const denoiser *d, const char *base_sha256, const examples *told,
                                const bank_control *control)
{
    const bool guided = s->bank_labels == DT_BANK_CLASSES;
    json_t *all = JSON_OBJECT(
        {"base_sha256", json_string(base_sha256)},
        {"mixed_precision", json_string(settings_word(s, "mixed_precision"))},
        {"sampler", json_string(settings_word(s, "sampler"))},
        {"num_inference_steps", json_integer(s->num_inference_steps)},
        {"timestep_spacing", json_string(api_spacing_word(s))}, {"eta", json_real(s->eta)},
        {"clip_sample", json_boolean(s->clip_sample)}, {"labels", json_string(settings_word(s, "bank_labels"))},
        {"guidance_scale", json_real(guided ? s->guidance_scale : 1)},
        {"guidance_channels",
         json_string(settings_word_at("guidance_channels", guided ? sampler_guidance_channels(d, s) : DT_GUIDE_ALL))},
        {"seed", json_integer(s->seed)},
        {"shape",
         json_pack("[I,I,I]", (json_int_t)d->shape.channels, (json_int_t)d->shape.height, (json_int_t)d->shape.width)},
        {"shard_size", json_integer(s->bank_shard_size)});
    if (all && told && told->sha256[0]) json_put(&all, "told_sha256", json_string(told->sha256));
    if (all && control) {
        json_put(&all, "control", json_string(s->control));
        json_put(&all, "control_settings", json_string(control->annotator->settings));
        json_put(&all, "control_weights", json_string(control->annotator->sha256));
        json_put(&all, "vae_sha256", json_string(control->codec->sha256));
    }
    return all;
}

/* What a drawing is known by the hash of, in words; NULL: `key` is a setting. */
static const char *content_of(const char *key)
{
    static const char *const contents[][2] = {
        {"base_sha256", "another base model (pretrained_model)"},
        {"told_sha256", "other prompts or control pictures"},
        {"control_weights", "other weights of the annotator (annotator_weights)"},
        {"vae_sha256", "another autoencoder (vae)"},
    };
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++)
        if (!strcmp(contents[i][0], key)) return contents[i][1];
    return NULL;
}

static dt_status check_same_drawing(const json_t *manifest, const json_t *description, const char *folder,
                                    dt_error *err)
{
    const json_t *found = json_object_get(manifest, "drawing");
    if (json_equal(found, description)) return DT_OK;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)description, key, value)
    {
        json_t *other = json_object_get(found, key);
        if (json_equal(other, value)) continue;
        if (content_of(key)) {
            error_set(err, DT_ERR_CONFLICT, "%s: holds a bank drawn with %s than this call's", folder, content_of(key));
            continue;
        }
        char *a = json_text_of(other, JSON_ENCODE_ANY), *b = json_text_of(value, JSON_ENCODE_ANY);
        error_set(err, DT_ERR_CONFLICT, "%s: holds a bank drawn with %s %s, this call asks for %s", folder, key,
                  a ? a : "missing", b ? b : "?");
        free(a);
        free(b);
    }
    return error_set(err, DT_ERR_CONFLICT, "%s: holds another bank", folder);
}

/* ---- making ---- */

/* A bank that is being made. */
typedef struct making {
    ctx *c;
    drawing drawing;
    class_list labels;
    const dt_settings *s;
    json_t *manifest;
    file_lock lock;
    const dt_observer *observer;
    double started_s;
    const bank_control *control; /* NULL: none is made */
    float *x;                    /* of the shard that is being drawn */
    uint8_t *maps;               /* likewise, of control pictures */
    int64_t shard_first, drawn;  /* the shard's first sample, and the one after the last that was drawn */
    bool stop;
} making;

static dt_status prepare_drawing(making *k, const denoiser *d, const examples *told)
{
    ctx *c = k->c;
    const dt_settings *s = k->s;
    const bool null = s->bank_labels == DT_BANK_NULL;
    k->drawing = (drawing){.labels = d->class_count ? &k->labels : NULL,
                           .told = told,
                           .codec = k->control ? k->control->codec : NULL,
                           .batch = s->sample_batch_size,
                           .shared = true};
    if (sampler_open(&k->drawing.sampler, d, s, &c->error) != DT_OK) return c->error.status;
    k->drawing.sampler.start = RNG_BANK_START;
    k->drawing.sampler.step = RNG_BANK_STEP;
    if (null) k->drawing.sampler.guidance.scale = 1;
    return null ? class_list_one(&k->labels, c, denoiser_null_class(d)) : class_list_all(&k->labels, c, d->class_count);
}

/* Values of one map. */
static int64_t map_bytes(const making *k)
{
    if (!k->control) return 0;
    const sample_shape s = drawing_picture_shape(&k->drawing);
    return s.height * s.width * k->control->annotator->channels;
}

/* The control of each picture of a batch: the annotator's map of it, as files would show the picture. */
static void annotate_batch(making *k, const drawn *b)
{
    ctx *c = k->c;
    const sample_shape s = drawing_picture_shape(&k->drawing);
    for (int64_t i = 0; i < b->n && !ctx_failed(c); i++) {
        image picture = {0};
        uint8_t *map = k->maps + (b->first + i - k->shard_first) * map_bytes(k);
        if (image_grid(&picture, b->pictures + i * sample_values(s), 1, s.channels, s.height, s.width, 1, &c->error) ==
            DT_OK)
            annotate(c, k->control->annotator, map, picture.rgb, s.height, s.width);
        image_close(&picture);
    }
}

static bool keep_batch(void *user, drawn *b)
{
    making *k = user;
    const int64_t each = sample_values(k->drawing.sampler.shape), done = b->first + b->n;
    if (k->control) annotate_batch(k, b);
    memcpy(k->x + (b->first - k->shard_first) * each, b->x, (size_t)(b->n * each) * sizeof *k->x);
    k->drawn = done;
    k->stop = !watch_progress(k->observer, "bank", done, k->s->bank_size, clock_s() - k->started_s);
    return !k->stop;
}

/* What samples number first.. were told of one kind, as it lies: floats, or maps of bytes. False where there is none. */
static bool list_table(tensor_source *out, int64_t dims[4], const making *k, const char *name, const example_table *t,
                       int64_t first, int64_t n)
{
    const int64_t count = k->drawing.told->count;
    const size_t bytes = example_table_row_bytes(t);
    uint8_t *rows = t->row ? arena_alloc(&k->c->scratch, (size_t)n * bytes, &k->c->error) : NULL;
    if (!rows) return false;
    for (int64_t i = first; i < first + n; i++)
        memcpy(rows + (size_t)(i - first) * bytes, example_table_row(t, i % count, i / count), bytes);
    const int64_t map[] = {t->dim[1], t->dim[2], t->map_channels};
    const bool maps = t->map_channels > 0;
    dims[0] = n;
    memcpy(dims + 1, maps ? map : t->dim, (size_t)t->dim_count * sizeof *dims);
    *out = (tensor_source){.name = name,
                           .dtype = maps ? SAFETENSORS_U8 : SAFETENSORS_F32,
                           .dim_count = t->dim_count + 1,
                           .dims = dims,
                           .values = maps ? NULL : (const float *)rows,
                           .data = maps ? rows : NULL,
                           .finite = !maps};
    return true;
}

/* The tensors of a shard: x, and what else the samples were told. */
static size_t list_tensors(tensor_source out[3], int64_t dims[3][4], const making *k, int64_t first, int64_t n)
{
    const sample_shape *shape = &k->drawing.sampler.shape;
    const examples *e = k->drawing.told;
    size_t count = 1;
    memcpy(dims[0], (int64_t[]){n, shape->channels, shape->height, shape->width}, sizeof dims[0]);
    out[0] = (tensor_source){
        .name = "x", .dtype = SAFETENSORS_F32, .dim_count = 4, .dims = dims[0], .values = k->x, .finite = true};
    if (e && list_table(&out[count], dims[count], k, "context", &e->context, first, n)) count++;
    if (e && list_table(&out[count], dims[count], k, "control", &e->control, first, n)) count++;
    if (k->control) {
        const sample_shape s = drawing_picture_shape(&k->drawing);
        memcpy(dims[count], (int64_t[]){n, s.height, s.width, k->control->annotator->channels}, sizeof dims[count]);
        out[count] = (tensor_source){
            .name = "control", .dtype = SAFETENSORS_U8, .dim_count = 4, .dims = dims[count], .data = k->maps};
        count++;
    }
    return count;
}

/* A bank of fewer samples than are wanted says how many those are. */
static dt_status mark_wanted(making *k)
{
    if (bank_manifest_count(k->manifest) < k->s->bank_size)
        json_put(&k->manifest, BANK_WANTED, json_integer(k->s->bank_size));
    else
        json_object_del(k->manifest, BANK_WANTED);
    return k->manifest ? DT_OK : error_set(&k->c->error, DT_ERR_MEMORY, "%s: no memory for its manifest", k->s->bank);
}

static dt_status write_shard(making *k, int64_t shard, int64_t first, int64_t n)
{
    char name[64], path[DT_PATH_MAX];
    file_hash hash;
    tensor_source source[3];
    int64_t dims[3][4];
    dt_error *err = &k->c->error;
    const arena_place mark = arena_mark(&k->c->scratch);
    shard_name(name, shard);
    file_join(path, k->s->bank, name);
    const size_t count = list_tensors(source, dims, k, first, n);
    if (err->status == DT_OK) safetensors_write(path, source, count, NULL, 0, &hash, err);
    arena_release(&k->c->scratch, mark);
    if (err->status != DT_OK) return err->status;
    json_t *shards = json_object_get(k->manifest, "shards");
    json_t *entry = json_pack("{s:s, s:s, s:I}", "file", name, "sha256", hash.hex, "count", (json_int_t)n);
    const bool again = (int64_t)json_array_size(shards) > shard;
    if ((again ? json_array_set_new(shards, (size_t)shard, entry) : json_array_append_new(shards, entry)) != 0)
        return error_set(err, DT_ERR_MEMORY, "%s: no memory for its manifest", k->s->bank);
    return mark_wanted(k) == DT_OK ? write_manifest(k->s->bank, k->manifest, err) : err->status;
}

/* The manifest of an earlier call, or a new one in a folder that is missing or empty. It is written before the first shard:
 * a folder that has it is this bank's, wherever a call was stopped. */
static json_t *begin_manifest(const char *folder, json_t *description, file_lock *lock, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, MANIFEST_FILE);
    if (!file_exists(path) &&
        (file_check_free_folder(folder, "bank", err) != DT_OK || file_make_dirs(folder, err) != DT_OK))
        return NULL;
    if (file_lock_folder(lock, folder, err) != DT_OK) return NULL;
    json_t *manifest = file_exists(path) ? bank_manifest_read(folder, err) : NULL;
    if (err->status != DT_OK) return NULL;
    if (manifest && json_array_size(json_object_get(manifest, "shards")) > 0) {
        check_same_drawing(manifest, description, folder, err);
        return manifest;
    }
    json_decref(manifest); /* of a call that failed before it drew anything */
    manifest = json_pack("{s:s, s:O, s:[]}", "format", BANK_FORMAT, "drawing", description, "shards");
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

/* Draws and writes one shard; true when it is finished. */
static bool make_shard(making *k, int64_t shard, int64_t first, int64_t n)
{
    k->shard_first = first;
    if (drawing_run(k->c, &k->drawing, first, first + n, keep_batch, k) != DT_OK) return false;
    return !(k->stop && k->drawn < first + n) && write_shard(k, shard, first, n) == DT_OK;
}

/* Of a sample in a shard, beside x. */
static int64_t told_bytes(const making *k)
{
    const examples *e = k->drawing.told;
    const size_t context = e && e->context.row ? example_table_row_bytes(&e->context) : 0;
    return (int64_t)(context + (e && e->control.row ? example_table_row_bytes(&e->control) : 0)) + map_bytes(k);
}

/* Shards are full but for the last one, which a larger bank_size draws again to its new length: sample i does not change.
 * A shard that is not whole any more is drawn again too. */
static dt_status fill_bank(making *k)
{
    ctx *c = k->c;
    const json_t *shards = json_object_get(k->manifest, "shards");
    const int64_t total = k->s->bank_size, size = k->s->bank_shard_size, largest = size < total ? size : total;
    const int64_t each = sample_values(k->drawing.sampler.shape) * (int64_t)sizeof *k->x, told = told_bytes(k);
    const int64_t missing = total - (int64_t)json_array_size(shards) * size;
    if (missing > 0 && file_check_space(k->s->bank, missing * (each + told), "the bank", &c->error) != DT_OK)
        return c->error.status;
    const arena_place mark = arena_mark(&c->model);
    k->x = arena_alloc(&c->model, (size_t)(largest * each), &c->error);
    k->maps = arena_alloc(&c->model, (size_t)(largest * map_bytes(k)), &c->error);
    if (missing > 0 && k->x) drawing_tell_need(c, &k->drawing, largest, NULL, k->observer, 0);
    int64_t finished = 0;
    while (finished * size < total && !k->stop && ctx_go_on(c)) {
        const int64_t first = finished * size, n = total - first < size ? total - first : size;
        if (shard_is_whole(k->s->bank, json_array_get(shards, (size_t)finished), n) ||
            make_shard(k, finished, first, n))
            finished++;
    }
    if (finished * size < total)
        error_set(&c->error, DT_ERR_INTERRUPTED, "%s: stopped after %lld finished shards; the same command goes on",
                  k->s->bank, (long long)finished);
    arena_release(&c->model, mark);
    return c->error.status;
}

/* What this call wants of a bank that was begun. */
static dt_status note_wanted(making *k)
{
    const json_int_t before = json_integer_value(json_object_get(k->manifest, BANK_WANTED));
    api_tell_beyond(k->observer, k->s->bank, bank_manifest_count(k->manifest), "bank_size", k->s->bank_size);
    if (mark_wanted(k) == DT_OK && json_integer_value(json_object_get(k->manifest, BANK_WANTED)) != before)
        write_manifest(k->s->bank, k->manifest, &k->c->error);
    return k->c->error.status;
}

dt_status bank_make(ctx *c, const denoiser *d, const char *base_sha256, const examples *told,
                    const bank_control *control, const dt_settings *s, const dt_observer *observer)
{
    making k = {.c = c, .s = s, .observer = observer, .control = control, .started_s = clock_s()};
    if (prepare_drawing(&k, d, told) != DT_OK) return c->error.status;
    if (rank_follows(c->ranks)) return drawing_follow(c, &k.drawing, observer->should_stop, observer->user);
    json_t *description = describe_drawing(s, d, base_sha256, told, control);
    if (description)
        k.manifest = begin_manifest(s->bank, description, &k.lock, &c->error);
    else
        error_set(&c->error, DT_ERR_MEMORY, "%s: no memory for its manifest", s->bank);
    if (!ctx_failed(c) && note_wanted(&k) == DT_OK) fill_bank(&k);
    json_decref(k.manifest);
    json_decref(description);
    file_unlock(&k.lock);
    return c->error.status;
}

/* With `control` an annotator sees what is drawn. */
static dt_status make_controlled(ctx *c, const denoiser *d, const char *base_sha256, const examples *told,
                                 const dt_settings *s, const dt_observer *observer)
{
    codec pictures;
    annotator a;
    bool wanted;
    if (controls_annotator(c, &a, s, &wanted) != DT_OK) return c->error.status;
    if (!wanted) return bank_make(c, d, base_sha256, told, NULL, s, observer);
    if (codec_open_for(c, &pictures, s->vae, s->pretrained_model, d->shape.channels) != DT_OK) return c->error.status;
    return bank_make(c, d, base_sha256, told, &(bank_control){&a, &pictures}, s, observer);
}

/* What the network is told goes with the model, or the log says so. */
static dt_status make_told(ctx *c, const denoiser *d, const model_info *info, const prompts *told, const dt_settings *s,
                           const dt_observer *observer)
{
    of_run_tell_others(info->metadata,
                       &(of_run_use){s->pretrained_model, "", "", s->text_encoder, told->encoder_sha256}, observer);
    return make_controlled(c, d, info->sha256, told->list.count ? &told->told : NULL, s, observer);
}

dt_status dt_bank(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    denoiser d;
    model_file f = {0};
    prompts told = {0};
    model_info info = {0};
    together t;
    observer = together_observer(&t, c, api_observer(observer));
    if (api_enter(c, s, SETTINGS_BANK, observer) != DT_OK) return api_leave(c);
    const model_choice choice = model_choice_of(s, observer);
    if (model_file_open_as(&f, s->pretrained_model, &choice, model_kinds_all, &c->error) == DT_OK &&
        prompts_open(c, &told, &f, s, s->bank_size, observer) == DT_OK &&
        model_file_load(c, &d, &info, &f, NULL) == DT_OK && prompts_join(c, &told, &d) == DT_OK)
        make_told(c, &d, &info, &told, s, observer);
    model_file_close(&f);
    prompts_close(&told);
    model_info_free(&info);
    return api_leave(c);
}
