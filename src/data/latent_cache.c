#include "data/latent_cache.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/finite.h"
#include "file/json_file.h"

#define CACHE_FORMAT "difftune latents 1"

enum { SHARD_BYTES = 1 << 26, SHARD_PICTURES_MAX = 4096, SAVE_SECONDS = 60, LOCK_WAIT_NS = 200000000 };
enum { MANIFEST_KEYS = 3, SHARDS_TOGETHER = 32 }; /* checked between two questions */

/* Bits of origin's second number. */
enum { GREY = 1, PALETTE = 2, ALPHA = 4, CMYK = 8, DEEP = 16, ORIENTATION_SHIFT = 8 };

/* Where a picture is. */
typedef struct place {
    uint8_t content[DATASET_CONTENT];
    int64_t shard, row;
} place;

/* ---- the index ---- */

static int compare_places(const void *a, const void *b)
{
    return memcmp(((const place *)a)->content, ((const place *)b)->content, DATASET_CONTENT);
}

static const place *find(const latent_cache *k, const uint8_t content[DATASET_CONTENT])
{
    place wanted;
    memcpy(wanted.content, content, sizeof wanted.content);
    place *const *found = tfind(&wanted, &k->index, compare_places);
    return found ? *found : NULL;
}

/* The first place of a content stays. */
static dt_status index_row(latent_cache *k, int64_t shard, int64_t row, dt_error *err)
{
    place *p = malloc(sizeof *p);
    if (p) {
        *p = (place){.shard = shard, .row = row};
        memcpy(p->content, k->shard[shard].content[row], sizeof p->content);
        place *const *node = tsearch(p, &k->index, compare_places);
        if (node && *node == p) k->picture_count++;
        if (!node || *node != p) free(p);
        if (node) return DT_OK;
    }
    return error_set(err, DT_ERR_MEMORY, "%s: no memory for the list of its pictures", k->folder);
}

/* ---- what a picture's file held ---- */

static void pack_origin(int64_t out[4], const dataset_origin *o)
{
    out[0] = o->image.format;
    out[1] = (o->image.grey ? GREY : 0) | (o->image.palette ? PALETTE : 0) | (o->image.alpha ? ALPHA : 0) |
             (o->image.cmyk ? CMYK : 0) | (o->image.deep ? DEEP : 0) | o->image.orientation << ORIENTATION_SHIFT;
    out[2] = o->width;
    out[3] = o->height;
}

static dataset_origin unpack_origin(const int64_t in[4])
{
    return (dataset_origin){.image = {.format = (image_format)in[0],
                                      .grey = in[1] & GREY,
                                      .palette = in[1] & PALETTE,
                                      .alpha = in[1] & ALPHA,
                                      .cmyk = in[1] & CMYK,
                                      .deep = in[1] & DEEP,
                                      .orientation = (int)(in[1] >> ORIENTATION_SHIFT & 255)},
                            .width = in[2],
                            .height = in[3]};
}

static bool origin_is_possible(const int64_t in[4])
{
    return in[0] >= 0 && in[0] < IMAGE_FORMAT_COUNT && in[2] > 0 && in[3] > 0;
}

/* ---- the folder's manifest ---- */

static void shard_path(char out[DT_PATH_MAX], const latent_cache *k, int64_t number, int64_t count)
{
    char name[64];
    snprintf(name, sizeof name, "shard-%05lld-%06lld.safetensors", (long long)number, (long long)count);
    file_join(out, k->folder, name);
}

static json_t *read_manifest(const char *folder, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, "manifest.json");
    json_t *manifest = json_file_read_sealed(path, err);
    const char *format = json_string_value(json_object_get(manifest, "format"));
    if (format && !strcmp(format, CACHE_FORMAT) && json_is_array(json_object_get(manifest, "shards")) &&
        json_is_object(json_object_get(manifest, "made_by")) && json_object_size(manifest) == MANIFEST_KEYS)
        return manifest;
    error_set(err, DT_ERR_FORMAT,
              "%s: not a manifest of \"" CACHE_FORMAT "\"; remove the folder to have its pictures encoded anew", path);
    json_decref(manifest);
    return NULL;
}

static dt_status write_manifest(const latent_cache *k, dt_error *err)
{
    char path[DT_PATH_MAX];
    json_t *shards = json_array();
    for (int64_t i = 0; i < k->shard_count; i++)
        if (k->shard[i].sha256[0])
            json_add(&shards, json_pack("{s:I, s:I, s:s}", "number", (json_int_t)k->shard[i].number, "count",
                                        (json_int_t)k->shard[i].count, "sha256", k->shard[i].sha256));
    json_t *manifest =
        json_pack("{s:s, s:O, s:o}", "format", CACHE_FORMAT, "made_by", k->description, "shards", shards);
    file_join(path, k->folder, "manifest.json");
    return json_file_write_sealed(path, manifest, err);
}

/* ---- shards that are there ---- */

/* The tensor of this shape and type, aligned as C wants it; NULL when the file lacks it. */
static const void *tensor_of(const latent_shard *s, const char *name, safetensors_dtype dtype, int dim_count,
                             const int64_t dims[], size_t alignment)
{
    const tensor_entry *e = tensor_file_find(&s->file, name);
    bool fits = e && e->dtype == dtype && e->dim_count == dim_count && (uintptr_t)e->data % alignment == 0;
    for (int i = 0; fits && i < dim_count; i++) fits = e->dims[i] == (i == 0 ? s->count : dims[i]);
    return fits ? e->data : NULL;
}

/* Maps one shard; the reason it cannot be used is left in *err. */
static void map_shard(latent_shard *s, const latent_cache *k, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_hash hash;
    shard_path(path, k, s->number, s->count);
    if (safetensors_open(&s->file, path, err) != DT_OK) return;
    file_map_sha256(&hash, &s->file.map);
    s->moments = tensor_of(s, "moments", SAFETENSORS_F32, 6, k->dims, sizeof *s->moments);
    s->content = tensor_of(s, "content", SAFETENSORS_U8, 2, (int64_t[]){0, DATASET_CONTENT}, 1);
    s->origin = tensor_of(s, "origin", SAFETENSORS_I64, 2, (int64_t[]){0, 4}, sizeof **s->origin);
    if (strcmp(hash.hex, s->sha256))
        error_set(err, DT_ERR_FORMAT, "%s: SHA-256 is not the manifest's", path);
    else if (!s->moments || !s->content || !s->origin)
        error_set(err, DT_ERR_SHAPE, "%s: not a shard of %lld pictures of this codec", path, (long long)s->count);
    for (int64_t i = 0; err->status == DT_OK && i < s->count; i++) {
        if (!origin_is_possible(s->origin[i]))
            error_set(err, DT_ERR_FORMAT, "%s: picture %lld has an impossible origin", path, (long long)i);
        else if (finite_first_bad(s->moments + i * k->picture_values, k->picture_values) >= 0)
            error_set(err, DT_ERR_FORMAT, "%s: picture %lld has latents that are not finite", path, (long long)i);
    }
}

static bool read_shard_entry(latent_shard *s, const json_t *entry, const latent_cache *k)
{
    const char *sha256 = json_string_value(json_object_get(entry, "sha256"));
    *s = (latent_shard){.number = json_integer_value(json_object_get(entry, "number")),
                        .count = json_integer_value(json_object_get(entry, "count"))};
    if (!sha256 || strlen(sha256) != sizeof s->sha256 - 1) return false;
    memcpy(s->sha256, sha256, sizeof s->sha256);
    return s->number >= 0 && s->number < 1 << 30 && s->count > 0 && s->count <= k->shard_capacity;
}

/* Numbers rise, so that no file is named twice. */
static dt_status read_entries(latent_cache *k, const json_t *list, int64_t count, dt_error *err)
{
    k->shard = calloc((size_t)count + 1, sizeof *k->shard);
    if (!k->shard) error_set(err, DT_ERR_MEMORY, "%s: no memory for %lld shards", k->folder, (long long)count);
    for (int64_t i = 0; err->status == DT_OK && i < count; i++)
        if (!read_shard_entry(&k->shard[i], json_array_get(list, (size_t)i), k) ||
            (i > 0 && k->shard[i].number <= k->shard[i - 1].number))
            error_set(err, DT_ERR_FORMAT,
                      "%s/manifest.json: shard %lld: a rising number, count up to %lld and sha256 expected; remove the "
                      "folder to have its pictures encoded anew",
                      k->folder, (long long)i, (long long)k->shard_capacity);
    return err->status;
}

/* Takes a shard that was mapped, or tells why it was not. */
static void take_shard(latent_cache *k, latent_shard *s, const dt_error *why, const data_watcher *watch, dt_error *err)
{
    if (why->status == DT_OK && err->status == DT_OK) {
        const int64_t number = k->shard_count++;
        k->shard[number] = *s;
        for (int64_t row = 0; row < k->shard[number].count; row++) index_row(k, number, row, err);
    } else {
        if (error_is_of_machine(why))
            error_set(err, why->status, "%s", why->message);
        else if (err->status == DT_OK)
            say(watch->log, watch->user, "%s; its pictures are encoded again", why->message);
        tensor_file_close(&s->file);
    }
}

/* Maps and checks all shards that the manifest names, several at a time. */
static dt_status open_shards(latent_cache *k, const json_t *manifest, const data_watcher *watch, dt_error *err)
{
    const json_t *list = json_object_get(manifest, "shards");
    const int64_t count = (int64_t)json_array_size(list);
    read_entries(k, list, count, err);
    for (int64_t first = 0; err->status == DT_OK && first < count; first += SHARDS_TOGETHER) {
        const int64_t last = count - first < SHARDS_TOGETHER ? count : first + SHARDS_TOGETHER;
        dt_error why[SHARDS_TOGETHER] = {0};
        if (first > 0 && watch->go_on && !watch->go_on(watch->user, 0, 0))
            return error_set(err, DT_ERR_INTERRUPTED, "%s: stopped while its shards were checked", k->folder);
#pragma omp parallel for schedule(dynamic)
        for (int64_t i = first; i < last; i++) map_shard(&k->shard[i], k, &why[i - first]);
        for (int64_t i = first; i < last; i++) take_shard(k, &k->shard[i], &why[i - first], watch, err);
    }
    return err->status;
}

/* What a call that died left: shards that no manifest names. */
static void remove_left_overs(const latent_cache *k)
{
    file_names names;
    dt_error ignored = {0};
    file_list(&names, k->folder, &ignored);
    for (size_t i = 0; i < names.count; i++) {
        bool named = strncmp(names.name[i], "shard-", strlen("shard-")) != 0;
        char path[DT_PATH_MAX], known[DT_PATH_MAX];
        file_join(path, k->folder, names.name[i]);
        for (int64_t s = 0; s < k->shard_count && !named; s++) {
            shard_path(known, k, k->shard[s].number, k->shard[s].count);
            named = !strcmp(path, known);
        }
        if (!named) unlink(path);
    }
    file_names_free(&names);
}

/* ---- opening ---- */

static void describe(latent_cache *k, const codec *vae, int64_t resolution, const char *background)
{
    int64_t side = resolution / vae->factor;
    const int64_t dims[6] = {0, 2, codec_moment_count(vae), vae->channels, side, side};
    memcpy(k->dims, dims, sizeof dims);
    k->picture_values = 2 * dims[2] * dims[3] * side * side;
    k->shard_capacity = SHARD_BYTES / ((int64_t)sizeof(float) * k->picture_values);
    if (k->shard_capacity < 1) k->shard_capacity = 1;
    if (k->shard_capacity > SHARD_PICTURES_MAX) k->shard_capacity = SHARD_PICTURES_MAX;
    json_t *shape = json_array();
    for (int i = 1; i < 6; i++) json_add(&shape, json_integer(dims[i]));
    k->description = JSON_OBJECT({"codec", json_string(vae->name)}, {"codec_sha256", json_string(vae->sha256)},
                                 {"norm_num_groups", json_integer(vae->kl.groups)}, {"tile", json_integer(vae->tile)},
                                 {"resolution", json_integer(resolution)}, {"crop", json_string("adm")},
                                 {"background", json_string(background)}, {"shape", shape});
}

/* <cache_dir>/<resolution>-<first digits of the description's SHA-256> */
static dt_status name_folder(latent_cache *k, const char *cache_dir, int64_t resolution, dt_error *err)
{
    char name[64];
    file_hash hash;
    char *text = json_text_of(k->description, JSON_SORT_KEYS);
    if (!text) return error_set(err, DT_ERR_MEMORY, "%s: no memory to name its folder", cache_dir);
    file_sha256_bytes(&hash, text, strlen(text));
    free(text);
    snprintf(name, sizeof name, "%lld-%.16s", (long long)resolution, hash.hex);
    file_join(k->folder, cache_dir, name);
    return DT_OK;
}

static dt_status wait_for_lock(latent_cache *k, const data_watcher *watch, dt_error *err)
{
    bool told = false;
    for (;;) {
        dt_error why = {0};
        if (file_lock_folder(&k->lock, k->folder, &why) == DT_OK) return DT_OK;
        if (why.status != DT_ERR_CONFLICT) return error_set(err, why.status, "%s", why.message);
        if (!told) say(watch->log, watch->user, "%s; waiting for it", why.message);
        told = true;
        if (watch->go_on && !watch->go_on(watch->user, 0, 0))
            return error_set(err, DT_ERR_INTERRUPTED, "%s: stopped while another process was filling it", k->folder);
        nanosleep(&(struct timespec){.tv_nsec = LOCK_WAIT_NS}, NULL);
    }
}

static bool has_manifest(const latent_cache *k)
{
    char path[DT_PATH_MAX];
    file_join(path, k->folder, "manifest.json");
    return file_exists(path);
}

static dt_status read_folder(latent_cache *k, const data_watcher *watch, dt_error *err)
{
    json_t *manifest = read_manifest(k->folder, err);
    if (manifest && !json_equal(json_object_get(manifest, "made_by"), k->description))
        error_set(err, DT_ERR_FORMAT,
                  "%s/manifest.json: made by another codec or transform than the folder's name says", k->folder);
    if (err->status == DT_OK) open_shards(k, manifest, watch, err);
    json_decref(manifest);
    return err->status;
}

/* A new folder gets its manifest at once, so that what is in it is known to be ours. */
static dt_status open_folder(latent_cache *k, const data_watcher *watch, dt_error *err)
{
    if (file_make_dirs(k->folder, err) != DT_OK || wait_for_lock(k, watch, err) != DT_OK) return err->status;
    if (!has_manifest(k) && write_manifest(k, err) != DT_OK) return err->status;
    if (read_folder(k, watch, err) == DT_OK) remove_left_overs(k);
    return err->status;
}

dt_status latent_cache_open(latent_cache *k, const char *cache_dir, const codec *vae, int64_t resolution,
                            const char *background, const data_watcher *watch, dt_error *err)
{
    *k = (latent_cache){.saved_s = clock_s()};
    describe(k, vae, resolution, background);
    if (name_folder(k, cache_dir, resolution, err) == DT_OK) open_folder(k, watch, err);
    if (err->status != DT_OK) latent_cache_close(k);
    return err->status;
}

dt_status latent_cache_look(latent_cache *k, const char *cache_dir, const codec *vae, int64_t resolution,
                            const char *background, const data_watcher *watch, dt_error *err)
{
    *k = (latent_cache){0};
    describe(k, vae, resolution, background);
    if (name_folder(k, cache_dir, resolution, err) == DT_OK && has_manifest(k)) read_folder(k, watch, err);
    if (err->status != DT_OK) latent_cache_close(k);
    return err->status;
}

void latent_cache_close(latent_cache *k)
{
    if (k->index) tdestroy(k->index, free);
    for (int64_t i = 0; i < k->shard_count; i++) tensor_file_close(&k->shard[i].file);
    free(k->shard);
    free(k->growing_moments);
    free(k->growing_content);
    free(k->growing_origin);
    json_decref(k->description);
    file_unlock(&k->lock);
    *k = (latent_cache){0};
}

/* ---- reading ---- */

bool latent_cache_find(const latent_cache *k, const uint8_t content[DATASET_CONTENT], dataset_origin *origin)
{
    const place *p = find(k, content);
    if (p && origin) *origin = unpack_origin(k->shard[p->shard].origin[p->row]);
    return p != NULL;
}

const float *latent_cache_moments(const latent_cache *k, const uint8_t content[DATASET_CONTENT])
{
    const place *p = find(k, content);
    return p ? k->shard[p->shard].moments + p->row * k->picture_values : NULL;
}

/* ---- adding ---- */

/* The last shard grows in memory: one that is not full is read back, else a new one begins. */
static dt_status begin_growing(latent_cache *k, dt_error *err)
{
    latent_shard *last = k->shard_count ? &k->shard[k->shard_count - 1] : NULL;
    size_t capacity = (size_t)k->shard_capacity, values = (size_t)k->picture_values;
    bool again = last && last->count < k->shard_capacity;
    latent_shard *wider = realloc(k->shard, (size_t)(k->shard_count + 1) * sizeof *wider);
    if (wider) k->shard = wider;
    k->growing_moments = malloc(capacity * values * sizeof *k->growing_moments);
    k->growing_content = malloc(capacity * sizeof *k->growing_content);
    k->growing_origin = malloc(capacity * sizeof *k->growing_origin);
    if (!wider || !k->growing_moments || !k->growing_content || !k->growing_origin)
        return error_set(err, DT_ERR_MEMORY, "%s: no memory for a shard of %zu pictures", k->folder, capacity);
    latent_shard *s = &k->shard[again ? k->shard_count - 1 : k->shard_count];
    if (again) {
        size_t count = (size_t)s->count;
        memcpy(k->growing_moments, s->moments, count * values * sizeof *s->moments);
        memcpy(k->growing_content, s->content, count * sizeof *s->content);
        memcpy(k->growing_origin, s->origin, count * sizeof *s->origin);
        tensor_file_close(&s->file);
    } else {
        *s = (latent_shard){.number = k->shard_count ? s[-1].number + 1 : 0};
        k->shard_count++;
    }
    s->moments = k->growing_moments;
    s->content = (const uint8_t(*)[DATASET_CONTENT])k->growing_content;
    s->origin = (const int64_t(*)[4])k->growing_origin;
    return DT_OK;
}

/* Writes the growing shard under the name of its new length; the manifest follows, then the shorter file goes. */
static dt_status save_growing(latent_cache *k, dt_error *err)
{
    latent_shard *s = &k->shard[k->shard_count - 1], old = *s;
    char path[DT_PATH_MAX], shorter[DT_PATH_MAX];
    file_hash hash;
    int64_t dims[6];
    memcpy(dims, k->dims, sizeof dims);
    dims[0] = s->count;
    shard_path(path, k, s->number, s->count);
    shard_path(shorter, k, s->number, s->count - k->unsaved);
    const tensor_source sources[] = {
        {.name = "moments", .dtype = SAFETENSORS_F32, .dim_count = 6, .dims = dims, .values = s->moments},
        {.name = "content",
         .dtype = SAFETENSORS_U8,
         .dim_count = 2,
         .dims = (int64_t[]){s->count, DATASET_CONTENT},
         .data = s->content},
        {.name = "origin",
         .dtype = SAFETENSORS_I64,
         .dim_count = 2,
         .dims = (int64_t[]){s->count, 4},
         .data = s->origin}};
    if (safetensors_write(path, sources, 3, NULL, 0, &hash, err) != DT_OK) return err->status;
    memcpy(s->sha256, hash.hex, sizeof s->sha256);
    if (write_manifest(k, err) != DT_OK) {
        unlink(path);
        *s = old;
        return err->status;
    }
    if (old.sha256[0]) unlink(shorter);
    k->unsaved = 0;
    k->saved_s = clock_s();
    return DT_OK;
}

int64_t latent_cache_growing_bytes(const latent_cache *k, int64_t pictures)
{
    const int64_t at_once = pictures < k->shard_capacity ? pictures : k->shard_capacity;
    return at_once * k->picture_values * (int64_t)sizeof *k->growing_moments;
}

/* The growing shard, saved, becomes a mapped one. */
static dt_status end_growing(latent_cache *k, dt_error *err)
{
    if (!k->growing_moments) return err->status;
    if (k->unsaved > 0 && save_growing(k, err) != DT_OK) return err->status;
    latent_shard *s = &k->shard[k->shard_count - 1];
    map_shard(s, k, err);
    free(k->growing_moments);
    free(k->growing_content);
    free(k->growing_origin);
    k->growing_moments = NULL;
    k->growing_content = NULL;
    k->growing_origin = NULL;
    return err->status;
}

dt_status latent_cache_add(latent_cache *k, const dataset_file *file, const float *moments, dt_error *err)
{
    if (!k->growing_moments && begin_growing(k, err) != DT_OK) return err->status;
    latent_shard *s = &k->shard[k->shard_count - 1];
    memcpy(k->growing_moments + s->count * k->picture_values, moments, (size_t)k->picture_values * sizeof *moments);
    memcpy(k->growing_content[s->count], file->content, sizeof file->content);
    pack_origin(k->growing_origin[s->count], &file->origin);
    if (index_row(k, k->shard_count - 1, s->count, err) != DT_OK) return err->status;
    s->count++;
    k->unsaved++;
    if (s->count == k->shard_capacity) return end_growing(k, err);
    return clock_s() - k->saved_s > SAVE_SECONDS ? save_growing(k, err) : DT_OK;
}

dt_status latent_cache_finish(latent_cache *k, dt_error *err)
{
    end_growing(k, err);
    file_unlock(&k->lock);
    return err->status;
}

/* ---- describing ---- */

static json_t *describe_pair(const char *folder, dt_error *err)
{
    json_t *manifest = read_manifest(folder, err);
    if (!manifest) return NULL;
    json_int_t pictures = 0;
    size_t i, shards = json_array_size(json_object_get(manifest, "shards"));
    json_t *shard;
    json_array_foreach(json_object_get(manifest, "shards"), i, shard) pictures +=
        json_integer_value(json_object_get(shard, "count"));
    json_t *out = json_pack("{s:s, s:s, s:O, s:I, s:I}", "kind", "latents", "path", folder, "made_by",
                            json_object_get(manifest, "made_by"), "pictures", pictures, "shards", (json_int_t)shards);
    json_decref(manifest);
    return out;
}

/* A folder with a manifest of this format; others' folders and broken ones are not. */
static bool is_pair(const char *folder)
{
    dt_error ignored = {0};
    json_t *manifest = read_manifest(folder, &ignored);
    json_decref(manifest);
    return manifest != NULL;
}

json_t *latent_cache_describe(const char *folder, dt_error *err)
{
    if (is_pair(folder)) return describe_pair(folder, err);
    file_names names;
    json_t *pairs = json_array();
    if (file_list(&names, folder, err) != DT_OK) names.count = 0;
    for (size_t i = 0; i < names.count; i++) {
        char path[DT_PATH_MAX];
        file_join(path, folder, names.name[i]);
        if (is_pair(path)) json_add(&pairs, describe_pair(path, err));
    }
    file_names_free(&names);
    if (json_array_size(pairs) == 0) {
        json_decref(pairs);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:o}", "kind", "latent cache", "path", folder, "folders", pairs);
}
