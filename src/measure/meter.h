/* Distances of images to a reference set in the features of one network. Used by the eval verb and, along the way, by
 * training runs. */
#ifndef MEASURE_METER_H
#define MEASURE_METER_H

#include "data/examples.h"
#include "eval/statistics.h"
#include "model/feature/features.h"
#include "model/maker.h"

typedef struct meter {
    denoiser base;   /* frozen copy for FD-base, */
    model_info info; /* and what its file says */
    squeezenet net;
    inception inception;
    features features;
    statistics reference;
    dt_score_parts score_parts;
} meter;

/* Opens the feature network that s->feature names: the base model in `base_path`, one of these kinds, or
 * s->feature_weights. */
dt_status meter_open(ctx *c, meter *m, const dt_settings *s, const char *base_path, model_kinds kinds);
void meter_close(meter *m);

/* What statistics of these features are called and how wide they are. */
statistics_kind meter_kind(const meter *m);

/* Values of a row of them: what all distances use, and behind it what sFID uses. */
int64_t meter_row_values(const meter *m);

/* Opens statistics of these features, with or without the rows that all measures but the Frechet distances need. */
dt_status meter_statistics(ctx *c, const meter *m, statistics *out, bool keep_rows);

/* Opens *out and adds the features of all examples of a set, latents by their modes; the caller closes it. */
dt_status meter_measure_examples(ctx *c, const meter *m, statistics *out, const examples *e, int64_t batch);

/* Opens *out and adds, for feature inception, all pictures of a folder, tar, zip or sample stack at `resolution` (0: each at its
 * own size), a few at a time; an .npz with statistics gives those, and rows from the samples in it. What was found, passed
 * over or had to be assumed is told to the watcher. */
dt_status meter_measure_path(ctx *c, const meter *m, statistics *out, const dt_settings *s, const char *path,
                             const data_watcher *watcher);

/* Fills m->reference from held-out pictures, read at this resolution: as models of the codec's samples see them (NULL: as pictures). An
 * .npz is statistics. The observer is told what is passed over. */
dt_status meter_open_reference(ctx *c, meter *m, const dt_settings *s, const char *path, const codec *k,
                               int64_t resolution, const dt_observer *observer);

/* How many pictures meter_measure_path would measure. */
dt_status meter_count_path(ctx *c, int64_t *count, const char *path, const dt_settings *s);

/* Takes the arenas' memory of measuring a batch of n examples [channels,side,side], or for feature inception of pictures from a
 * path, and gives it back, in a rehearsal (tensor/rehearsal.h). */
void meter_rehearse(ctx *c, const meter *m, int64_t channels, int64_t side, int64_t n);

/* Likewise of comparing sets of so many images. Returns what it takes outside the arenas, in bytes, without the statistics. */
int64_t meter_rehearse_compare(ctx *c, const meter *m, int64_t reference_count, int64_t candidate_count);

/* Likewise of judging whether so many samples are copies of training pictures. */
void meter_rehearse_memorisation(ctx *c, const meter *m, int64_t training, int64_t held_out, int64_t samples);

/* A result in which nothing is known yet. */
dt_eval_result meter_no_result(const meter *m);

/* All measures of two finished sets that can be had: those that need rows are NaN where there are none. */
dt_status meter_compare(ctx *c, const meter *m, dt_eval_result *result, const statistics *reference,
                        const statistics *candidate, uint64_t seed);

/* Puts into *result whether the candidate's images are copies of the training ones, held-out reference images beside them; NaN
 * where a side has no rows. */
dt_status meter_memorisation(ctx *c, dt_eval_result *result, const statistics *training, const statistics *reference,
                             const statistics *candidate);

#endif
