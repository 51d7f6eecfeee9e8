/* The memory bank: samples drawn beforehand from the frozen model (section 3.2's augmented data set X^s), on which
 * retention trains. api/bank.c makes it, this file reads it.
 *
 * A bank folder holds shard-00000.safetensors, .. and manifest.json, which names the base model by hash, the way of drawing,
 * and each finished shard with its SHA-256; while these are fewer samples than were asked for, it says as "wanted" how many those
 * are. A shard is a table of named tensors with one row for each sample: "x"
 * [n,C,H,W] F32, and where the model is told more "context" [n,S,W] F32 and "control", [n,C,H,W] F32 or maps [n,H,W,C] U8 that stand for
 * [0,1] (one channel is told C times). The bank of a model of latents holds latents; what its samples were told stays in the mapped
 * files. A folder (or tar) of pictures is a bank as well: that is what the released code uses. */
#ifndef DATA_BANK_H
#define DATA_BANK_H

#include "data/examples.h"
#include "diffusion/denoiser.h"

#define BANK_FORMAT "difftune bank 1"
#define BANK_WANTED "wanted"

/* Reads a bank for this denoiser: values as they were drawn, or pictures, which become examples as `options` says (their
 * classes do not matter). `base_sha256` (NULL: not checked) must be the manifest's. DT_ERR_CONFLICT for a bank of another
 * model, DT_ERR_SHAPE for other shapes. Close it with examples_close. */
dt_status bank_open(ctx *c, examples *b, const char *path, const denoiser *d, const char *base_sha256,
                    const examples_options *options);

/* Samples of the shards that a manifest lists. */
int64_t bank_manifest_count(const json_t *manifest);

/* The manifest of a bank's folder, checked for its form; NULL after a failure. */
json_t *bank_manifest_read(const char *folder, dt_error *err);

#endif
