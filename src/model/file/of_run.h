/* What the run of a checkpoint says of it. A checkpoint's files hold weights and little else (run/checkpoint.h), so that they are the same
 * bytes whatever a run is called; the names of its classes and the kind of model stand once, in run.json of its run. */
#ifndef FILE_OF_RUN_H
#define FILE_OF_RUN_H

#include "container/tensor_file.h"

/* Metadata: the names of the classes, a JSON list in the order of the label table; the hashes of the latent codec and of the text
 * encoder that it was trained with. */
#define MODEL_CLASSES "difftune.classes"
#define MODEL_CODEC   "difftune.vae_sha256"
#define MODEL_ENCODER "difftune.encoder_sha256"

/* Adds to the metadata of an open file in RUN/checkpoints/NAME/ what RUN/run.json says and the file does not, under the keys of a run's
 * result. Of other files nothing is done. */
dt_status of_run_complete(tensor_file *f, dt_error *err);

/* What a model is used with, by path and by hash; an empty hash where there is none, or where it is not known. */
typedef struct of_run_use {
    const char *model;
    const char *codec, *codec_sha256;
    const char *encoder, *encoder_sha256; /* an empty path is the model's own folder */
} of_run_use;

/* Tells of each that is another one than what the model's metadata (may be NULL) name. */
void of_run_tell_others(const json_t *metadata, const of_run_use *use, const dt_observer *observer);

#endif
