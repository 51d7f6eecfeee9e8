/* The straight path of SiT (Ma et al. 2024; willisma/SiT at 947f95b, transport/path.py, class ICPlan, velocity prediction).
 *
 * Time runs from noise to data: t = 0 is noise, t = 1 is data,
 *     x_t = t x0 + (1 - t) noise,    d x_t / dt = x0 - noise,
 * where x0 is the data, as everywhere in this program (SiT's code calls the data x1 and the noise x0). The network is told t
 * as it is, and predicts the velocity d x_t / dt. The noise level n = 1 - t takes the place of DDPM's steps: level i of
 * 0..999 holds the n from i / 1000 to (i + 1) / 1000. */
#ifndef DIFFUSION_FLOW_H
#define DIFFUSION_FLOW_H

#include <stdint.h>

#include "base/real.h"

/* The time t at `within` (0: the clean end, 1: the noisy end) of a level. */
double flow_time(int32_t level, double within);

/* The time at which `left` of so many even steps to the data are left. */
double flow_step_time(int64_t steps, int64_t left);

/* The level of a time in [0, 1]. */
int32_t flow_level(double t);

/* xt[count] = t x0 + (1 - t) noise */
void flow_add_noise(real *xt, const real *x0, const real *noise, int64_t count, real t);

/* target[count] = x0 - noise */
void flow_velocity(real *target, const real *x0, const real *noise, int64_t count);

/* Changes v where the data it points at, x + (1 - t) v, leaves [-1, 1], so that it comes to lie on the edge. t < 1. */
void flow_clip(real *v, const real *x, int64_t count, double t);

/* Euler: out[count] = x + dt v. `out` may be `x`. */
void flow_step(real *out, const real *x, const real *v, int64_t count, double dt);

/* Heun: x[count] + dt (v + v_ahead) / 2, v_ahead being the velocity at the end of Euler's step; in place. */
void flow_step_heun(real *x, const real *v, const real *v_ahead, int64_t count, double dt);

#endif
