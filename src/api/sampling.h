/* What samples are drawn with, as the settings of the verbs sample and chain say: the model, who guides it, who makes its last
 * steps, the codec, the classes. */
#ifndef API_SAMPLING_H
#define API_SAMPLING_H

#include "api/prompts.h"
#include "api/sample_folder.h"
#include "measure/drawing.h"
#include "model/maker.h"

typedef struct sampling {
    ctx *c;
    const dt_settings *s;
    const dt_observer *observer;
    denoiser model, guide, tail; /* guide and tail are open where guidance_model and tail_model are given */
    model_info info, guide_info, tail_info;
    bool tail_told; /* the tail's model has the same classes, and is told them */
    codec codec;
    class_list classes;
    char control_sha256[65]; /* of the ControlNet's file; empty: there is none */
    prompts prompts;
    drawing drawing; /* without a tail: see sampling_end */
} sampling;

/* Opens it all, for samples of numbers below `numbers`; c, s and observer are filled. Errors as denoiser_load_as and prompts_open, and
 * where the models do not fit each other. Close it in any case. */
dt_status sampling_open(sampling *p, int64_t numbers);
void sampling_close(sampling *p);

/* The drawing's sampler, ended by the tail's model in so many steps (0: not at all). */
dt_status sampling_end(const sampling *p, sampler *out, int64_t steps);

/* What makes an image what it is; the same text again means that the same images are being drawn. */
void sampling_describe(const sampling *p, int64_t tail_steps, char out[SAMPLE_TEXT_MAX]);

/* A folder for images of s (p's settings, or others with the same models), to be opened: the first `saved` become files, and where
 * `measured` (may be NULL) is open each has a row of its features. */
sample_folder sampling_folder(const sampling *p, const dt_settings *s, int64_t saved, int64_t tail_steps,
                              const meter *measured);

/* Tells the observer what a user may not expect of these models, and of so many last steps at most by the tail's. */
void sampling_tell(const sampling *p, int64_t tail_steps);

#endif
