/* What a run trains as files that say what they were made from: its result (run/run_folder.h) and its averages
 * (run/averages.h). */
#ifndef RUN_WEIGHTS_FILE_H
#define RUN_WEIGHTS_FILE_H

#include <jansson.h>

#include "run/training.h"

/* Metadata of such files, and the texts they point to. */
typedef struct weights_note {
    char step[32], seed[32], images[32], bank_images[32], scale[32], length[POWER_TEXT_MAX], updates[32];
    char *classes;
    char base_sha256[65]; /* of the base's file that was written beside; empty: none was */
    metadata_pair pair[24];
    size_t count;
} weights_note;

/* What is said of these values as they are now: of an average its length and updates always, the rest by r->s->metadata. Close it,
 * also after a failure. */
dt_status weights_note_open(weights_note *n, const training *r, train_values values);
void weights_note_close(weights_note *n);

/* The names of the classes that are trained on, a list. */
json_t *weights_class_names(const training *r);

/* Whether an adapter trains. */
bool weights_adapt(const training *r);

/* The whole network with these values in a file of this format, or the rows that train as an adapter's. Either tells the log. */
dt_status weights_write_model(training *r, const char *path, train_values values, dt_model_format format,
                              dt_file_dtype dtype, const weights_note *n);
/* The same of one of its networks: the model, or the base of a ControlNet. */
dt_status weights_write_network(training *r, const denoiser *d, const char *path, train_values values,
                                dt_model_format format, dt_file_dtype dtype, const weights_note *n);

dt_status weights_write_adapter(training *r, const char *path, train_values values, dt_file_dtype dtype,
                                const weights_note *n);

#endif
