/* Drawing samples: the steps of a solver (diffusion/solver.h) with guidance. Which denoiser makes a step, and which one guides
 * it, is data. */
#ifndef DIFFUSION_SAMPLER_H
#define DIFFUSION_SAMPLER_H

#include "base/rng.h"
#include "diffusion/denoiser.h"

enum { DENOISER_CHOICES_MAX = 4 };

/* Which denoiser makes a step. Steps count down: 0 is the last, the cleanest. Step i is made by the last entry whose `from` is not
 * above i, in all its evaluations. It goes by steps and not by t because Karras' levels may tell a network the same t twice.
 * Entries rise in `from`, the first is 0. Borrowed. */
typedef struct denoiser_choice {
    int count;
    struct denoiser_entry {
        int64_t from;
        const denoiser *denoiser;
        bool untold; /* it is asked for its unconditional answer alone, and nobody guides it */
    } entry[DENOISER_CHOICES_MAX];
} denoiser_choice;

/* One denoiser for every step. */
denoiser_choice denoiser_always(const denoiser *d);

/* eps = other + scale (conditional - other) + nag_scale (conditional - timeless) on the guided channels, at the steps whose t lies
 * in the interval; elsewhere the conditional answer alone. The paper's formula has w = scale - 1. `timeless` is what the model says
 * to the same condition without the time (noise awareness guidance, arXiv 2510.12497). */
typedef struct guidance {
    double scale;            /* 1: no other branch is asked */
    double nag_scale;        /* 0: no timeless branch is asked */
    int32_t t_first, t_last; /* both included */
    int64_t channels;        /* so many from the first on; the others stay conditional */
    denoiser_choice other;   /* answers for the other branch */
    bool other_is_told;      /* the same as the model; else its own unconditional condition */
} guidance;

typedef struct sampler {
    denoiser_choice model;
    guidance guidance;
    sample_shape shape;
    process process; /* of every denoiser of the model */
    dt_sampler kind;
    double eta;        /* DDIM's */
    bool clip_sample;  /* x0 is kept in [-1, 1]: for pixels, not for latents */
    schedule schedule; /* of a flow only the number of steps */
    uint64_t seed;
    rng_purpose start, step; /* keys of the starting noise and of the noise of each step */
} sampler;

/* Which channels guidance acts on, never DT_GUIDE_AUTO: what that means for this denoiser. */
dt_guidance_channels sampler_guidance_channels(const denoiser *d, const dt_settings *settings);

/* Whether a model of this process can be drawn from as the settings say: a flow by heun and euler alone, over evenly spaced
 * times. DT_ERR_ARG. */
dt_status sampler_check(const process *p, const dt_settings *settings, dt_error *err);

/* A sampler that draws from `d`, guided by its own unconditional branch, as the settings say; keys are those of samples. `d` is
 * borrowed. DT_ERR_ARG as schedule_respaced, as sampler_check, and for nag_scale with a model that has no null time. */
dt_status sampler_open(sampler *s, const denoiser *d, const dt_settings *settings, dt_error *err);

/* How often the model is asked for a sample, not counting guidance's other branches. */
int64_t sampler_evaluations(const sampler *s);

/* Another denoiser of the same shape and process answers for the other branch: domain guidance where it is the base's
 * unconditional branch (Zhong et al. 2025), autoguidance where it is a worse model that is told the same (Karras et al. 2024). It is
 * borrowed. DT_ERR_SHAPE naming `path`, where it came from, for one that differs. */
dt_status sampler_guide_by(sampler *s, const denoiser *other, bool told, const char *path, dt_error *err);

/* So many of the sampler's steps are that share of them, rounded. */
int64_t sampler_steps_of(const sampler *s, double share);

/* Another denoiser of the same shape and process makes the last `steps` steps (0: none). `told`: it is told the same as the model and
 * guided like it, by its own unconditional branch where the model is its own guide; else it is asked without what samples are told,
 * and unguided. To be called once, after sampler_guide_by. It is borrowed. DT_ERR_SHAPE naming `path` for one that differs. */
dt_status sampler_end_by(sampler *s, const denoiser *other, int64_t steps, bool told, const char *path, dt_error *err);

/* Reads "LO,HI", two numbers from 0 to 999, LO not above HI. */
dt_status sampler_read_interval(int32_t *first, int32_t *last, const char *text, dt_error *err);

/* Fills x[n,C,H,W] with samples number index[0..n) of these conditions, whose tensors are not in the scratch arena. A
 * sample's noise depends on seed and index alone, not on the batch it is drawn in. */
dt_status sampler_draw(ctx *c, const sampler *s, real *x, const condition *k, const uint32_t index[], int64_t n);

/* Fills x[n,..] with the starting noise of those samples. */
void sampler_start(const sampler *s, real *x, const uint32_t index[], int64_t n);

/* From given starting noise in x, through all steps. */
dt_status sampler_continue(ctx *c, const sampler *s, real *x, const condition *k, const uint32_t index[], int64_t n);

/* ---- in parts ---- */

/* Samples on their way, between two steps. */
typedef struct trajectories {
    real *x; /* [n][C,H,W] */
    const uint32_t *index;
    int64_t n;
    real *kept;   /* [n][rows][C,H,W], what the solver remembers */
    int64_t left; /* steps still to be made */
} trajectories;

/* From given starting noise in x. What the solver keeps is in the step arena. */
dt_status sampler_begin(ctx *c, const sampler *s, trajectories *b, real *x, const uint32_t index[], int64_t n);

/* Makes the steps until `left` are left. In parts or at once, by one sampler or by several that make these steps alike: the same
 * bits. */
dt_status sampler_go_on(ctx *c, const sampler *s, trajectories *b, const condition *k, int64_t left);

/* The same samples once more, in x[n,..], with what the solver remembers of them: who goes on with one leaves the other. */
dt_status sampler_fork(ctx *c, const sampler *s, trajectories *twin, const trajectories *b, real *x);

#endif
