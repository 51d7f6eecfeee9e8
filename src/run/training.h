/* A training run: a trainer with its folder, its checkpoints, and what it measures and writes down on the way. training.c is the loop over
 * steps; the folder (run_folder.c), checkpoints (checkpoint.c) and what becomes of measurements (record.c) stand beside it. */
#ifndef RUN_TRAINING_H
#define RUN_TRAINING_H

#include "measure/measure.h"
#include "run/run_log.h"
#include "train/trainer.h"

typedef struct training {
    trainer trainer;
    measures measures;
    const dt_settings *s; /* read before the first step and after the last one */
    char folder[DT_PATH_MAX];
    int64_t step_count;
    /* Every so many steps, and at the end; 0: never. */
    int64_t logging_steps, validation_steps, sample_steps, distance_steps;
    int64_t checkpointing_steps, checkpoints_kept; /* kept 0: all */
    int64_t saved_step;                            /* of the checkpoint that was loaded or saved last; -1: none */
    run_log log;
} training;

/* Reads everything s names into *r, which must stay where it is. Nothing is written. */
dt_status training_open(training *r, ctx *c, const dt_settings *s, const dt_observer *observer, model_kinds kinds);
void training_close(training *r);

/* Claims the folder or finds the run in it, goes on from its newest whole checkpoint to the end, and writes the result.
 * DT_ERR_INTERRUPTED: the observer wanted to stop, and a checkpoint is written. */
dt_status training_through(training *r);

/* ---- record.c: measurements as lines, curves and pictures ---- */

dt_status record_step(training *r, const step_result *step, double samples_per_second);
dt_status record_validation(training *r);
dt_status record_grid(training *r);
dt_status record_distance(training *r);

#endif
