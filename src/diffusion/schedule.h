/* Noise schedules, what a network predicts under them, which noise levels a sampler goes through, and the steps of DDIM and of
 * ancestral sampling (those of other samplers: diffusion/solver.h).
 *
 * Source: facebookresearch/DiT, diffusion/gaussian_diffusion.py and diffusion/respace.py; for Stable Diffusion's schedule
 * huggingface/diffusers, schedulers/scheduling_ddim.py ("scaled_linear"). All tables are in double. With learned variance a
 * network also says where the log variance lies between its two bounds. A respaced schedule keeps some of the 1000 steps, or
 * takes noise levels between them; its tables are made anew from betas that join the kept ones, while the network is still
 * asked at the original step.
 *
 * i counts the kept steps, 0 is the cleanest. In a full schedule i = t. */
#ifndef DIFFUSION_SCHEDULE_H
#define DIFFUSION_SCHEDULE_H

#include <stdbool.h>

#include "base/error.h"
#include "base/real.h"
#include "tensor/engine.h"

enum { SCHEDULE_STEPS = 1000 };

typedef enum noise_law {
    NOISE_LINEAR,        /* DiT, ADM: beta from 1e-4 to 0.02 */
    NOISE_SCALED_LINEAR, /* Stable Diffusion: the root of beta from that of 0.00085 to that of 0.012 */
    NOISE_STRAIGHT,      /* SiT: no betas, but a straight path from noise to data (diffusion/flow.h) */
} noise_law;

typedef enum prediction_type {
    PREDICTS_NOISE,
    PREDICTS_VELOCITY, /* sqrt(abar) noise - sqrt(1 - abar) x0 (Salimans and Ho 2022); on a straight path x0 - noise */
} prediction_type;

/* The diffusion process that a network was trained for. */
typedef struct process {
    noise_law noise;
    prediction_type predicts;
    bool learned_variance; /* its output has twice the channels; with PREDICTS_NOISE only */
} process;

static inline bool process_is_flow(const process *p)
{
    return p->noise == NOISE_STRAIGHT;
}

typedef struct schedule {
    int64_t count;                    /* kept steps */
    int32_t original[SCHEDULE_STEPS]; /* t of each, ascending (KARRAS: may repeat): what the network is told */
    double beta[SCHEDULE_STEPS];
    double abar[SCHEDULE_STEPS];                   /* product of 1 - beta up to and including i */
    double abar_prev[SCHEDULE_STEPS];              /* abar[i - 1]; 1 for i = 0 */
    double posterior_variance[SCHEDULE_STEPS];     /* of q(x_{i-1} | x_i, x0); 0 for i = 0 */
    double posterior_log_variance[SCHEDULE_STEPS]; /* its log, entry 0 replaced by entry 1 */
    double posterior_mean_x0[SCHEDULE_STEPS], posterior_mean_xt[SCHEDULE_STEPS];
    double ddim_final_abar; /* where DDIM's last step goes: 1, and in the LEADING form abar at t = 0 */
} schedule;

/* A point on the way from noise to data: x = alpha x0 + sigma noise. While x0 and the noise stand still, x / scale moves in a
 * straight line; scale is alpha, so that it moves with sigma / alpha. */
typedef struct noise_level {
    double alpha, sigma, scale;
} noise_level;

/* All 1000 steps. Of a straight path, the schedule that keeps variance and has the same ratio of signal to noise, where step i
 * stands for the noise level (i + 1) / 1000: a table to read, not one to draw by. */
void schedule_full(schedule *s, noise_law noise);

/* Keeps `count` steps. sigma' = sqrt((1 - abar) / abar); the last three are diffusers'.
 *   DDIM      0, s, 2s, .. with the smallest stride s that gives exactly `count` ("ddimN"). Not every count has one;
 *             DT_ERR_ARG then names the nearest that have.
 *   SECTIONS  from 0 to 999 with a fractional stride, each rounded half to even ("N"). 1..1000.
 *   LEADING   1, s+1, 2s+1, .. with s = 1000 / count rounded down: Stable Diffusion's form with offset 1. 1..999.
 *   LINSPACE  from 0 to 999 with a fractional stride; sigma' of a fraction lies on the line between its neighbours', and the
 *             network is told the nearest step. 2..1000.
 *   TRAILING  1000 - 1, 1000 - s - 1, .. with s = 1000 / count, each rounded half to even. 1..1000.
 *   KARRAS    sigma'^(1/7) evenly from that of t = 999 to that of t = 0 (Karras, Aittala, Aila, Laine 2022, equation 5); the
 *             network is told the step with the nearest log sigma'. 1..1000.
 * *s is unchanged on failure. */
dt_status schedule_respaced(schedule *s, noise_law noise, dt_spacing spacing, int64_t count, dt_error *err);

/* The same for samplers that go on from several predictions, as diffusers' multistep schedulers have it: LINSPACE and LEADING
 * lay count + 1 whole steps and leave out the cleanest. LINSPACE then takes 1..999, LEADING 1..998. */
dt_status schedule_respaced_multistep(schedule *s, noise_law noise, dt_spacing spacing, int64_t count, dt_error *err);

/* The level of step i, or for i = -1 where the last step leads: data without noise. */
noise_level schedule_level(const schedule *s, int64_t i);

/* x0[count] that the predicted noise stands for. */
void schedule_x0(real *x0, const real *eps, const real *x, int64_t count, const schedule *s, int64_t i);

/* Constants of the training loss at step i. */
loss_coefficients schedule_loss_coefficients(const schedule *s, int64_t i);

/* xt[count] = sqrt(abar) x0 + sqrt(1 - abar) noise: a draw of q(x_i | x0). */
void schedule_add_noise(real *xt, const real *x0, const real *noise, int64_t count, const schedule *s, int64_t i);

/* target[count] = sqrt(abar) noise - sqrt(1 - abar) x0 */
void schedule_velocity(real *target, const real *x0, const real *noise, int64_t count, const schedule *s, int64_t i);

/* Makes a predicted velocity, in place, the noise it stands for. */
void schedule_noise_of_velocity(real *v, const real *xt, int64_t count, const schedule *s, int64_t i);

/* Changes eps where the x0 it stands for leaves [-1, 1], so that x0 comes to lie on the edge ("clip_denoised"). */
void schedule_clip_x0(real *eps, const real *x, int64_t count, const schedule *s, int64_t i);

/* The sampler steps go from x_i to x_{i-1}; predictions of x0 are taken as they are. Arrays are [count]; `out` may be `x`;
 * eps is the predicted noise, guided or not. Where a step adds no noise, `noise` is not read and may be NULL: the last ancestral
 * one (i = 0), and DDIM's where schedule_ddim_sigma is 0. */

/* The standard deviation of the noise of DDIM's step i: 0 for eta 0 and for a last step that goes to abar 1. That of the LEADING
 * form goes to abar at t = 0 and is noisy for eta > 0, as in diffusers' DDIMScheduler. */
double schedule_ddim_sigma(const schedule *s, int64_t i, double eta);

/* DDIM (Song, Meng, Ermon 2020, equation 12). eta 0 (noise may be NULL) .. 1. */
void schedule_ddim_step(real *out, const real *x, const real *eps, const real *noise, int64_t count, const schedule *s,
                        int64_t i, double eta);

/* Ancestral (DDPM). v: the network's raw variance output, -1 at the posterior variance, 1 at beta, unbounded. NULL: the
 * model has none and the variance is beta ("fixed large", what the official code takes for such models). */
void schedule_ancestral_step(real *out, const real *x, const real *eps, const real *v, const real *noise, int64_t count,
                             const schedule *s, int64_t i);

#endif
