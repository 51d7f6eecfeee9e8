/* What a denoiser is told that is told a control picture: those of the settings' control_data, for numbers in turn. */
#ifndef API_CONTROLS_H
#define API_CONTROLS_H

#include "data/examples.h"
#include "diffusion/denoiser.h"
#include "model/annotate/annotator.h"
#include "model/control_part.h"

/* Whether the settings' control names an annotator, that makes control pictures of any pictures. */
bool controls_are_annotated(const dt_settings *s);

/* Whether the model can be told a control, and by the ControlNet that is named, if one is; of the files only what they hold is looked
 * at. DT_ERR_UNSUPPORTED: it is told none; else as model_file_open_as. */
dt_status controls_check_base(const dt_settings *s, dt_error *err);

/* Opens the annotator that s->control names, in the model arena; *wanted: it names one. */
dt_status controls_annotator(ctx *c, annotator *a, const dt_settings *s, bool *wanted);

/* Gives `told`, which holds contexts already or nothing, a control picture for each of the first `numbers` samples, and told.sha256
 * what they are: the pictures of control_data, or what the annotator makes of them. Of a denoiser without a control nothing is done.
 * Errors as examples_open. */
dt_status controls_open(ctx *c, examples *told, const denoiser *d, const dt_settings *s, int64_t numbers,
                        const dt_observer *observer);

#endif
