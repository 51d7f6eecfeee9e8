/* Making the memory bank for any denoiser. */
#ifndef API_BANK_H
#define API_BANK_H

#include "data/bank.h"
#include "model/annotate/annotator.h"

/* How controls are made of what is drawn. */
typedef struct bank_control {
    const annotator *annotator;
    const codec *codec; /* of the pictures */
} bank_control;

/* Draws samples until the bank in s->bank holds s->bank_size; goes on behind the finished shards of an earlier call. Sample i
 * depends on seed, model, what it is told (`told`, example i % count; NULL: the denoiser takes no context and no control) and
 * way of drawing alone. With `control` (may be NULL) each sample is decoded and its annotator's map is kept beside it: what a ControlNet
 * is told of it. DT_ERR_CONFLICT when the folder holds another bank or other things, DT_ERR_INTERRUPTED when the
 * observer wanted to stop: finished shards stay, the one being drawn is dropped. */
dt_status bank_make(ctx *c, const denoiser *d, const char *base_sha256, const examples *told,
                    const bank_control *control, const dt_settings *s, const dt_observer *observer);

#endif
