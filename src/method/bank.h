/* The memory bank: images drawn beforehand from the frozen model (section 3.2's augmented data set X^s), on which
 * retention trains.
 *
 * A bank folder holds shard-00000.safetensors, .. (one tensor "x" [n,C,H,W], f32) and manifest.json, which names the base
 * model by hash, the way of drawing, and each finished shard with its SHA-256. The bank of a model of latents holds latents.
 * A folder (or tar) of pictures is a bank as well: that is what the released code uses. */
#ifndef METHOD_BANK_H
#define METHOD_BANK_H

#include "data/examples.h"
#include "diffusion/sampler.h"
#include "difftune.h"
#include "model/dit/dit.h"

/* Reads a bank for this model: values as they were drawn, or pictures, which become examples as `options` says (their
 * classes do not matter). `base_sha256` (NULL: not checked) must be the manifest's. DT_ERR_CONFLICT for a bank of another
 * model, DT_ERR_SHAPE for other shapes. Close it with examples_close. */
dt_status bank_open(ctx *c, examples *b, const char *path, const dit *m, const char *base_sha256,
                    const examples_options *options);

/* How far drawing has come; return false to stop. Finished shards stay, the one being drawn is dropped. */
typedef bool bank_watcher(void *user, int64_t done, int64_t count);

/* Draws images until the bank in `path` holds s->bank_size; goes on behind the finished shards of an earlier call.
 * Image i depends on seed, model and way of drawing alone. DT_ERR_CONFLICT when the folder holds another bank or other
 * things, DT_ERR_INTERRUPTED when the watcher said stop. */
dt_status bank_make(ctx *c, const dit *m, const char *base_sha256, const dt_settings *s, bank_watcher *watch,
                    void *user);

#endif
