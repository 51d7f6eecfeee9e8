#include "diffusion/flow.h"

#include "diffusion/schedule.h"

double flow_time(int32_t level, double within)
{
    return 1 - (level + within) / SCHEDULE_STEPS;
}

double flow_step_time(int64_t steps, int64_t left)
{
    return (double)(steps - left) / (double)steps;
}

int32_t flow_level(double t)
{
    const double level = (1 - t) * SCHEDULE_STEPS;
    if (level >= SCHEDULE_STEPS) return SCHEDULE_STEPS - 1;
    return level > 0 ? (int32_t)level : 0;
}

void flow_add_noise(real *xt, const real *x0, const real *noise, int64_t count, real t)
{
    for (int64_t j = 0; j < count; j++) xt[j] = t * x0[j] + (1 - t) * noise[j];
}

void flow_velocity(real *target, const real *x0, const real *noise, int64_t count)
{
    for (int64_t j = 0; j < count; j++) target[j] = x0[j] - noise[j];
}

void flow_clip(real *v, const real *x, int64_t count, double t)
{
    const real left = (real)(1 - t);
    for (int64_t j = 0; j < count; j++) {
        const real data = x[j] + left * v[j];
        if (data > 1) v[j] = (1 - x[j]) / left;
        if (data < -1) v[j] = (-1 - x[j]) / left;
    }
}

void flow_step(real *out, const real *x, const real *v, int64_t count, double dt)
{
    for (int64_t j = 0; j < count; j++) out[j] = x[j] + (real)dt * v[j];
}

void flow_step_heun(real *x, const real *v, const real *v_ahead, int64_t count, double dt)
{
    for (int64_t j = 0; j < count; j++) x[j] += (real)(dt / 2) * (v[j] + v_ahead[j]);
}
