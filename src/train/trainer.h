/* A training run's inside: what it owns, and its step. trainer.c shows one step on one screen, feed.c fills batches, open.c
 * reads everything that a run needs. Checkpoints, measurements and the loop over steps stand above it (src/run/). */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "adapter/adapter.h"
#include "data/bank.h"
#include "data/examples.h"
#include "method/difftuning.h"
#include "model/maker.h"
#include "train/ahead.h"
#include "train/batch.h"
#include "train/optimizer.h"
#include "train/told.h"
#include "train/trainset_file.h"

/* A shuffled walk through `count` items, epoch after epoch, kept for one epoch at a time. */
typedef struct shuffled {
    int64_t count, epoch; /* epoch -1: nothing shuffled yet */
    int32_t *order;       /* [count], in the model arena */
    uint64_t seed;
    rng_purpose purpose;
} shuffled;

/* What a step is made of: copied from the settings, which no step reads. */
typedef struct step_plan {
    uint64_t seed;
    int64_t batch;          /* samples of a micro-batch */
    int64_t accumulation;   /* micro-batches of a step */
    int64_t retained_count; /* of `batch`, there to be retained */
    int64_t noise_count;    /* rows of pure noise behind them */
    bool flips;             /* examples are mirrored by chance */
    double class_dropout;   /* chance that a target sample is told nothing */
    double time_dropout;    /* chance that it is not told the time */
} step_plan;

/* Which samples of a micro-batch are this rank's; alone all are. */
typedef struct step_share {
    int64_t target_first, target_count;     /* of those that are there to be learned */
    int64_t retained_first, retained_count; /* of those to be retained, counted from the first of them */
} step_share;

typedef struct trainer {
    ctx *c;
    const dt_observer *observer; /* never NULL */
    step_plan plan;
    step_share share;
    /* what is trained */
    denoiser model;
    model_info base; /* of the pre-trained model; empty when pre-training */
    model_file file; /* of the base; frozen weights may be used where they lie in it, which every process shares */
    bool relabelled; /* the table of classes did not start as the base's */
    adapter adapter; /* what trains of it; kind none: all of it */
    trainset set;
    optimizer optimizer;
    codec codec;        /* between pictures and what the model sees */
    int64_t resolution; /* side of the pictures */
    /* what with */
    latent_cache cache;         /* models of latents: the encoded pictures */
    told_data told;             /* captions and control pictures */
    examples train, validation; /* validation.count 0: none given */
    examples bank;              /* count 0: none */
    float *null_context;        /* the model's, for the host; NULL: zeros, or none */
    shuffled train_order, retained_order;
    schedule schedule;
    difftuning method;
    teacher teacher; /* where the method distils */
    ahead *ahead;    /* where a device makes the steps: fills the batches; else NULL */
    /* where it stands */
    int64_t step; /* steps done, skipped ones included */
    int64_t skipped, skipped_in_row;
    /* What this rank's caller wants, for the others to know: see step_result. Given away by a step. */
    bool stop_wanted, save_wanted;
} trainer;

typedef struct step_result {
    double loss_target, loss_bank; /* mean over the step's samples of each half; NaN: no such samples */
    double loss_retained;          /* mean of the distances to the teacher, each by its law; NaN: there is none */
    double grad_norm, learning_rate;
    bool finite;                   /* false: the step was skipped */
    bool stop_wanted, save_wanted; /* by the caller of any rank */
} step_result;

/* Reads everything s names into *t: model (of one of these kinds), data, bank, method. Nothing is written. */
dt_status trainer_open(trainer *t, ctx *c, const dt_settings *s, const dt_observer *observer, model_kinds kinds);
void trainer_close(trainer *t);

/* Whether the examples say all that the model takes. DT_ERR_UNSUPPORTED: its kind has no text encoder, or no door for controls. */
dt_status trainer_check_told(const trainer *t);

/* The file that a row starts from, if from one: the ControlNet's that was given, or the base's. */
const tensor_file *trainer_start_file(const trainer *t, const param *row);

/* Whether the base's file holds what a row that trains started with. New classes' rows start otherwise, an adapter's have no
 * counterpart. */
bool trainer_row_is_of_base(const trainer *t, const train_row *r);

/* One optimiser step: accumulation, backward, update. Of several ranks all make it, each of its samples, and are told the same
 * results. False when the context failed. */
bool trainer_step(trainer *t, step_result *r);

/* Takes the memory of a step and gives it back, in a rehearsal (tensor/rehearsal.h). */
void trainer_rehearse(trainer *t);

/* Tells the observer one line, printf-like. */
void trainer_log(const trainer *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- feed.c ---- */

void shuffled_open(ctx *c, shuffled *o, int64_t count, uint64_t seed, rng_purpose purpose);
/* Item number `position` of the endless walk. */
int64_t shuffled_at(shuffled *o, int64_t position);

/* The samples of one rank among so many: equal parts of either half. */
step_share feed_share(const step_plan *plan, int rank, int ranks);

/* Rows of a batch of this rank. */
int64_t feed_rows(const trainer *t);

/* Fills a training batch of this rank's rows of t->plan, on the host: micro-batch number `round` of the run. Of *t only the walks
 * change. */
void feed_fill(trainer *t, batch *b, int64_t round);

/* Says which rows of it are what: the part of feed_fill that depends on t->plan only. */
void feed_shape(const trainer *t, batch *b);

/* What the distance of a taught row of it counts for, before shares and weights. */
double feed_distil_law(const trainer *t, const batch *b, int64_t i);

/* The null context for the host, in the model arena; NULL: the denoiser has none, or the context failed. */
float *feed_null_context(ctx *c, const denoiser *d);

/* Row i of a batch is told nothing: the null class, the null context (NULL: zeros); its control is left as it is. */
void feed_null(const denoiser *d, const float *null_context, batch *b, int64_t i);

/* Row i of a batch, which is told what a sample of the bank says, is told as the bank was drawn: of the null class, by its prompt, or
 * where the bank has none with the null context. */
void feed_drawn(const denoiser *d, const float *null_context, batch *b, int64_t i, const examples *bank);

/* Row i of a batch is told what example number `index` of a set says, mirrored or not; its label is not touched. Of several captions
 * one is drawn by that key; NULL: the first. */
void feed_told(batch *b, int64_t i, const examples *from, int64_t index, const rng_key *caption, bool mirrored);

#endif
