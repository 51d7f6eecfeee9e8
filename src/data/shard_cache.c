#include "data/shard_cache.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "file/folder.h"
#include "file/names.h"

enum { SHARD_BYTES = 1 << 26, SHARD_ROWS_MAX = 4096, SAVE_SECONDS = 60, LOCK_WAIT_NS = 200000000 };
enum { MANIFEST_KEYS = 3, SHARDS_TOGETHER = 32 }; /* checked between two questions */

/* Where a row is. */
typedef struct place {
    uint8_t content[SHARD_KEY];
    int64_t shard, row;
} place;

/* ---- the index ---- */

static int compare_places(const void *a, const void *b)
{
    return memcmp(((const place *)a)->content, ((const place *)b)->content, SHARD_KEY);
}

static const place *find(const shard_cache *k, const uint8_t content[SHARD_KEY])
{
    place wanted;
    memcpy(wanted.content, content, sizeof wanted.content);
    place *const *found = tfind(&wanted, &k->index, compare_places);
    return found ? *found : NULL;
}

/* The first place of a content stays. */
static dt_status index_row(shard_cache *k, int64_t shard, int64_t row, dt_error *err)
{
    place *p = malloc(sizeof *p);
    if (p) {
        *p = (place){.shard = shard, .row = row};
        memcpy(p->content, k->shard[shard].content[row], sizeof p->content);
        place *const *node = tsearch(p, &k->index, compare_places);
        if (node && *node == p) k->row_count++;
        if (!node || *node != p) free(p);
        if (node) return DT_OK;
    }
    return error_set(err, DT_ERR_MEMORY, "%s: no memory for the list of its %s", k->folder, k->kind.rows);
}

static const void *values_at(const shard_cache *k, int64_t shard, int64_t row, int tensor)
{
    return k->shard[shard].values[tensor] + (size_t)row * k->kind.tensor[tensor].row_bytes;
}

/* ---- the folder's manifest ---- */

static void shard_path(char out[DT_PATH_MAX], const shard_cache *k, int64_t number, int64_t count)
{
    char name[64];
    snprintf(name, sizeof name, "shard-%05lld-%06lld.safetensors", (long long)number, (long long)count);
    file_join(out, k->folder, name);
}

static json_t *read_manifest(const char *folder, const char *expected, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, MANIFEST_FILE);
    json_t *manifest = json_file_read_sealed(path, err);
    if (!strcmp(json_text_at(manifest, "format"), expected) && json_is_array(json_object_get(manifest, "shards")) &&
        json_is_object(json_object_get(manifest, "made_by")) && json_object_size(manifest) == MANIFEST_KEYS)
        return manifest;
    error_set(err, DT_ERR_FORMAT, "%s: not a manifest of \"%s\"; remove the folder to have what is in it made anew",
              path, expected);
    json_decref(manifest);
    return NULL;
}

static dt_status write_manifest(const shard_cache *k, dt_error *err)
{
    char path[DT_PATH_MAX];
    json_t *shards = json_array();
    for (int64_t i = 0; i < k->shard_count; i++)
        if (k->shard[i].sha256[0])
            json_add(&shards, json_pack("{s:I, s:I, s:s}", "number", (json_int_t)k->shard[i].number, "count",
                                        (json_int_t)k->shard[i].count, "sha256", k->shard[i].sha256));
    json_t *manifest = json_pack("{s:s, s:O, s:o}", "format", k->kind.format, "made_by", k->made_by, "shards", shards);
    file_join(path, k->folder, MANIFEST_FILE);
    return json_file_write_sealed(path, manifest, err);
}

/* ---- shards that are there ---- */

/* The tensor's values, aligned as C wants them; NULL when the file lacks it. */
static const void *values_of(const cache_shard *s, const char *name, safetensors_dtype dtype, int dim_count,
                             const int64_t dim[])
{
    const tensor_entry *e = tensor_file_find(&s->file, name);
    bool fits = e && e->dtype == dtype && e->dim_count == dim_count + 1 && e->dims[0] == s->count &&
                (uintptr_t)e->data % (safetensors_dtype_bits(dtype) / 8) == 0;
    for (int i = 0; fits && i < dim_count; i++) fits = e->dims[i + 1] == dim[i];
    return fits ? e->data : NULL;
}

static void check_rows(const cache_shard *s, const shard_cache *k, const char *path, dt_error *err)
{
    for (int64_t i = 0; err->status == DT_OK && i < s->count; i++) {
        const void *row[SHARD_TENSORS_MAX] = {NULL};
        for (int j = 0; j < k->kind.tensor_count; j++) row[j] = s->values[j] + (size_t)i * k->kind.tensor[j].row_bytes;
        const char *wrong = k->kind.wrong ? k->kind.wrong(&k->kind, row) : NULL;
        if (wrong)
            error_set(err, DT_ERR_FORMAT, "%s: number %lld of its %s %s", path, (long long)i, k->kind.rows, wrong);
    }
}

/* Maps one shard; the reason it cannot be used is left in *err. */
static void map_shard(cache_shard *s, const shard_cache *k, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_hash hash;
    shard_path(path, k, s->number, s->count);
    if (safetensors_open(&s->file, path, err) != DT_OK) return;
    file_map_sha256(&hash, &s->file.map);
    s->content = values_of(s, "content", SAFETENSORS_U8, 1, (int64_t[]){SHARD_KEY});
    bool whole = s->content != NULL;
    for (int j = 0; j < k->kind.tensor_count; j++) {
        const shard_tensor *t = &k->kind.tensor[j];
        s->values[j] = values_of(s, t->name, t->dtype, t->dim_count, t->dim);
        whole = whole && s->values[j];
    }
    if (strcmp(hash.hex, s->sha256))
        error_set(err, DT_ERR_FORMAT, "%s: SHA-256 is not the manifest's", path);
    else if (!whole)
        error_set(err, DT_ERR_SHAPE, "%s: not a shard of %lld %s made so", path, (long long)s->count, k->kind.rows);
    else
        check_rows(s, k, path, err);
}

static bool read_shard_entry(cache_shard *s, const json_t *entry, const shard_cache *k)
{
    const char *sha256 = json_string_value(json_object_get(entry, "sha256"));
    *s = (cache_shard){.number = json_integer_value(json_object_get(entry, "number")),
                       .count = json_integer_value(json_object_get(entry, "count"))};
    if (!sha256 || strlen(sha256) != sizeof s->sha256 - 1) return false;
    memcpy(s->sha256, sha256, sizeof s->sha256);
    return s->number >= 0 && s->number < 1 << 30 && s->count > 0 && s->count <= k->shard_capacity;
}

/* Numbers rise, so that no file is named twice. */
static dt_status read_entries(shard_cache *k, const json_t *list, int64_t count, dt_error *err)
{
    k->shard = calloc((size_t)count + 1, sizeof *k->shard);
    if (!k->shard) error_set(err, DT_ERR_MEMORY, "%s: no memory for %lld shards", k->folder, (long long)count);
    for (int64_t i = 0; err->status == DT_OK && i < count; i++)
        if (!read_shard_entry(&k->shard[i], json_array_get(list, (size_t)i), k) ||
            (i > 0 && k->shard[i].number <= k->shard[i - 1].number))
            error_set(err, DT_ERR_FORMAT,
                      "%s/manifest.json: shard %lld: a rising number, count up to %lld and sha256 expected; remove the "
                      "folder to have what is in it made anew",
                      k->folder, (long long)i, (long long)k->shard_capacity);
    return err->status;
}

/* Takes a shard that was mapped, or tells why it was not. */
static void take_shard(shard_cache *k, cache_shard *s, const dt_error *why, const data_watcher *watch, dt_error *err)
{
    if (why->status == DT_OK && err->status == DT_OK) {
        const int64_t number = k->shard_count++;
        k->shard[number] = *s;
        for (int64_t row = 0; row < k->shard[number].count; row++) index_row(k, number, row, err);
    } else {
        if (error_is_of_machine(why))
            error_set(err, why->status, "%s", why->message);
        else if (err->status == DT_OK)
            say(watch->log, watch->user, "%s; its %s are made again", why->message, k->kind.rows);
        tensor_file_close(&s->file);
    }
}

/* Maps and checks all shards that the manifest names, several at a time. */
static dt_status open_shards(shard_cache *k, const json_t *manifest, const data_watcher *watch, dt_error *err)
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
static void remove_left_overs(const shard_cache *k)
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

static void set_kind(shard_cache *k, const shard_kind *kind)
{
    k->kind = *kind;
    for (int i = 0; i < kind->tensor_count; i++) {
        shard_tensor *t = &k->kind.tensor[i];
        t->row_bytes = (size_t)safetensors_dtype_bits(t->dtype) / 8;
        for (int j = 0; j < t->dim_count; j++) t->row_bytes *= (size_t)t->dim[j];
    }
    k->shard_capacity = SHARD_BYTES / (int64_t)k->kind.tensor[0].row_bytes;
    if (k->shard_capacity < 1) k->shard_capacity = 1;
    if (k->shard_capacity > SHARD_ROWS_MAX) k->shard_capacity = SHARD_ROWS_MAX;
}

static dt_status name_folder(shard_cache *k, const char *cache_dir, const char *prefix, dt_error *err)
{
    char name[64];
    file_hash hash;
    char *text = json_text_of(k->made_by, JSON_SORT_KEYS);
    if (!text) return error_set(err, DT_ERR_MEMORY, "%s: no memory to name its folder", cache_dir);
    file_sha256_bytes(&hash, text, strlen(text));
    free(text);
    snprintf(name, sizeof name, "%.40s-%.16s", prefix, hash.hex);
    file_join(k->folder, cache_dir, name);
    return DT_OK;
}

static dt_status wait_for_lock(shard_cache *k, const data_watcher *watch, dt_error *err)
{
    bool told = false;
    for (;;) {
        dt_error why = {0};
        if (file_lock_folder(&k->lock, k->folder, &why) == DT_OK) return DT_OK;
        if (why.status != DT_ERR_CONFLICT) return error_set(err, why.status, "%s", why.message);
        if (file_lock_is_own(k->folder))
            return error_set(err, DT_ERR_CONFLICT,
                             "%s: the call that fills it was begun by this thread and has not ended", k->folder);
        if (!told) say(watch->log, watch->user, "%s; waiting for it", why.message);
        told = true;
        if (watch->go_on && !watch->go_on(watch->user, 0, 0))
            return error_set(err, DT_ERR_INTERRUPTED, "%s: stopped while another process was filling it", k->folder);
        nanosleep(&(struct timespec){.tv_nsec = LOCK_WAIT_NS}, NULL);
    }
}

static bool has_manifest(const shard_cache *k)
{
    char path[DT_PATH_MAX];
    file_join(path, k->folder, MANIFEST_FILE);
    return file_exists(path);
}

static dt_status read_folder(shard_cache *k, const data_watcher *watch, dt_error *err)
{
    json_t *manifest = read_manifest(k->folder, k->kind.format, err);
    if (manifest && !json_equal(json_object_get(manifest, "made_by"), k->made_by))
        error_set(err, DT_ERR_FORMAT, "%s/manifest.json: made by something else than the folder's name says",
                  k->folder);
    if (err->status == DT_OK) open_shards(k, manifest, watch, err);
    json_decref(manifest);
    return err->status;
}

/* A new folder gets its manifest at once, so that what is in it is known to be ours. */
static dt_status open_folder(shard_cache *k, const data_watcher *watch, dt_error *err)
{
    if (file_make_dirs(k->folder, err) != DT_OK || wait_for_lock(k, watch, err) != DT_OK) return err->status;
    if (!has_manifest(k) && write_manifest(k, err) != DT_OK) return err->status;
    if (read_folder(k, watch, err) == DT_OK) remove_left_overs(k);
    return err->status;
}

dt_status shard_cache_open(shard_cache *k, const shard_kind *kind, const char *cache_dir, const char *name,
                           json_t *made_by, const data_watcher *watch, dt_error *err)
{
    *k = (shard_cache){.made_by = made_by, .saved_s = clock_s()};
    set_kind(k, kind);
    if (name_folder(k, cache_dir, name, err) == DT_OK) open_folder(k, watch, err);
    if (err->status != DT_OK) shard_cache_close(k);
    return err->status;
}

dt_status shard_cache_look(shard_cache *k, const shard_kind *kind, const char *cache_dir, const char *name,
                           json_t *made_by, const data_watcher *watch, dt_error *err)
{
    *k = (shard_cache){.made_by = made_by};
    set_kind(k, kind);
    if (name_folder(k, cache_dir, name, err) == DT_OK && has_manifest(k)) read_folder(k, watch, err);
    if (err->status != DT_OK) shard_cache_close(k);
    return err->status;
}

static void free_growing(shard_cache *k)
{
    for (int i = 0; i < k->kind.tensor_count; i++) {
        free(k->growing_values[i]);
        k->growing_values[i] = NULL;
    }
    free(k->growing_content);
    k->growing_content = NULL;
}

void shard_cache_close(shard_cache *k)
{
    if (k->index) tdestroy(k->index, free);
    for (int64_t i = 0; i < k->shard_count; i++) tensor_file_close(&k->shard[i].file);
    free(k->shard);
    free_growing(k);
    json_decref(k->made_by);
    file_unlock(&k->lock);
    *k = (shard_cache){0};
}

const void *shard_cache_find(const shard_cache *k, const uint8_t content[SHARD_KEY], int tensor)
{
    const place *p = find(k, content);
    return p ? values_at(k, p->shard, p->row, tensor) : NULL;
}

/* ---- adding ---- */

static bool take_growing(shard_cache *k)
{
    bool whole = true;
    for (int i = 0; i < k->kind.tensor_count; i++) {
        k->growing_values[i] = malloc((size_t)k->shard_capacity * k->kind.tensor[i].row_bytes);
        whole = whole && k->growing_values[i];
    }
    k->growing_content = malloc((size_t)k->shard_capacity * sizeof *k->growing_content);
    return whole && k->growing_content;
}

/* The last shard grows in memory: one that is not full is read back, else a new one begins. */
static dt_status begin_growing(shard_cache *k, dt_error *err)
{
    const cache_shard *last = k->shard_count ? &k->shard[k->shard_count - 1] : NULL;
    const bool again = last && last->count < k->shard_capacity;
    cache_shard *wider = realloc(k->shard, (size_t)(k->shard_count + 1) * sizeof *wider);
    if (wider) k->shard = wider;
    if (!wider || !take_growing(k))
        return error_set(err, DT_ERR_MEMORY, "%s: no memory for a shard of %lld %s", k->folder,
                         (long long)k->shard_capacity, k->kind.rows);
    cache_shard *s = &k->shard[again ? k->shard_count - 1 : k->shard_count];
    if (again) {
        for (int i = 0; i < k->kind.tensor_count; i++)
            memcpy(k->growing_values[i], s->values[i], (size_t)s->count * k->kind.tensor[i].row_bytes);
        memcpy(k->growing_content, s->content, (size_t)s->count * sizeof *s->content);
        tensor_file_close(&s->file);
    } else {
        *s = (cache_shard){.number = k->shard_count ? s[-1].number + 1 : 0};
        k->shard_count++;
    }
    for (int i = 0; i < k->kind.tensor_count; i++) s->values[i] = k->growing_values[i];
    s->content = (const uint8_t(*)[SHARD_KEY])k->growing_content;
    return DT_OK;
}

static dt_status write_shard(const shard_cache *k, const cache_shard *s, const char *path, file_hash *hash,
                             dt_error *err)
{
    tensor_source source[SHARD_TENSORS_MAX + 1];
    int64_t dims[SHARD_TENSORS_MAX][SHARD_DIMS_MAX + 1];
    const int count = k->kind.tensor_count;
    for (int i = 0; i < count; i++) {
        const shard_tensor *t = &k->kind.tensor[i];
        dims[i][0] = s->count;
        memcpy(dims[i] + 1, t->dim, sizeof t->dim);
        source[i] = (tensor_source){
            .name = t->name, .dtype = t->dtype, .dim_count = t->dim_count + 1, .dims = dims[i], .data = s->values[i]};
    }
    source[count] = (tensor_source){.name = "content",
                                    .dtype = SAFETENSORS_U8,
                                    .dim_count = 2,
                                    .dims = (int64_t[]){s->count, SHARD_KEY},
                                    .data = s->content};
    return safetensors_write(path, source, (size_t)count + 1, NULL, 0, hash, err);
}

/* Writes the growing shard under the name of its new length; the manifest follows, then the shorter file goes. */
static dt_status save_growing(shard_cache *k, dt_error *err)
{
    cache_shard *s = &k->shard[k->shard_count - 1], old = *s;
    char path[DT_PATH_MAX], shorter[DT_PATH_MAX];
    file_hash hash;
    shard_path(path, k, s->number, s->count);
    shard_path(shorter, k, s->number, s->count - k->unsaved);
    if (write_shard(k, s, path, &hash, err) != DT_OK) return err->status;
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

int64_t shard_cache_growing_bytes(const shard_cache *k, int64_t rows)
{
    const int64_t at_once = rows < k->shard_capacity ? rows : k->shard_capacity;
    return at_once * (int64_t)k->kind.tensor[0].row_bytes;
}

/* The growing shard, saved, becomes a mapped one. */
static dt_status end_growing(shard_cache *k, dt_error *err)
{
    if (!k->growing_content) return err->status;
    if (k->unsaved > 0 && save_growing(k, err) != DT_OK) return err->status;
    map_shard(&k->shard[k->shard_count - 1], k, err);
    free_growing(k);
    return err->status;
}

dt_status shard_cache_add(shard_cache *k, const uint8_t content[SHARD_KEY], const void *const row[], dt_error *err)
{
    if (!k->growing_content && begin_growing(k, err) != DT_OK) return err->status;
    cache_shard *s = &k->shard[k->shard_count - 1];
    for (int i = 0; i < k->kind.tensor_count; i++) {
        const size_t bytes = k->kind.tensor[i].row_bytes;
        memcpy(k->growing_values[i] + (size_t)s->count * bytes, row[i], bytes);
    }
    memcpy(k->growing_content[s->count], content, SHARD_KEY);
    if (index_row(k, k->shard_count - 1, s->count, err) != DT_OK) return err->status;
    s->count++;
    k->unsaved++;
    if (s->count == k->shard_capacity) return end_growing(k, err);
    return clock_s() - k->saved_s > SAVE_SECONDS ? save_growing(k, err) : DT_OK;
}

dt_status shard_cache_finish(shard_cache *k, dt_error *err)
{
    end_growing(k, err);
    file_unlock(&k->lock);
    return err->status;
}

/* ---- describing ---- */

/* The kinds there are, for who looks at a folder without knowing which it is. */
static const struct {
    const char *format, *kind, *rows;
} known[] = {{CACHE_OF_LATENTS, "latents", "pictures"},
             {CACHE_OF_CONTEXTS, "contexts", "texts"},
             {CACHE_OF_CONTROLS, "controls", "pictures"}};

/* The manifest of a folder of any kind; others' folders and broken ones are none. */
static json_t *read_any_manifest(size_t *kind, const char *folder)
{
    json_t *manifest = NULL;
    for (*kind = 0; *kind < sizeof known / sizeof *known; ++*kind) {
        dt_error ignored = {0};
        manifest = read_manifest(folder, known[*kind].format, &ignored);
        if (manifest) break;
    }
    return manifest;
}

static json_t *describe_folder(const char *folder)
{
    size_t kind;
    json_t *manifest = read_any_manifest(&kind, folder);
    if (!manifest) return NULL;
    json_int_t rows = 0;
    size_t i, shards = json_array_size(json_object_get(manifest, "shards"));
    json_t *shard;
    json_array_foreach(json_object_get(manifest, "shards"), i, shard) rows +=
        json_integer_value(json_object_get(shard, "count"));
    json_t *out = json_pack("{s:s, s:s, s:O, s:I, s:I}", "kind", known[kind].kind, "path", folder, "made_by",
                            json_object_get(manifest, "made_by"), known[kind].rows, rows, "shards", (json_int_t)shards);
    json_decref(manifest);
    return out;
}

json_t *shard_cache_describe(const char *folder, dt_error *err)
{
    json_t *whole = describe_folder(folder), *one;
    if (whole) return whole;
    file_names names;
    json_t *folders = json_array();
    file_list(&names, folder, err);
    for (size_t i = 0; i < names.count && err->status == DT_OK; i++) {
        char path[DT_PATH_MAX];
        file_join(path, folder, names.name[i]);
        if ((one = describe_folder(path))) json_add(&folders, one);
    }
    file_names_free(&names);
    if (json_array_size(folders) == 0) {
        json_decref(folders);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:o}", "kind", "caches", "path", folder, "folders", folders);
}
