/* Distances of images to a reference set in the features of one network. Used by the eval verb and, along the way, by
 * training runs. */
#ifndef TRAIN_METER_H
#define TRAIN_METER_H

#include "eval/statistics.h"
#include "data/examples.h"
#include "model/features.h"

typedef struct meter {
    dit base;                /* frozen copy for FD-base */
    squeezenet net;
    features features;
    statistics reference;
} meter;

/* Opens the feature network that s->feature names: the base model in `base_path`, or s->feature_weights. */
dt_status meter_open(ctx *c, meter *m, const dt_settings *s, const char *base_path);
void meter_close(meter *m);

/* Opens *out and adds the features of all examples of a set, latents by their modes; the caller closes it. */
dt_status meter_measure_examples(ctx *c, const meter *m, statistics *out, const examples *e, int64_t batch);

/* Adds the features of x[n,C,H,W], images number `first`.. of their set. */
dt_status meter_add(ctx *c, const meter *m, statistics *out, const float *x, int64_t channels, int64_t size, int64_t first,
                    int64_t n);

/* Both distances of two finished sets; the kernel distance is NaN where one of them has no rows. */
dt_status meter_compare(ctx *c, const meter *m, dt_eval_result *result, const statistics *reference, const statistics *candidate,
                        uint64_t seed);

#endif
