#include "diffusion/schedule.h"

#include <inttypes.h>
#include <math.h>

/* Everything that follows from beta[0..count). */
static void fill_tables(schedule *s)
{
    double abar = 1;
    for (int64_t i = 0; i < s->count; i++) {
        const double beta = s->beta[i], prev = abar;
        abar *= 1 - beta;
        s->abar[i] = abar;
        s->abar_prev[i] = prev;
        s->posterior_variance[i] = beta * (1 - prev) / (1 - abar);
        s->posterior_log_variance[i] = log(s->posterior_variance[i]);
        s->posterior_mean_x0[i] = beta * sqrt(prev) / (1 - abar);
        s->posterior_mean_xt[i] = (1 - prev) * sqrt(1 - beta) / (1 - abar);
    }
    /* Entry 0 is log 0. A single step has no entry 1; it adds no noise either, so any finite value serves. */
    s->posterior_log_variance[0] = s->count > 1 ? s->posterior_log_variance[1] : log(s->beta[0]);
    s->ddim_final_abar = 1;
}

/* `first` to `last`, both included. */
static void fill_evenly(double out[SCHEDULE_STEPS], double first, double last)
{
    const double stride = (last - first) / (SCHEDULE_STEPS - 1);
    for (int32_t t = 0; t < SCHEDULE_STEPS; t++) out[t] = first + t * stride;
    out[SCHEDULE_STEPS - 1] = last;
}

/* abar = (1 - n)^2 / (n^2 + (1 - n)^2); 0 at the last step, where nothing is left of x0. */
static void fill_straight(double beta[SCHEDULE_STEPS])
{
    double prev = 1;
    for (int32_t t = 0; t < SCHEDULE_STEPS; t++) {
        const double n = (t + 1.0) / SCHEDULE_STEPS, signal = (1 - n) * (1 - n), abar = signal / (n * n + signal);
        beta[t] = 1 - abar / prev;
        prev = abar;
    }
}

static void fill_betas(double beta[SCHEDULE_STEPS], noise_law noise)
{
    switch (noise) {
    case NOISE_LINEAR: fill_evenly(beta, 1e-4, 0.02); break;
    case NOISE_SCALED_LINEAR:
        fill_evenly(beta, sqrt(0.00085), sqrt(0.012));
        for (int32_t t = 0; t < SCHEDULE_STEPS; t++) beta[t] *= beta[t];
        break;
    case NOISE_STRAIGHT: fill_straight(beta); break;
    }
}

void schedule_full(schedule *s, noise_law noise)
{
    s->count = SCHEDULE_STEPS;
    for (int32_t t = 0; t < SCHEDULE_STEPS; t++) s->original[t] = t;
    fill_betas(s->beta, noise);
    fill_tables(s);
}

static int64_t ddim_count(int64_t stride)
{
    return (SCHEDULE_STEPS + stride - 1) / stride;
}

static dt_status keep_ddim(int32_t kept[], int64_t count, dt_error *err)
{
    int64_t stride = 1;
    while (stride < SCHEDULE_STEPS - 1 && ddim_count(stride) > count) stride++;
    if (ddim_count(stride) > count)
        return error_set(err, DT_ERR_ARG, "ddim spacing: no stride gives %" PRId64 " steps, the fewest are %" PRId64,
                         count, ddim_count(stride));
    if (ddim_count(stride) < count)
        return error_set(err, DT_ERR_ARG,
                         "ddim spacing: no stride gives %" PRId64 " steps, the nearest are %" PRId64 " and %" PRId64,
                         count, ddim_count(stride), ddim_count(stride - 1));
    for (int64_t i = 0; i < count; i++) kept[i] = (int32_t)(i * stride);
    return DT_OK;
}

/* The position is summed up, not multiplied: so does the official code, and ties depend on it. rint rounds half to even
 * in the rounding mode every program starts with. */
static void keep_sections(int32_t kept[], int64_t count)
{
    const double stride = count > 1 ? (SCHEDULE_STEPS - 1) / (double)(count - 1) : 1;
    double position = 0;
    for (int64_t i = 0; i < count; i++) {
        kept[i] = (int32_t)rint(position);
        position += stride;
    }
}

/* `above`: so many of the cleanest steps are laid and left out. */
static dt_status keep_leading(int32_t kept[], int64_t count, int64_t above, dt_error *err)
{
    const int64_t stride = SCHEDULE_STEPS / (count + above), last = (count + above - 1) * stride + 1;
    if (last >= SCHEDULE_STEPS)
        return error_set(err, DT_ERR_ARG, "leading spacing: expected 1 to %d steps, found %" PRId64,
                         SCHEDULE_STEPS - 1 - (int)above, count);
    for (int64_t i = 0; i < count; i++) kept[i] = (int32_t)((i + above) * stride + 1);
    return DT_OK;
}

/* Without `above` the steps are what is nearest to fractions: see move_between. */
static dt_status keep_linspace(int32_t kept[], int64_t count, int64_t above, dt_error *err)
{
    const int64_t strides = count + above - 1;
    if (strides < 1 || strides >= SCHEDULE_STEPS)
        return error_set(err, DT_ERR_ARG, "linspace spacing: expected %d to %d steps of this sampler, found %" PRId64,
                         2 - (int)above, SCHEDULE_STEPS - (int)above, count);
    const double stride = (SCHEDULE_STEPS - 1) / (double)strides;
    for (int64_t i = 0; i < count; i++) kept[i] = (int32_t)rint((double)(i + above) * stride);
    return DT_OK;
}

/* numpy's arange goes on by the difference of its first two values, which differs from the stride by rounding; ties depend on
 * it. */
static void keep_trailing(int32_t kept[], int64_t count)
{
    const double start = SCHEDULE_STEPS, stride = (start - SCHEDULE_STEPS / (double)count) - start;
    for (int64_t i = 0; i < count; i++) kept[count - 1 - i] = (int32_t)rint(start + (double)i * stride) - 1;
}

static dt_status keep(int32_t kept[], dt_spacing spacing, int64_t count, int64_t above, dt_error *err)
{
    if (count < 1 || count > SCHEDULE_STEPS)
        return error_set(err, DT_ERR_ARG, "sampling steps: expected 1 to %d, found %" PRId64, SCHEDULE_STEPS, count);
    switch (spacing) {
    case DT_SPACING_DDIM: return keep_ddim(kept, count, err);
    case DT_SPACING_SECTIONS: keep_sections(kept, count); return DT_OK;
    case DT_SPACING_LEADING: return keep_leading(kept, count, above, err);
    case DT_SPACING_LINSPACE: return keep_linspace(kept, count, above, err);
    case DT_SPACING_TRAILING: keep_trailing(kept, count); return DT_OK;
    case DT_SPACING_KARRAS: return DT_OK; /* from levels to steps: see move_karras */
    case DT_SPACING_AUTO: break;
    }
    return error_set(
        err, DT_ERR_ARG,
        "timestep spacing: expected ddim, sections, leading, linspace, trailing or karras, found number %d",
        (int)spacing);
}

/* ---- levels between the steps: abar[count] of `count` kept ones, from full[1000]; sigma' = sqrt((1 - abar) / abar) ---- */

static double sigma_of(double abar)
{
    return sqrt((1 - abar) / abar);
}

static double abar_of(double sigma)
{
    return 1 / (1 + sigma * sigma);
}

/* diffusers, EulerDiscreteScheduler.set_timesteps: np.interp of sigma' at fractions of a step. */
static void move_between(double abar[], int64_t count, const double full[])
{
    const double stride = (SCHEDULE_STEPS - 1) / (double)(count - 1);
    for (int64_t i = 0; i < count - 1; i++) {
        const double at = (double)i * stride, low = floor(at);
        const double below = sigma_of(full[(int)low]), above = sigma_of(full[(int)low + 1]);
        abar[i] = abar_of(below + (at - low) * (above - below));
    }
}

/* diffusers, _sigma_to_t: the place of a sigma' among the steps, by its log. */
static int32_t nearest_step(double sigma, const double full[])
{
    int low = SCHEDULE_STEPS - 2;
    while (low > 0 && sigma_of(full[low]) > sigma) low--;
    const double below = log(sigma_of(full[low])), above = log(sigma_of(full[low + 1]));
    const double share = fmin(fmax((log(sigma) - below) / (above - below), 0), 1);
    return (int32_t)rint(low + share);
}

/* diffusers, _convert_to_karras. */
static void move_karras(int32_t kept[], double abar[], int64_t count, const double full[])
{
    enum { RHO = 7 };
    const double noisy = pow(sigma_of(full[SCHEDULE_STEPS - 1]), 1.0 / RHO), clean = pow(sigma_of(full[0]), 1.0 / RHO);
    for (int64_t i = 0; i < count; i++) {
        const double done = count > 1 ? (double)(count - 1 - i) / (double)(count - 1) : 0;
        const double sigma = pow(noisy + done * (clean - noisy), RHO);
        kept[i] = nearest_step(sigma, full);
        abar[i] = abar_of(sigma);
    }
}

static dt_status respace(schedule *s, noise_law noise, dt_spacing spacing, int64_t count, int64_t above, dt_error *err)
{
    int32_t kept[SCHEDULE_STEPS];
    double abar[SCHEDULE_STEPS];
    const dt_status status = keep(kept, spacing, count, above, err);
    if (status != DT_OK) return status;

    schedule_full(s, noise);
    if (spacing == DT_SPACING_KARRAS)
        move_karras(kept, abar, count, s->abar);
    else
        for (int64_t i = 0; i < count; i++) abar[i] = s->abar[kept[i]];
    if (spacing == DT_SPACING_LINSPACE && above == 0) move_between(abar, count, s->abar);
    const double abar_at_zero = s->abar[0];
    double prev = 1;
    s->count = count;
    for (int64_t i = 0; i < count; i++) {
        s->original[i] = kept[i];
        s->beta[i] = 1 - abar[i] / prev;
        prev = abar[i];
    }
    fill_tables(s);
    if (spacing == DT_SPACING_LEADING) s->ddim_final_abar = abar_at_zero;
    return DT_OK;
}

dt_status schedule_respaced(schedule *s, noise_law noise, dt_spacing spacing, int64_t count, dt_error *err)
{
    return respace(s, noise, spacing, count, 0, err);
}

dt_status schedule_respaced_multistep(schedule *s, noise_law noise, dt_spacing spacing, int64_t count, dt_error *err)
{
    return respace(s, noise, spacing, count, 1, err);
}

noise_level schedule_level(const schedule *s, int64_t i)
{
    const double abar = i < 0 ? 1 : s->abar[i], alpha = sqrt(abar);
    return (noise_level){.alpha = alpha, .sigma = sqrt(1 - abar), .scale = alpha};
}

static double sqrt_recip_abar(const schedule *s, int64_t i)
{
    return sqrt(1 / s->abar[i]);
}

static double sqrt_recipm1_abar(const schedule *s, int64_t i)
{
    return sqrt(1 / s->abar[i] - 1);
}

loss_coefficients schedule_loss_coefficients(const schedule *s, int64_t i)
{
    return (loss_coefficients){
        .sqrt_recip_abar = (real)sqrt_recip_abar(s, i),
        .sqrt_recipm1_abar = (real)sqrt_recipm1_abar(s, i),
        .posterior_mean_x0 = (real)s->posterior_mean_x0[i],
        .posterior_mean_xt = (real)s->posterior_mean_xt[i],
        .posterior_log_variance = (real)s->posterior_log_variance[i],
        .log_beta = (real)log(s->beta[i]),
        .at_zero = i == 0,
    };
}

void schedule_add_noise(real *xt, const real *x0, const real *noise, int64_t count, const schedule *s, int64_t i)
{
    const real signal = (real)sqrt(s->abar[i]), sigma = (real)sqrt(1 - s->abar[i]);
    for (int64_t j = 0; j < count; j++) xt[j] = signal * x0[j] + sigma * noise[j];
}

void schedule_velocity(real *target, const real *x0, const real *noise, int64_t count, const schedule *s, int64_t i)
{
    const real signal = (real)sqrt(s->abar[i]), sigma = (real)sqrt(1 - s->abar[i]);
    for (int64_t j = 0; j < count; j++) target[j] = signal * noise[j] - sigma * x0[j];
}

void schedule_noise_of_velocity(real *v, const real *xt, int64_t count, const schedule *s, int64_t i)
{
    const real signal = (real)sqrt(s->abar[i]), sigma = (real)sqrt(1 - s->abar[i]);
    for (int64_t j = 0; j < count; j++) v[j] = signal * v[j] + sigma * xt[j];
}

void schedule_x0(real *x0, const real *eps, const real *x, int64_t count, const schedule *s, int64_t i)
{
    const real a = (real)sqrt_recip_abar(s, i), b = (real)sqrt_recipm1_abar(s, i);
    for (int64_t j = 0; j < count; j++) x0[j] = a * x[j] - b * eps[j];
}

/* The official code derives the noise again from the predicted x0, for the sake of clipped predictions. Nothing is
 * clipped here, so the predicted noise is that noise. */
void schedule_clip_x0(real *eps, const real *x, int64_t count, const schedule *s, int64_t i)
{
    const real a = (real)sqrt_recip_abar(s, i), b = (real)sqrt_recipm1_abar(s, i);
    for (int64_t j = 0; j < count; j++) {
        const real x0 = a * x[j] - b * eps[j];
        if (x0 > 1) eps[j] = (a * x[j] - 1) / b;
        if (x0 < -1) eps[j] = (a * x[j] + 1) / b;
    }
}

static double ddim_prev(const schedule *s, int64_t i)
{
    return i > 0 ? s->abar_prev[i] : s->ddim_final_abar;
}

/* 0 where the step ends at abar 1: without noise is without noise. */
double schedule_ddim_sigma(const schedule *s, int64_t i, double eta)
{
    const double abar = s->abar[i], prev = ddim_prev(s, i);
    return eta * sqrt((1 - prev) / (1 - abar)) * sqrt(1 - abar / prev);
}

void schedule_ddim_step(real *out, const real *x, const real *eps, const real *noise, int64_t count, const schedule *s,
                        int64_t i, double eta)
{
    const double prev = ddim_prev(s, i), sigma = schedule_ddim_sigma(s, i, eta);
    const real a = (real)sqrt_recip_abar(s, i), b = (real)sqrt_recipm1_abar(s, i);
    const real to_x0 = (real)sqrt(prev), to_eps = (real)sqrt(fmax(0, 1 - prev - sigma * sigma));
    for (int64_t j = 0; j < count; j++) out[j] = to_x0 * (a * x[j] - b * eps[j]) + to_eps * eps[j];
    if (sigma > 0)
        for (int64_t j = 0; j < count; j++) out[j] += (real)sigma * noise[j];
}

void schedule_ancestral_step(real *out, const real *x, const real *eps, const real *v, const real *noise, int64_t count,
                             const schedule *s, int64_t i)
{
    const real a = (real)sqrt_recip_abar(s, i), b = (real)sqrt_recipm1_abar(s, i);
    const real to_x0 = (real)s->posterior_mean_x0[i], to_x = (real)s->posterior_mean_xt[i];
    for (int64_t j = 0; j < count; j++) out[j] = to_x0 * (a * x[j] - b * eps[j]) + to_x * x[j];
    if (i == 0) return;

    const double low = s->posterior_log_variance[i], high = log(s->beta[i]);
    for (int64_t j = 0; j < count; j++) {
        const double share = v ? ((double)v[j] + 1) / 2 : 1;
        out[j] += (real)exp(0.5 * (share * high + (1 - share) * low)) * noise[j];
    }
}
