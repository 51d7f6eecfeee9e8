/* Training examples: what a diffusion model is shown, wherever it comes from. The rest of the program knows no other place
 * that images come from.
 *
 *     PIXELS   pictures in memory; an example is the picture, or its mirror image
 *     LATENTS  pictures that a codec has encoded, in a cache on disk; an example is a latent drawn from the moments of the
 *              picture, or of its mirror image
 *     VALUES   values as they stand: a bank that was drawn, or pictures encoded for one reading
 *
 * Mirroring a latent does not give the latent of the mirrored picture: VALUES of a codec are never mirrored. A bank that a
 * model has drawn needs none, because the model was trained on mirrored pictures too. */
#ifndef DATA_EXAMPLES_H
#define DATA_EXAMPLES_H

#include "base/rng.h"
#include "data/encode.h"
#include "data/example_table.h"
#include "data/latent_cache.h"
#include "diffusion/condition.h"
#include "diffusion/context_encoder.h"

typedef enum examples_kind { EXAMPLES_PIXELS, EXAMPLES_LATENTS, EXAMPLES_VALUES } examples_kind;

typedef struct examples {
    examples_kind kind;
    int64_t count;
    sample_shape shape; /* of one */
    char sha256[65];    /* identity */
    dataset pictures;   /* classes, labels, names, report; of PIXELS the pixels too. Empty for a bank that was drawn */
    const codec *codec; /* borrowed */
    const latent_cache *cache; /* LATENTS: borrowed */
    float *x;                  /* VALUES: [count, C, H, W], owned */
    stand_in stand_in;         /* of a rehearsal: with pictures missing, x is one example for all */
    example_table context;     /* owned, as is the next */
    example_table control;
    tensor_file *shard; /* [shard_count], open: where the rows of a bank's tables lie */
    int64_t shard_count;
} examples;

/* What examples are to say beside the label, and where that is kept. */
typedef struct examples_told {
    const context_encoder *encoder; /* of the captions; NULL: no contexts */
    shard_cache *contexts;          /* data/context_cache.h */
    const char *default_prompt;     /* of pictures without a caption */
    control_cache *controls;    /* NULL: no control maps. Made of the pictures, or read where its maker makes none */
    const char *control_folder; /* as in dataset_wants */
} examples_told;

/* How a set of pictures becomes examples. */
typedef struct examples_options {
    const codec *codec; /* of the model */
    /* Where latents are kept. NULL: they are encoded into memory, by mode and without mirror images. A codec of pixels needs
     * neither. */
    latent_cache *cache;
    const examples_told *told; /* NULL: nothing; with latents it needs the cache */
    bool
        rehearsal; /* the caches are only looked at: one picture that they lack stands in for all, and zeros for what is told */
    int64_t resolution; /* of the pictures */
    const char *background;
    bool strict;
    int64_t memory_limit_bytes; /* as in dataset_options */
    char *const *class_name;
    int64_t class_count;
    bool held_out; /* as in dataset_options, as is */
    int64_t at_most;
    bool first;
    data_watcher watch; /* is told what was found, and what was passed over */
} examples_options;

/* Reads the folder or tar of pictures `path`; encodes those that the cache lacks. Errors as dataset_open, those of the
 * cache, and DT_ERR_INTERRUPTED when the watcher stopped it: what was encoded stays, the same call goes on. */
dt_status examples_open(ctx *c, examples *e, const char *path, const examples_options *options);

/* Finds the rows of its tables where they lie in the caches of `told`, which have been finished. Before that nothing may ask for them. */
dt_status examples_settle(examples *e, const examples_told *told, dt_error *err);

/* What examples_open would take of memory, as far as that is known before a picture was read; what of it lies in the arenas is
 * rehearsed (tensor/rehearsal.h). */
typedef struct examples_size {
    int64_t count;
    int64_t kept_bytes;    /* outside the arenas while they are open */
    int64_t opening_bytes; /* beside them while they are opened */
} examples_size;
dt_status examples_measure(ctx *c, examples_size *size, const char *path, const examples_options *options);

void examples_close(examples *e);

/* What pictures may take of this machine's memory, in bytes. */
int64_t examples_memory(void);

/* Writes example i to x, mirrored where it asks for that and the kind can. A latent is drawn with the noise of that key;
 * NULL: its mode. */
void examples_get(float *x, const examples *e, int64_t i, bool mirrored, const rng_key *noise);

/* Whether example i is mirrored where that is asked for: what it is told has to be, too. */
bool examples_can_mirror(const examples *e);

#endif
