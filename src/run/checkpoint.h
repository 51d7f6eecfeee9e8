/* Checkpoints of a run: output_dir/checkpoints/step-00000100/ with model.safetensors (the model in f32; where a part of it is
 * frozen, the weights that train), ema.safetensors (the same with the averages), optimizer.safetensors (exp_avg.*,
 * exp_avg_sq.*), power.safetensors (of a run that keeps power-function averages), adapter_config.json (of an adapter's run, so that its
 * rows can be joined to their base; model/maker.h), state.json (where the run stands) and, written
 * last, manifest.json with the SHA-256 of what a run goes on from. A folder is made under another name and renamed, so what has its final name is whole
 * unless the disk itself lost something, which the manifest shows. Tensors are brought to the host one at a time. */
#ifndef RUN_CHECKPOINT_H
#define RUN_CHECKPOINT_H

#include "run/training.h"

/* Saves the run as it stands, unless this very state is saved, then removes checkpoints beyond the newest
 * r->checkpoints_kept. On failure older checkpoints are untouched and the message says what was being written. */
dt_status checkpoint_save(training *r);

/* Puts *r where the newest whole checkpoint of its output_dir stands; the step stays 0 when there is none. Broken ones are
 * named in the log and passed over. */
dt_status checkpoint_resume(training *r);

/* Of several ranks the others: puts *r where that checkpoint stands, which rank 0 has found to be whole. */
dt_status checkpoint_follow(training *r, int64_t step);

/* Bytes that the checkpoints and the final model will take on disk at most. */
int64_t checkpoint_disk_bytes(const training *r);

#endif
