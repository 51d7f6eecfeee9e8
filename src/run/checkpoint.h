/* Checkpoints of a run: output_dir/checkpoints/step-00000100/ with model.safetensors (the weights in f32), ema.safetensors
 * (their average), optimizer.safetensors (exp_avg.*, exp_avg_sq.*), state.json (where the run stands) and, written last,
 * manifest.json with the SHA-256 of each. A folder is made under another name and renamed, so what has its final name is
 * whole unless the disk itself lost something, which the manifest shows. */
#ifndef RUN_CHECKPOINT_H
#define RUN_CHECKPOINT_H

#include "train/trainer.h"

/* Saves the run as it stands, unless this very state is saved, then removes checkpoints beyond the newest
 * s->checkpoints_total_limit. On failure older checkpoints are untouched and the message says what was being written. */
dt_status checkpoint_save(trainer *t);

/* Puts *t where the newest whole checkpoint of its output_dir stands; t->step stays 0 when there is none. Broken ones are
 * named in the log and passed over. */
dt_status checkpoint_resume(trainer *t);

/* Bytes that the checkpoints and the final model will take on disk at most. */
int64_t checkpoint_disk_bytes(const trainer *t);

#endif
