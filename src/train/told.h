/* What a run tells its network beside labels: captions, encoded, and control pictures, both by way of caches. */
#ifndef TRAIN_TOLD_H
#define TRAIN_TOLD_H

#include "data/examples.h"
#include "model/annotate/annotator.h"
#include "model/maker.h"

typedef struct told_data {
    ctx *c;
    bool has_contexts, has_controls;
    context_encoder encoder; /* while data is opened */
    char encoder_sha256[65];
    arena_place mark; /* of the model arena before it */
    shard_cache contexts;
    control_cache controls;
    annotator annotator; /* while data is opened, where maps are made */
    char maker_identity[DT_PATH_MAX];
    examples_told told;    /* for the data's opening */
    example_table null;    /* the context of the empty text, one row: what a network is told that is told nothing */
    example_table prompts; /* contexts of s->validation_prompt, for sample grids; row NULL: none are given */
} told_data;

/* Opens the encoder and the caches that the network of `file` needs, and encodes the prompts of the settings; `options` says how
 * pictures are read. Nothing else may be put into the model arena before told_finish. DT_ERR_ARG where the settings speak of prompts and
 * the network is told none. */
dt_status told_open(told_data *d, ctx *c, const dt_settings *s, const model_file *file,
                    const examples_options *options);

/* For the options of the data's opening; NULL where the network is told nothing. */
const examples_told *told_options(const told_data *d);

/* When the data is open: writes what the caches still have to, closes the encoder, and settles the tables of these sets. */
dt_status told_finish(told_data *d, examples *const sets[], int count);

/* Whether what a set says is what the network takes. DT_ERR_SHAPE. */
dt_status told_check(const told_data *d, const examples *set, const denoiser *model);

void told_close(told_data *d);

#endif
