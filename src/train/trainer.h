/* A training run: what it owns, and its step. trainer.c shows one step on one screen; feed.c fills batches, the run folder
 * (run_folder.c), checkpoints (checkpoint.c) and measurements (measure.c) stand beside it. */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "diffusion/sampler.h"
#include "data/examples.h"
#include "method/bank.h"
#include "method/difftuning.h"
#include "model/dit/dit_file.h"
#include "train/batch.h"
#include "measure/meter.h"
#include "train/optimizer.h"
#include "run/run_log.h"

/* A shuffled walk through `count` items, epoch after epoch, kept for one epoch at a time. */
typedef struct shuffled {
    int64_t count, epoch; /* epoch -1: nothing shuffled yet */
    int32_t *order;       /* [count], in the model arena */
    uint64_t seed;
    rng_purpose purpose;
} shuffled;

typedef struct trainer {
    ctx *c;
    const dt_settings *s;
    const dt_observer *observer; /* never NULL */
    /* what is trained */
    dit model;
    dit_file_info base; /* of the pre-trained model; empty when pre-training */
    optimizer optimizer;
    codec codec;        /* between pictures and what the model sees */
    int64_t resolution; /* side of the pictures */
    /* what with */
    latent_cache cache;         /* models of latents: the encoded pictures */
    examples train, validation; /* validation.count 0: none given */
    examples bank;              /* count 0: none */
    shuffled train_order, bank_order;
    schedule schedule;
    difftuning method;
    /* where it stands */
    int64_t step; /* steps done, skipped ones included */
    int64_t skipped, skipped_in_row;
    int64_t saved_step; /* of the checkpoint that was loaded or saved last; -1: none */
    run_log log;
    meter meter; /* open when s->eval_steps > 0 */
} trainer;

typedef struct step_result {
    double loss_target, loss_bank; /* mean over the step's samples of each half; NaN: no such samples */
    double grad_norm, learning_rate;
    bool finite; /* false: the step was skipped */
} step_result;

/* Reads everything s names into *t: model, data, bank, method. Nothing is written. */
dt_status trainer_open(trainer *t, ctx *c, const dt_settings *s, const dt_observer *observer);
void trainer_close(trainer *t);

/* One optimiser step: accumulation, backward, update. False when the context failed. */
bool trainer_step(trainer *t, step_result *r);

/* Steps from t->step to s->max_train_steps with all that happens between steps. */
dt_status trainer_run(trainer *t);

/* Tells the observer one line, printf-like. */
void trainer_log(const trainer *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- feed.c ---- */

void shuffled_open(ctx *c, shuffled *o, int64_t count, uint64_t seed, rng_purpose purpose);
/* Item number `position` of the endless walk. */
int64_t shuffled_at(shuffled *o, int64_t position);

/* Fills a training batch: micro-batch `micro` of step t->step. */
void feed_batch(trainer *t, batch *b, int64_t micro);

#endif
