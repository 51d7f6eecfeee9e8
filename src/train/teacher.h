/* The teacher: the frozen base, whose predictions are what distilled retention keeps (method/difftuning.h). With all weights
 * training it is a second denoiser over the base's file. */
#ifndef TRAIN_TEACHER_H
#define TRAIN_TEACHER_H

#include "model/maker.h"

typedef struct teacher {
    denoiser model;
    model_file file;      /* stays open: weights may be used where they lie in it */
    int64_t copied_bytes; /* what they take beside it */
} teacher;

/* Opens the base for prediction. `choice` is that of the model that trains. On failure *k may be closed. */
dt_status teacher_open(ctx *c, teacher *k, const char *model, const model_choice *choice, model_kinds kinds);
/* Harmless on a teacher that is zero. */
void teacher_close(teacher *k);

/* What the base predicts [N,C,H,W] of x[N,C,H,W] at t[N] on its null branch: the noise or the velocity, without the learned
 * variance. Of what the samples are told it looks at the control only. In the step arena; takes no gradient and leaves no
 * record. NULL after a failure. */
tensor *teacher_predict(ctx *c, const teacher *k, tensor *x, const real t[], const condition *told);

#endif
