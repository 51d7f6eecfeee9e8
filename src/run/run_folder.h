/* The folder of a run: run.json says what the run is, config.yaml with which settings it was made, data_report.json what
 * the data are; metrics.jsonl, event files, samples/, checkpoints/ and final/ are filled while it goes.
 *
 * A folder belongs to one run. What decides the bits of a run (method, data, base, seed, batch, rates, ..) is written as
 * its identity; opening the folder with another identity is DT_ERR_CONFLICT naming the first difference. */
#ifndef RUN_RUN_FOLDER_H
#define RUN_RUN_FOLDER_H

#include "run/training.h"

/* Makes the folder, or recognises it as this run's. An existing folder with other things in it is DT_ERR_CONFLICT. */
dt_status run_folder_open(const training *r, dt_error *err);

/* final/model.safetensors and another format by r->s->save_model_as, with their metadata: the averaged weights, or the last
 * ones by r->s->weights. */
dt_status run_folder_finish(training *r);

#endif
