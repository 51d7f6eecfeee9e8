/* Solvers: how a sample goes from one noise level to the next, given the noise that a network predicts in it. One row of a table
 * for each sampler; what is told apart by sampler stands in that row and nowhere else.
 *
 * Sources, with huggingface/diffusers 0.42.1, which each is checked against (tests/test_sampler_reference.c):
 *   ddim      Song, Meng, Ermon 2020, equation 12                            DDIMScheduler
 *   ddpm      Ho, Jain, Abbeel 2020, with learned variance                   DDPMScheduler
 *   dpm++2m   Lu et al. 2022, "DPM-Solver++", algorithm 2                    DPMSolverMultistepScheduler (midpoint)
 *   unipc     Zhao et al. 2023, UniPC-2, B_2(h), on predictions of x0        UniPCMultistepScheduler (bh2)
 *   heun      Karras, Aittala, Aila, Laine 2022, algorithm 1, without churn  HeunDiscreteScheduler
 *   euler     the same without the second evaluation                         EulerDiscreteScheduler
 *
 * All but the first two are written in alpha, sigma and predictions alone: where a noise level comes from is the schedule's. Along a
 * flow (diffusion/flow.h) euler and heun have rows of their own: i + 1 even steps are left, and what is predicted is the velocity. */
#ifndef DIFFUSION_SOLVER_H
#define DIFFUSION_SOLVER_H

#include "diffusion/schedule.h"

/* One sample on its way from level i of the schedule to level i - 1. */
typedef struct solver_step {
    const schedule *schedule;
    int64_t i;
    int64_t count;     /* values of the sample */
    double eta;        /* DDIM's */
    real *x;           /* [count] the sample, which is moved */
    const real *eps;   /* [count] predicted noise in x, or velocity: of level i, in `correct` of level i - 1 */
    const real *v;     /* [count] raw variance as schedule_ancestral_step; NULL: the network has none */
    const real *noise; /* [count] standard normal where adds_noise says so, else not read */
    real *kept; /* [solver.kept][count]: in row 0 the x0 that eps stands for, in the others what earlier calls on this
                          sample left; not initialised */
} solver_step;

typedef void solver_move(const solver_step *s);

typedef struct solver {
    dt_spacing spacing; /* what DT_SPACING_AUTO stands for */
    bool multistep;     /* laid by schedule_respaced_multistep */
    int kept;           /* rows that it works with; 0: it does not ask for x0 */
    solver_move *step;
    solver_move *correct; /* after `step`, with a second evaluation at level i - 1. NULL: none */
    bool to_end;          /* after the last step too, where what is predicted there is not clipped */
    bool (*adds_noise)(const schedule *s, int64_t i, double eta); /* in step i; NULL: never */
} solver;

/* The row of a sampler; along a straight path of one that sampler_check lets through. */
const solver *solver_of(dt_sampler kind, noise_law noise);

/* The spacing that is meant: AUTO as the sampler has it. Not along a straight path. */
dt_spacing solver_spacing(dt_sampler kind, dt_spacing asked);

/* The schedule of those steps under `asked`. DT_ERR_ARG as schedule_respaced. */
dt_status solver_schedule(schedule *s, dt_sampler kind, noise_law noise, dt_spacing asked, int64_t count,
                          dt_error *err);

#endif
