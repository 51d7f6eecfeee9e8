/* Pictures through a codec, one after the other. */
#ifndef DATA_ENCODE_H
#define DATA_ENCODE_H

#include "data/control_cache.h"
#include "data/latent_cache.h"

/* Where what is made of pictures is kept. */
typedef struct encode_caches {
    latent_cache *latents;
    control_cache *controls; /* maps made of the pictures; NULL: none */
} encode_caches;

/* Lists the data set in *d (without pixels) and encodes every picture that a cache lacks, with its mirror image; no more
 * than one batch of files is in memory. What was encoded before a call ends stays, but for the last minute where the
 * process dies or the disk is full. */
dt_status encode_into_cache(ctx *c, dataset *d, const encode_caches *caches, const char *path,
                            const dataset_options *options, const codec *vae, const data_watcher *watch);

/* Pictures that a cache lacks. */
typedef struct stand_in {
    int64_t missing;
    double seconds; /* that the encoding of one takes */
} stand_in;

/* Lists the data set in *d (without pixels) and encodes one or two of the pictures that the cache lacks, to see how long
 * that takes; the latent of the last of them becomes *x [C, h, w], malloc'ed. NULL: the cache lacks none. Nothing is
 * written. */
dt_status encode_stand_in(ctx *c, dataset *d, float **x, stand_in *in, latent_cache *cache, const char *path,
                          const dataset_options *options, const codec *vae, const data_watcher *watch);

/* Lists the data set in *d (without pixels) and puts the modes of its pictures, latents as a model sees them, into *x
 * [d->count, C, h, w], malloc'ed. */
dt_status encode_into_memory(ctx *c, dataset *d, float **x, const char *path, const dataset_options *options,
                             const codec *vae, const data_watcher *watch);

/* Takes the arenas' memory of encoding a picture of that side, with its mirror image where `copies` is 2, and gives it back, in a
 * rehearsal (tensor/rehearsal.h). */
void encode_rehearse(ctx *c, const codec *vae, int64_t resolution, int64_t copies);

#endif
