/* Encoded pictures on disk: what a codec makes of each picture and of its mirror image, computed once (data/shard_cache.h).
 *
 * Every pair of codec and transform (resolution, crop, background) has a folder of its own, which all sets of pictures share. A
 * picture is known by the SHA-256 of its file's bytes: moved or renamed it stays known, edited it is new. A row is
 *
 *     moments [2,M,C,h,w] F32  of the picture and of its mirror image, the M moments of codec_encode
 *     origin  [4] I64          format, conversions, width and height of what the file held */
#ifndef DATA_LATENT_CACHE_H
#define DATA_LATENT_CACHE_H

#include "data/dataset.h"
#include "data/shard_cache.h"
#include "model/codec/codec.h"

typedef struct latent_cache {
    shard_cache shards;
    int64_t picture_values; /* of both mirror images */
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

/* Writes what no file has yet, and gives the lock back; from here on moments can be read where they are. */
dt_status latent_cache_finish(latent_cache *k, dt_error *err);

/* The moments [M,C,h,w] of the picture, then those of its mirror image; NULL when it is not there. */
const float *latent_cache_moments(const latent_cache *k, const uint8_t content[DATASET_CONTENT]);

void latent_cache_close(latent_cache *k);

#endif
