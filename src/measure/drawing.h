/* Samples as everybody draws them: number by number, with their conditions, decoded, and their features. The bank, the sample
 * verb, a run's grids and its distances differ only in what they take from it. */
#ifndef MEASURE_DRAWING_H
#define MEASURE_DRAWING_H

#include "data/class_list.h"
#include "data/examples.h"
#include "diffusion/sampler.h"
#include "measure/meter.h"

typedef struct drawing {
    sampler sampler;
    const class_list *labels; /* of each number; NULL: the denoiser takes none */
    const examples *told;     /* contexts and controls: drawing_example; NULL: the denoiser takes none */
    const int32_t *order;     /* [told->count] of those examples; NULL: as they stand */
    const codec *codec;       /* of the pictures; NULL: nobody wants pictures */
    int64_t batch;            /* so many at a time */
    bool shared; /* of several ranks each draws its batches: rank 0 by drawing_run, the others by drawing_follow */
} drawing;

/* A batch of samples, in the step arena until the next one. */
typedef struct drawn {
    int64_t first, n;
    float *x;        /* [n,C,H,W] as the denoiser sees them */
    float *pictures; /* [n,C,H,W], not clamped; NULL without a codec */
} drawn;

/* What a batch is drawn for. False: no more. */
typedef bool drawing_taker(void *user, drawn *b);

/* What sample `number` is told: this example of d->told, of its captions number `number` / count. */
int64_t drawing_example(const drawing *d, int64_t number);

/* Draws samples number first..last-1 and hands them over batch by batch. */
dt_status drawing_run(ctx *c, const drawing *d, int64_t first, int64_t last, drawing_taker *take, void *user);

/* What the other ranks do while rank 0 draws, until it tells them that the call has ended. `stop_wanted` (may be NULL) is asked between
 * batches, and rank 0 learns of it. */
dt_status drawing_follow(ctx *c, const drawing *d, bool (*stop_wanted)(void *user), void *user);

/* One of several ways that samples end: who makes their last steps. */
typedef struct drawing_end {
    const sampler *sampler; /* as the drawing's, but for the last `steps` steps (sampler_end_by); borrowed */
    int64_t steps;
    int64_t first; /* samples before this number are not wanted of it */
    void *user;    /* of the taker */
} drawing_end;

/* Draws samples number first..last-1 once for each end, `ends` falling in their steps, and hands a batch over end by end: the
 * steps of the drawing's own sampler are made once for all. Each end gets the bits that drawing_run gives with its sampler. */
dt_status drawing_run_ends(ctx *c, const drawing *d, int64_t first, int64_t last, const drawing_end ends[], int count,
                           drawing_taker *take);

/* As drawing_rehearse, of a batch with all its ends. */
void drawing_rehearse_ends(ctx *c, const drawing *d, int64_t count, const drawing_end ends[], int end_count,
                           const meter *m);

/* Takes the memory of a batch, of no more than `count` samples, and gives it back, in a rehearsal (tensor/rehearsal.h); that of
 * its features too where a meter is given. */
void drawing_rehearse(ctx *c, const drawing *d, int64_t count, const meter *m);

/* Tells the observer what memory drawing takes (data/need.h), in batches as above and `beside` more bytes. */
dt_status drawing_tell_need(ctx *c, const drawing *d, int64_t count, const meter *m, const dt_observer *observer,
                            int64_t beside);

/* Shape of a picture of these samples. */
sample_shape drawing_picture_shape(const drawing *d);

/* rows[n, dim + spatial_dim] in scratch of a batch's features: of latents as they are where the features are of latents, else of
 * pictures as files would show them, which the batch's pictures become. NULL after a failure. */
float *drawing_features(ctx *c, const drawing *d, const meter *m, drawn *b);

#endif
