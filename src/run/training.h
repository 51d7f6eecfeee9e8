/* A training run: a trainer with its folder, and what it measures and writes down on the way. Its loop over steps (loop.c), the
 * folder (run_folder.c), checkpoints (checkpoint.c) and what becomes of measurements (record.c) stand beside it. */
#ifndef RUN_TRAINING_H
#define RUN_TRAINING_H

#include "file/lock.h"
#include "measure/convergence.h"
#include "run/run_log.h"
#include "train/trainer.h"

/* What was written down about the step that is resumed from: none of it is measured a second time. */
typedef struct recorded {
    int64_t step; /* 0: none */
    bool validation[2], weights, grid, distance, convergence;
} recorded;

typedef enum measurement {
    MEASUREMENT_VALIDATION,
    MEASUREMENT_GRID,
    MEASUREMENT_DISTANCE,
    MEASUREMENT_CONVERGENCE,
    MEASUREMENTS
} measurement;

typedef struct training {
    trainer trainer;
    measures measures;
    convergence convergence;
    const dt_settings *s; /* which stay as they are */
    char folder[DT_PATH_MAX];
    int64_t step_count;
    /* Every so many steps, and at the end; 0: never. */
    int64_t logging_steps, measuring_steps[MEASUREMENTS];
    int64_t checkpointing_steps, checkpoints_kept; /* kept 0: all */
    int64_t average_steps;                         /* power-function averages are written; 0: at the end only */
    int64_t saved_step;                            /* of the checkpoint that was loaded or saved last; -1: none */
    recorded recorded;
    double seconds[MEASUREMENTS]; /* that the last one of each kind took, in this call; 0: none was made */
    run_log log;
    file_lock lock;
    bool stop_wanted, save_wanted; /* by the observer, and not served yet */
} training;

/* Reads everything s names into *r, which must stay where it is. Nothing is written but the lock of a folder that is a run's
 * already: DT_ERR_CONFLICT at once while another process trains in it. */
dt_status training_open(training *r, ctx *c, const dt_settings *s, const dt_observer *observer, model_kinds kinds);
void training_close(training *r);

#endif
