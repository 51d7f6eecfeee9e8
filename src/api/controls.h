/* What a denoiser is told that is told a control picture: those of the settings' control_data, for numbers in turn. */
#ifndef API_CONTROLS_H
#define API_CONTROLS_H

#include "data/examples.h"
#include "diffusion/denoiser.h"
#include "model/annotate/annotator.h"

/* Opens the annotator that s->control names, in the model arena; *wanted: it names one. */
dt_status controls_annotator(ctx *c, annotator *a, const dt_settings *s, bool *wanted);

/* Gives `told`, which holds contexts already or nothing, a control picture for each of the first `numbers` samples, and told.sha256
 * what they are: the pictures of control_data, or what the annotator makes of them. Of a denoiser without a control nothing is done.
 * Errors as examples_open. */
dt_status controls_open(ctx *c, examples *told, const denoiser *d, const dt_settings *s, int64_t numbers,
                        const dt_observer *observer);

#endif
