/* What was computed once, on disk: rows of numbers, each known by 32 bytes of its own (a SHA-256), in shards below the user's
 * cache folder. What the rows are is said by who keeps them: latents of pictures, encoded prompts, control maps.
 *
 * Below the cache folder everything that was made in one way (a codec and a transform, a text encoder) has a folder of its own.
 * It holds manifest.json (what made the rows, and each shard with its SHA-256) and shards, safetensors of n rows: the tensors of
 * the kind, and content [n,32] U8, by which they are known.
 *
 * Shards are full but for the last one. A longer last shard is written beside the shorter one, then the manifest names it,
 * then the shorter one goes: whatever stops a call, the manifest names whole files. The same rows in the same order make the same
 * bytes, however often they were interrupted. One process fills a folder at a time; others wait.
 *
 * Every shard is hashed when it is opened. One that is missing or changed is forgotten, told in the log, and its rows are made
 * again; a manifest that cannot be read is DT_ERR_FORMAT. Shards are mapped, not loaded. */
#ifndef DATA_SHARD_CACHE_H
#define DATA_SHARD_CACHE_H

#include "base/say.h"
#include "container/safetensors.h"
#include "file/json_file.h"
#include "file/lock.h"

/* The kinds of rows there are, by their manifests. */
#define CACHE_OF_LATENTS  "difftune latents 1"
#define CACHE_OF_CONTEXTS "difftune contexts 1"
#define CACHE_OF_CONTROLS "difftune controls 1"

enum { SHARD_KEY = 32, SHARD_TENSORS_MAX = 2, SHARD_DIMS_MAX = 5 };

/* Who watches long work: is told lines, and how far it has come, and may stop it. Both functions may be NULL. */
typedef struct data_watcher {
    void *user;
    say_log *log;
    bool (*go_on)(void *user, int64_t done, int64_t count); /* false: stop */
} data_watcher;

/* One tensor of a shard, without its first size, the number of rows. */
typedef struct shard_tensor {
    const char *name;
    safetensors_dtype dtype;
    int dim_count;
    int64_t dim[SHARD_DIMS_MAX];
    size_t row_bytes; /* filled in */
} shard_tensor;

/* What the rows are. */
typedef struct shard_kind {
    const char *format; /* of the manifest */
    const char *rows;   /* for messages: "encoded pictures" */
    int tensor_count;
    shard_tensor tensor[SHARD_TENSORS_MAX]; /* the first one decides how many rows a shard has */
    /* What is wrong with a row that was read, or NULL. */
    const char *(*wrong)(const struct shard_kind *kind, const void *const row[]);
} shard_kind;

/* One file of the folder: mapped, or the one that still grows, in memory. */
typedef struct cache_shard {
    int64_t number, count; /* of the file's name */
    char sha256[65];
    tensor_file file; /* closed while the shard grows */
    const uint8_t *values[SHARD_TENSORS_MAX];
    const uint8_t (*content)[SHARD_KEY];
} cache_shard;

typedef struct shard_cache {
    char folder[DT_PATH_MAX];
    shard_kind kind;
    json_t *made_by;        /* what made the rows */
    int64_t shard_capacity; /* rows of a full shard */
    cache_shard *shard;
    int64_t shard_count;
    void *index;       /* search tree over content */
    int64_t row_count; /* that can be found */
    file_lock lock;    /* held while this process may fill the folder */
    /* the last shard, while it grows */
    uint8_t *growing_values[SHARD_TENSORS_MAX]; /* NULL: none grows */
    uint8_t (*growing_content)[SHARD_KEY];
    int64_t unsaved; /* rows that no file has yet */
    double saved_s;  /* when the growing shard was written last */
} shard_cache;

/* Opens the folder <cache_dir>/<name>-<digits of made_by's SHA-256>, makes it where it is missing, and waits for its lock. The
 * reference to `made_by` is taken. */
dt_status shard_cache_open(shard_cache *k, const shard_kind *kind, const char *cache_dir, const char *name,
                           json_t *made_by, const data_watcher *watch, dt_error *err);

/* Opens what is there of that folder, for reading alone: nothing is made, removed or waited for. Nothing may be added. */
dt_status shard_cache_look(shard_cache *k, const shard_kind *kind, const char *cache_dir, const char *name,
                           json_t *made_by, const data_watcher *watch, dt_error *err);

/* One tensor's values of a row; NULL when the row is not there. They stay where they are only from shard_cache_finish on. */
const void *shard_cache_find(const shard_cache *k, const uint8_t content[SHARD_KEY], int tensor);

/* Bytes that adding so many rows takes at most, of its first tensor. */
int64_t shard_cache_growing_bytes(const shard_cache *k, int64_t rows);

/* Adds a row that is not there: a pointer for each tensor. Written when the shard is full, and about once a minute. */
dt_status shard_cache_add(shard_cache *k, const uint8_t content[SHARD_KEY], const void *const row[], dt_error *err);

/* Writes what no file has yet, and gives the lock back. */
dt_status shard_cache_finish(shard_cache *k, dt_error *err);

void shard_cache_close(shard_cache *k);

/* What is in such a folder, or in a cache folder that holds such folders, as JSON; NULL when `folder` is neither (*err is then
 * as it was) or on failure. */
json_t *shard_cache_describe(const char *folder, dt_error *err);

#endif
