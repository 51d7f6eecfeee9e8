/* A run folder as the trainer leaves it, read into memory for the report.
 *
 *   run.json           what the run is: tool, method, preset, hashes, classes, one line that states the method
 *   config.yaml        the resolved settings, flat
 *   data_report.json   what was found in the training data
 *   metrics.jsonl      one record a line; the kinds "train", "validation", "weights", "eval" and
 *                      "convergence" are read, others passed over
 *   samples/step_N.png sample grids; samples/control_N.png: controls, samples and their maps
 *   psi.txt            psi over t, where it was measured
 *   diagnosis.json     what difftune diagnose found before the run, where the run was asked to keep it
 *
 * run.json and metrics.jsonl must be there; the others may be missing. Everything in them is taken as hostile. */
#ifndef REPORT_RUN_H
#define REPORT_RUN_H

#include <jansson.h>

#include "base/error.h"
#include "eval/map_likeness.h"

enum { RUN_BANDS = 10, RUN_BAND_STEPS = 100 }; /* bands of t: 0..99, 100..199, .. 900..999 */

/* The t that stands for a band in charts. */
double run_band_middle(int band);

typedef struct run_train {
    double step, loss_target, loss_bank, loss_retained, grad_norm, lr, samples_per_second, memory_bytes;
    double time_s;    /* since the run was started or last resumed */
    double from_step; /* the step that this was at; NaN: of a program that did not write it */
    double skipped;   /* steps so far whose loss or gradient was not finite */
} run_train;

typedef struct run_validation {
    double step, loss;
    double band_loss[RUN_BANDS], band_mse[RUN_BANDS];
} run_validation;

enum { RUN_MEASURES_MAX = 4, RUN_NAME_MAX = 64 };

typedef struct run_eval {
    char measure[RUN_NAME_MAX]; /* "FD-base", "FD-squeezenet" */
    double step, frechet_distance, kernel_distance, kernel_distance_std, count, reference_count;
} run_eval;

enum { RUN_KINDS_MAX = 16, RUN_BLOCKS_MAX = 256 };

/* Squared distance of weights to the start. */
typedef struct run_weights {
    double step, squares, per_value;
    double block[RUN_BLOCKS_MAX]; /* for each value */
    int blocks;
    struct run_layers {
        char kind[RUN_NAME_MAX]; /* "attention" */
        double squares, per_value;
    } layers[RUN_KINDS_MAX];
    int kinds;
} run_weights;

/* How well samples obey their control. */
typedef struct run_convergence {
    double step, value, error, count;
    char control[RUN_NAME_MAX], measure[RUN_NAME_MAX]; /* "canny", "SSIM" */
} run_convergence;

typedef enum run_set { RUN_TARGET, RUN_BANK, RUN_TRAIN, RUN_SETS } run_set;

typedef struct run_grid {
    int64_t step;
    char *path;
} run_grid;

typedef struct run_setting {
    char *key, *value;
} run_setting;

/* Records are in order of their steps; a number that is missing or null is NaN. Where a run was stopped and went on
 * from an earlier checkpoint, the later record of a step is the one that counts. */
typedef struct run {
    char folder[DT_PATH_MAX];
    json_t *info;         /* run.json, an object */
    json_t *data_report;  /* NULL: none */
    json_t *diagnosis;    /* likewise */
    char *config;         /* text of config.yaml; NULL: none */
    double *psi;          /* [RUN_BANDS * RUN_BAND_STEPS], from 0 to 1; NULL: none was measured */
    run_setting *setting; /* its keys and values */
    int64_t setting_count;
    run_train *train;
    int64_t train_count;
    run_validation *validation[RUN_SETS];
    int64_t validation_count[RUN_SETS];
    run_eval *eval;
    int64_t eval_count;
    run_weights *weights;
    int64_t weights_count;
    run_convergence *convergence;
    int64_t convergence_count;
    run_grid *grid, *strip; /* by step */
    int64_t grid_count, strip_count;
} run;

/* Reads a run folder. Errors: DT_ERR_IO (no such folder, no run.json or metrics.jsonl), DT_ERR_FORMAT (not JSON, not
 * what it should be: file and line are named; longer than the limits), DT_ERR_MEMORY. On failure *out is empty. */
dt_status run_open(run *out, const char *folder, dt_error *err);
void run_close(run *r);

/* A diagnosis.json, or NULL with an error: as json_file_read, and DT_ERR_FORMAT for another object. */
json_t *run_read_diagnosis(const char *path, dt_error *err);

/* The value of a text field of run.json, or "" when there is none. */
const char *run_text(const run *r, const char *key);

/* The value of a setting as text, or NULL; as number, or NaN. */
const char *run_setting_text(const run *r, const char *key);
double run_setting_number(const run *r, const char *key);

/* What was asked to be retained: a word of the setting, never `preset`. */
const char *run_retention(const run *r);

/* Whether the model was told control pictures. */
bool run_tells_control(const run *r);

/* What the report says in numbers about a run; NaN where nothing was recorded. The batch is that of one step, with
 * gradient accumulation; the seconds are summed over resumptions; the speed is the median, the memory the peak. */
typedef struct run_summary {
    double steps, planned_steps, batch, seconds, samples_per_second, memory_bytes, skipped;
} run_summary;
run_summary run_summarise(const run *r);

/* Records of one measure: `base` at step 0, before tuning; `last`; `best`, the lowest finite distance after step 0.
 * NULL where there is none. */
typedef struct run_evals {
    const run_eval *base, *last, *best;
} run_evals;
run_evals run_find_evals(const run *r, const char *measure);

/* Fills a run's records from metrics.jsonl in its folder. Called by run_open. */
dt_status run_read_metrics(run *r, dt_error *err);

/* When samples began to obey their control, in steps: where two measures in a row reach the threshold, and where their curve jumps
 * in that direction (change_point_of_means). NaN: not told, not reached, no jump. */
typedef struct run_obedience {
    double
        threshold; /* the run's own; of a run that looks for its jump the paper's, where pictures have its 512 pixels */
    double reached;                     /* by the means */
    double early, late;                 /* by the ends of their 95 % intervals: not before early; surely from late on */
    double jump, jump_first, jump_last; /* with its 95 % interval (eval/change_point.h) */
    double before, after;               /* levels on either side of the jump */
    double last;                        /* measure */
} run_obedience;
run_obedience run_find_obedience(const run *r);

/* The step from which samples obey, with its 95 % interval: by the threshold where there is one, else by the jump. */
typedef struct run_steps {
    double step, first, last;
    bool is_jump;
} run_steps;
run_steps run_obeys_from(const run *r);

/* The row of the paper's table 4 that the run is about: of its control, and by the name in convergence_threshold. NULL: none. */
const map_published *run_published_row(const run *r);

/* Whether the run was of this method. */
bool run_is(const run *r, dt_method method);

#endif
