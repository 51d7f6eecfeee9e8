/* The folder of a run: run.json says what the run is, config.yaml with which settings it was made, data_report.json what
 * the data are; metrics.jsonl, event files, samples/, checkpoints/ and final/ are filled while it goes.
 *
 * A folder belongs to one run. What decides the bits of a run (method, data, base, seed, batch, rates, ..) is written as
 * its identity; opening the folder with another identity is DT_ERR_CONFLICT naming the first difference. */
#ifndef RUN_RUN_FOLDER_H
#define RUN_RUN_FOLDER_H

#include "run/training.h"

/* Makes the folder, or recognises it as this run's, and holds its lock until training_close. DT_ERR_CONFLICT: an existing folder
 * with other things in it, or one that another process works in. */
dt_status run_folder_open(training *r, dt_error *err);

/* After checkpoint_resume: DT_ERR_CONFLICT when the folder holds more steps than are asked for, or a finished result of another
 * length that no checkpoint leads to, which would be lost. */
dt_status run_folder_check_length(const training *r, dt_error *err);

/* Puts into the folder what is not there yet, and config.yaml as the settings are now: some may change within a run. */
dt_status run_folder_fill(const training *r, dt_error *err);

/* The same questions without making anything: the folder is this run's, or may become it. */
dt_status run_folder_look(const training *r, dt_error *err);

/* Of an adapter final/adapter_model.safetensors and adapter_config.json, as PEFT has them. Else final/model.safetensors and
 * another format by r->s->save_model_as, with their metadata: the averaged weights, or the last ones by r->s->weights. */
dt_status run_folder_finish(training *r);

#endif
