/* The folder of an experiment: recipe.yaml, and experiment.json, which names the arms and holds for each finished stage the
 * settings that shaped it. A call with other settings for a finished stage is refused; stages that are still to come may change.
 * A study keeps more there: what was measured, what failed and why, and how long each stage took. */
#ifndef STUDY_EXPERIMENT_H
#define STUDY_EXPERIMENT_H

#include <jansson.h>

#include "file/lock.h"
#include "settings/settings.h"

typedef struct experiment {
    char folder[DT_PATH_MAX];
    json_t *arms;    /* their names, for the report */
    json_t *stages;  /* name -> object of key -> text */
    json_t *results; /* name -> what was measured (run/eval_record.h) */
    json_t *failed;  /* name -> why */
    json_t *seconds; /* name -> how long it took, all calls together */
    json_t *states;  /* path -> the state of pictures that were looked at in this call (file_tree_hash) */
    file_lock lock;
} experiment;

/* Whether the folder holds one, of which what is finished needs its inputs no more. */
bool experiment_exists(const char *folder);

/* Claims `folder`, or reads what is finished in it. DT_ERR_CONFLICT: it holds other things, or another
 * process is at work in it. On failure *e is closed. */
dt_status experiment_open(experiment *e, const char *folder, dt_error *err);
void experiment_close(experiment *e);

/* Says which arms there are from now on, on disk. */
dt_status experiment_set_arms(experiment *e, const settings_arms *arms, dt_error *err);

/* *done: the stage is finished. DT_ERR_CONFLICT when it is and was made with other values of the keys that the verb uses, or of
 * pictures that are others now; paths inside the folder count by their place in it, and a key that was not known then by its
 * default. */
dt_status experiment_check(bool *done, experiment *e, const char *stage, settings_verb verb, const dt_settings *s,
                           dt_error *err);

/* Marks the stage as finished with these settings and the pictures as they are, on disk; it has not failed then. */
dt_status experiment_mark(experiment *e, const char *stage, settings_verb verb, const dt_settings *s, dt_error *err);

/* The stage is to be made again. */
void experiment_forget(experiment *e, const char *stage);

/* ---- what a study keeps; on disk with the next mark, or by experiment_write ---- */

/* Keeps what was measured in the stage; the reference is taken. */
dt_status experiment_keep_result(experiment *e, const char *stage, json_t *result, dt_error *err);

/* Keeps why the stage failed. */
dt_status experiment_keep_failure(experiment *e, const char *stage, const char *why, dt_error *err);

/* Adds to the time of the stage. */
dt_status experiment_add_seconds(experiment *e, const char *stage, double seconds, dt_error *err);

dt_status experiment_write(const experiment *e, dt_error *err);

#endif
