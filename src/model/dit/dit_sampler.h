/* A sampler that draws from a DiT, as the settings say. */
#ifndef DIT_DIT_SAMPLER_H
#define DIT_DIT_SAMPLER_H

#include "diffusion/sampler.h"
#include "model/dit/dit.h"

/* `m` is borrowed. Keys are those of samples; the bank sets its own. DT_ERR_ARG as schedule_respaced. */
dt_status dit_sampler_open(sampler *s, const dit *m, const dt_settings *settings, dt_error *err);

#endif
