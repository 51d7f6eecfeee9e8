/* The teacher: the frozen base, whose predictions are what distilled retention keeps (method/difftuning.h). Where all weights train
 * it is a second denoiser over the base's file; beside an adapter it is the network that trains, as it began. */
#ifndef TRAIN_TEACHER_H
#define TRAIN_TEACHER_H

#include "model/maker.h"
#include "train/trainset.h"

typedef struct teacher {
    denoiser model;
    model_file file;      /* stays open: weights may be used where they lie in it */
    int64_t copied_bytes; /* what they take beside it */
    trainset *set;        /* borrowed: of the network that trains, where that is the teacher; else NULL */
    bool *off;            /* borrowed: whether its adapter is */
} teacher;

/* Opens the base for prediction. `choice` is that of the model that trains. On failure *k may be closed. */
dt_status teacher_open(ctx *c, teacher *k, const char *model, const model_choice *choice, model_kinds kinds);
/* The network itself, whose adapter has the switch `off`; all rows of it that train are in `set` and were made its own
 * (trainset_own) when the first prediction is asked for. Takes no memory. */
void teacher_within(teacher *k, const denoiser *model, trainset *set, bool *off);
/* Harmless on a teacher that is zero. */
void teacher_close(teacher *k);

/* What the base predicts [N,C,H,W] of x[N,C,H,W] at t[N] on its null branch: the noise or the velocity, without the learned
 * variance. Of what the samples are told it looks at the control only. In the step arena; takes no gradient and leaves no
 * record. NULL after a failure. */
tensor *teacher_predict(ctx *c, const teacher *k, tensor *x, const real t[], const condition *told);

#endif
