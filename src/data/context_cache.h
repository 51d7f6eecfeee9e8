/* Encoded prompts on disk, each computed once (data/shard_cache.h). Every text encoder has a folder of its own; a prompt is known by
 * the SHA-256 of its text. A row is context [S,W] F32. */
#ifndef DATA_CONTEXT_CACHE_H
#define DATA_CONTEXT_CACHE_H

#include "data/shard_cache.h"
#include "diffusion/context_encoder.h"

/* As shard_cache_open and shard_cache_look. */
dt_status context_cache_open(shard_cache *k, const char *cache_dir, const context_encoder *e, const data_watcher *watch,
                             dt_error *err);
dt_status context_cache_look(shard_cache *k, const char *cache_dir, const context_encoder *e, const data_watcher *watch,
                             dt_error *err);

/* What the context of a text is known by. */
void context_cache_key(uint8_t key[SHARD_KEY], const char *text);

/* Encodes those of n texts that the cache lacks, some at a time. DT_ERR_NUMERIC for a context that is not finite, naming the text;
 * DT_ERR_INTERRUPTED when the watcher stopped it: what was encoded stays. */
dt_status context_cache_fill(ctx *c, shard_cache *k, const context_encoder *e, const char *const text[], int64_t n,
                             const data_watcher *watch);

/* Tells how many of n texts the encoder cuts, if any does: "3 of 40 <what> have more than ..". */
dt_status context_tell_cut(ctx *c, const context_encoder *e, const char *what, const char *const text[], int64_t n,
                           const data_watcher *watch);

#endif
