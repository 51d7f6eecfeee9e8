/* Encoded pictures on disk: what a codec makes of each picture and of its mirror image, computed once.
 *
 * Below the user's cache folder every pair of codec and transform (resolution, crop, background) has a folder of its own,
 * which all sets of pictures share. A picture is known by the SHA-256 of its file's bytes: moved or renamed it stays
 * known, edited it is new. The folder holds manifest.json (what the pair is, and each shard with its SHA-256) and shards,
 * safetensors of n pictures:
 *
 *     moments [n,2,M,C,h,w] F32  of the picture and of its mirror image, the M moments of codec_encode
 *     content [n,32] U8          SHA-256 of the picture's file
 *     origin  [n,4] I64          format, conversions, width and height of what the file held
 *
 * Shards are full but for the last one. A longer last shard is written beside the shorter one, then the manifest names it,
 * then the shorter one goes: whatever stops a call, the manifest names whole files. The same pictures in the same order
 * make the same bytes, however often they were interrupted. One process fills a folder at a time; others wait.
 *
 * Every shard is hashed when it is opened. One that is missing or changed is forgotten, told in the log, and its pictures
 * are encoded again; a manifest that cannot be read is DT_ERR_FORMAT. Shards are mapped, not loaded. */
#ifndef DATA_LATENT_CACHE_H
#define DATA_LATENT_CACHE_H

#include "base/say.h"
#include "data/dataset.h"
#include "container/safetensors.h"
#include "file/lock.h"
#include "model/codec/codec.h"

/* Who watches long work: is told lines, and how far it has come, and may stop it. Both functions may be NULL. */
typedef struct data_watcher {
    void *user;
    say_log *log;
    bool (*go_on)(void *user, int64_t done, int64_t count); /* false: stop */
} data_watcher;

/* One file of the folder: mapped, or the one that still grows, in memory. */
typedef struct latent_shard {
    int64_t number, count; /* of the file's name */
    char sha256[65];
    tensor_file file; /* closed while the shard grows */
    const float *moments;
    const uint8_t (*content)[DATASET_CONTENT];
    const int64_t (*origin)[4];
} latent_shard;

typedef struct latent_cache {
    char folder[DT_PATH_MAX];
    int64_t dims[6];        /* of a shard's moments; the first is free */
    int64_t picture_values; /* of both mirror images */
    int64_t shard_capacity; /* pictures of a full shard */
    json_t *description;    /* of codec and transform */
    latent_shard *shard;
    int64_t shard_count;
    void *index; /* search tree over content */
    int64_t picture_count;
    file_lock lock; /* held while this process may fill the folder */
    /* the last shard, while it grows */
    float *growing_moments; /* [capacity, picture_values]; NULL: none grows */
    uint8_t (*growing_content)[DATASET_CONTENT];
    int64_t (*growing_origin)[4];
    int64_t unsaved; /* pictures that no file has yet */
    double saved_s;  /* when the growing shard was written last */
} latent_cache;

/* Opens the folder of this pair below `cache_dir`, makes it where it is missing, and waits for its lock. */
dt_status latent_cache_open(latent_cache *k, const char *cache_dir, const codec *vae, int64_t resolution,
                            const char *background, const data_watcher *watch, dt_error *err);

/* Opens what is there of that folder, for reading alone: nothing is made, removed or waited for. Nothing may be added. */
dt_status latent_cache_look(latent_cache *k, const char *cache_dir, const codec *vae, int64_t resolution,
                            const char *background, const data_watcher *watch, dt_error *err);

/* Whether a picture is there, and what its file held (`origin` may be NULL). */
bool latent_cache_find(const latent_cache *k, const uint8_t content[DATASET_CONTENT], dataset_origin *origin);

/* Bytes that adding so many pictures takes at most. */
int64_t latent_cache_growing_bytes(const latent_cache *k, int64_t pictures);

/* Adds a picture that is not there: moments[picture_values]. Written when the shard is full, and about once a minute. */
dt_status latent_cache_add(latent_cache *k, const dataset_file *file, const float *moments, dt_error *err);

/* Writes what no file has yet, and gives the lock back; from here on moments can be read. */
dt_status latent_cache_finish(latent_cache *k, dt_error *err);

/* The moments [M,C,h,w] of the picture, then those of its mirror image; NULL when it is not there. */
const float *latent_cache_moments(const latent_cache *k, const uint8_t content[DATASET_CONTENT]);

void latent_cache_close(latent_cache *k);

/* What is in the folder of a pair, or in a cache folder that holds such folders, as JSON; NULL when `folder` is neither
 * (*err is then as it was) or on failure. */
json_t *latent_cache_describe(const char *folder, dt_error *err);

#endif
