/* The folder of an experiment: recipe.yaml, and experiment.json, which names the arms and holds for each finished stage the
 * settings that shaped it. A call with other settings for a finished stage is refused; stages that are still to come may change. */
#ifndef STUDY_EXPERIMENT_H
#define STUDY_EXPERIMENT_H

#include <jansson.h>

#include "file/lock.h"
#include "settings/settings.h"

typedef struct experiment {
    char folder[DT_PATH_MAX];
    json_t *arms;   /* their names, for the report */
    json_t *stages; /* name -> object of key -> text */
    file_lock lock;
} experiment;

/* Claims `folder`, or reads what is finished in it. DT_ERR_CONFLICT: it holds other things, or another
 * process is at work in it. On failure *e is closed. */
dt_status experiment_open(experiment *e, const char *folder, dt_error *err);
void experiment_close(experiment *e);

/* Says which arms there are from now on, on disk. */
dt_status experiment_set_arms(experiment *e, const settings_arms *arms, dt_error *err);

/* *done: the stage is finished. DT_ERR_CONFLICT when it is and was made with other values of the keys that `verbs` use;
 * paths inside the folder count by their place in it. */
dt_status experiment_check(bool *done, const experiment *e, const char *stage, unsigned verbs, const dt_settings *s,
                           dt_error *err);

/* Marks the stage as finished with these settings, on disk. */
dt_status experiment_mark(experiment *e, const char *stage, unsigned verbs, const dt_settings *s, dt_error *err);

#endif
