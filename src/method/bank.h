/* The memory bank: images drawn beforehand from the frozen model (section 3.2's augmented data set X^s), on which
 * retention trains.
 *
 * A bank folder holds shard-00000.safetensors, .. (one tensor "x" [n,C,H,W], f32) and manifest.json, which names the base
 * model by hash, the way of drawing, and each finished shard with its SHA-256. A folder (or tar) of images is a bank as well:
 * that is what the released code uses. */
#ifndef METHOD_BANK_H
#define METHOD_BANK_H

#include "diffusion/sampler.h"
#include "difftune.h"
#include "model/dit.h"

typedef struct bank {
    int64_t count, image_size; /* images, values per image (C*H*W) */
    float *x;                  /* [count, C, H, W], owned */
    char sha256[65];           /* identity: of the manifest, or of the image data */
} bank;

/* Reads a bank for this model; `base_sha256` (NULL: not checked) must be the manifest's. With images, resolution and
 * background follow the settings. DT_ERR_CONFLICT for a bank of another model, DT_ERR_SHAPE for other image shapes. */
dt_status bank_open(bank *b, const char *path, const dit *m, const char *base_sha256, const dt_settings *s,
                    dt_error *err);
void bank_close(bank *b);

/* How far drawing has come; return false to stop. Finished shards stay, the one being drawn is dropped. */
typedef bool bank_watcher(void *user, int64_t done, int64_t count);

/* Draws images until the bank in `path` holds s->bank_size; goes on behind the finished shards of an earlier call.
 * Image i depends on seed, model and way of drawing alone. DT_ERR_CONFLICT when the folder holds another bank or other
 * things, DT_ERR_INTERRUPTED when the watcher said stop. */
dt_status bank_make(ctx *c, const dit *m, const char *base_sha256, const dt_settings *s, bank_watcher *watch,
                    void *user);

#endif
