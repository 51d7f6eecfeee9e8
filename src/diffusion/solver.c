#include "diffusion/solver.h"

#include <math.h>
#include <string.h>

#include "diffusion/flow.h"

/* Half the log of the signal-to-noise ratio. */
static double lambda_of(noise_level at)
{
    return log(at.alpha / at.sigma);
}

enum { X0 }; /* the row that is filled for every call */

/* Row r of what is kept. */
static real *kept_row(const solver_step *s, int r)
{
    return s->kept + r * s->count;
}

/* ---- DDIM and ancestral sampling ---- */

static void step_ddim(const solver_step *s)
{
    schedule_ddim_step(s->x, s->x, s->eps, s->noise, s->count, s->schedule, s->i, s->eta);
}

static bool ddim_adds_noise(const schedule *s, int64_t i, double eta)
{
    return schedule_ddim_sigma(s, i, eta) > 0;
}

static void step_ancestral(const solver_step *s)
{
    schedule_ancestral_step(s->x, s->x, s->eps, s->v, s->noise, s->count, s->schedule, s->i);
}

static bool ancestral_adds_noise(const schedule *s, int64_t i, double eta)
{
    (void)s;
    (void)eta;
    return i > 0;
}

/* ---- Euler and Heun ----
 *
 * Euler: what is predicted stands still,  x' = alpha' x0 + sigma' eps.
 * Heun:  its mean over both ends does, the second being asked at Euler's x'. With s the scale of a level
 *     x'/s' = x/s + (alpha'/s' - alpha/s) mean x0 + (sigma'/s' - sigma/s) mean eps
 * where s = alpha leaves (sigma'/alpha' - sigma/alpha) mean eps. */

static void step_euler(const solver_step *s)
{
    const noise_level to = schedule_level(s->schedule, s->i - 1);
    const real *x0 = kept_row(s, X0), to_x0 = (real)to.alpha, to_eps = (real)to.sigma;
    for (int64_t j = 0; j < s->count; j++) s->x[j] = to_x0 * x0[j] + to_eps * s->eps[j];
}

enum { HEUN_X = X0 + 1, HEUN_X0, HEUN_EPS, HEUN_ROWS }; /* of level i */

static void step_heun(const solver_step *s)
{
    const size_t bytes = (size_t)s->count * sizeof *s->x;
    memcpy(kept_row(s, HEUN_X), s->x, bytes);
    memcpy(kept_row(s, HEUN_X0), kept_row(s, X0), bytes);
    memcpy(kept_row(s, HEUN_EPS), s->eps, bytes);
    step_euler(s);
}

static void correct_heun(const solver_step *s)
{
    const noise_level from = schedule_level(s->schedule, s->i), to = schedule_level(s->schedule, s->i - 1);
    const double ratio = to.scale / from.scale;
    const real keep = (real)ratio, by_x0 = (real)((to.alpha - from.alpha * ratio) / 2);
    const real by_eps = (real)((to.sigma - from.sigma * ratio) / 2);
    const real *x = kept_row(s, HEUN_X), *x0 = kept_row(s, HEUN_X0), *eps = kept_row(s, HEUN_EPS);
    const real *x0_ahead = kept_row(s, X0);
    for (int64_t j = 0; j < s->count; j++)
        s->x[j] = keep * x[j] + by_x0 * (x0[j] + x0_ahead[j]) + by_eps * (eps[j] + s->eps[j]);
}

/* ---- DPM-Solver++(2M) ----
 *
 * x' = (sigma'/sigma) x - alpha' (e^-h - 1) D          h = lambda' - lambda
 * D  = m0 + (m0 - m1) h / (2 h1)                       m0, m1: x0 as predicted at this level and the one before; h1 between these
 * Order 1: D = m0. It starts the way, and ends it: where sigma' is 0 no lambda is left and x' = m0.
 * e^-h = (alpha / sigma) (sigma' / alpha'), so that alpha' (e^-h - 1) = alpha sigma'/sigma - alpha'. */

static void step_2m(const solver_step *s, const real *m0, const real *m1, int order)
{
    const noise_level from = schedule_level(s->schedule, s->i), to = schedule_level(s->schedule, s->i - 1);
    const double ratio = to.sigma / from.sigma;
    const real keep = (real)ratio, by_x0 = (real)(to.alpha - from.alpha * ratio);
    real ahead = 0;
    if (order == 2) {
        const double h = lambda_of(to) - lambda_of(from);
        const double before = lambda_of(from) - lambda_of(schedule_level(s->schedule, s->i + 1));
        ahead = (real)(h / (2 * before));
    }
    for (int64_t j = 0; j < s->count; j++) {
        const real d = order == 2 ? m0[j] + ahead * (m0[j] - m1[j]) : m0[j];
        s->x[j] = keep * s->x[j] + by_x0 * d;
    }
}

/* 1 in the first and in the last step. */
static int order_of(const schedule *s, int64_t i)
{
    return i == s->count - 1 || i == 0 ? 1 : 2;
}

enum { DPM_X0_BEFORE = X0 + 1, DPM_ROWS }; /* of the level before */

static void step_dpm(const solver_step *s)
{
    const real *m0 = kept_row(s, X0);
    real *m1 = kept_row(s, DPM_X0_BEFORE);
    step_2m(s, m0, m1, order_of(s->schedule, s->i));
    memcpy(m1, m0, (size_t)s->count * sizeof *m0);
}

/* ---- UniPC ----
 *
 * The predictor is step_2m. When the network has answered at the level it leads to, the corrector moves x there once more, at no
 * evaluation, and only then the next step starts; the prediction m of x0 stays that at the uncorrected x. From level s to t,
 * with h = lambda_t - lambda_s, q = -h, B = e^q - 1:
 *
 * x_t = (sigma_t/sigma_s) x_s - alpha_t B m_s - alpha_t B (rho_0 (m_r - m_s) / r + rho_1 (m_t - m_s))
 *
 * Order 1: rho_0 = 0, rho_1 = 1/2. Order 2: r = (lambda_r - lambda_s) / h, r the level before s, and
 *     rho_0 +   rho_1 = b_1 = phi_1 / B             phi_1 = B / q - 1
 *   r rho_0 +   rho_1 = b_2 = 2 phi_2 / B           phi_2 = phi_1 / q - 1/2
 * The order is that of the predictor which led to t. */

enum { UNIPC_X = X0 + 1, UNIPC_X0_BEFORE, UNIPC_X0_BEFORE_THAT, UNIPC_ROWS }; /* of the one, two levels before */

static void correct_unipc(const solver_step *s)
{
    const schedule *k = s->schedule;
    const noise_level t = schedule_level(k, s->i), from = schedule_level(k, s->i + 1);
    const real *m_t = kept_row(s, X0), *x = kept_row(s, UNIPC_X);
    const real *m_s = kept_row(s, UNIPC_X0_BEFORE), *m_r = kept_row(s, UNIPC_X0_BEFORE_THAT);
    const double h = lambda_of(t) - lambda_of(from), q = -h, b = expm1(q);
    double rho_0 = 0, rho_1 = 0.5, r = 1;
    const bool second = order_of(k, s->i + 1) == 2;
    if (second) {
        const double phi_1 = b / q - 1, phi_2 = phi_1 / q - 0.5;
        r = (lambda_of(schedule_level(k, s->i + 2)) - lambda_of(from)) / h;
        rho_0 = (phi_1 - 2 * phi_2) / b / (1 - r);
        rho_1 = phi_1 / b - rho_0;
    }
    const real keep = (real)(t.sigma / from.sigma), by_x0 = (real)(-t.alpha * b);
    const real by_before = (real)(-t.alpha * b * rho_0 / r), by_now = (real)(-t.alpha * b * rho_1);
    for (int64_t j = 0; j < s->count; j++) {
        const real moved = keep * x[j] + by_x0 * m_s[j] + by_now * (m_t[j] - m_s[j]);
        s->x[j] = second ? moved + by_before * (m_r[j] - m_s[j]) : moved;
    }
}

static void step_unipc(const solver_step *s)
{
    const size_t bytes = (size_t)s->count * sizeof *s->x;
    const real *m0 = kept_row(s, X0);
    real *m1 = kept_row(s, UNIPC_X0_BEFORE);
    if (s->i < s->schedule->count - 1) correct_unipc(s);
    memcpy(kept_row(s, UNIPC_X), s->x, bytes);
    step_2m(s, m0, m1, order_of(s->schedule, s->i));
    memcpy(kept_row(s, UNIPC_X0_BEFORE_THAT), m1, bytes);
    memcpy(m1, m0, bytes);
}

/* ---- along a flow ----
 *
 * Euler: x' = x + h v. Heun: x' = x + h (v + v') / 2, v' being the velocity at the end of Euler's step. */

static double flow_step_length(const solver_step *s)
{
    const int64_t steps = s->schedule->count;
    return flow_step_time(steps, s->i) - flow_step_time(steps, s->i + 1);
}

static void step_flow_euler(const solver_step *s)
{
    flow_step(s->x, s->x, s->eps, s->count, flow_step_length(s));
}

enum { FLOW_X, FLOW_V, FLOW_ROWS }; /* of level i */

static void step_flow_heun(const solver_step *s)
{
    const size_t bytes = (size_t)s->count * sizeof *s->x;
    memcpy(kept_row(s, FLOW_X), s->x, bytes);
    memcpy(kept_row(s, FLOW_V), s->eps, bytes);
    step_flow_euler(s);
}

static void correct_flow_heun(const solver_step *s)
{
    memcpy(s->x, kept_row(s, FLOW_X), (size_t)s->count * sizeof *s->x);
    flow_step_heun(s->x, kept_row(s, FLOW_V), s->eps, s->count, flow_step_length(s));
}

/* ---- the tables ---- */

static const solver solvers[] = {
    [DT_SAMPLER_DDIM] = {.spacing = DT_SPACING_SECTIONS, .step = step_ddim, .adds_noise = ddim_adds_noise},
    [DT_SAMPLER_DDPM] = {.spacing = DT_SPACING_SECTIONS, .step = step_ancestral, .adds_noise = ancestral_adds_noise},
    [DT_SAMPLER_DPM_2M] = {.spacing = DT_SPACING_LINSPACE, .multistep = true, .kept = DPM_ROWS, .step = step_dpm},
    [DT_SAMPLER_UNIPC] = {.spacing = DT_SPACING_LINSPACE, .multistep = true, .kept = UNIPC_ROWS, .step = step_unipc},
    [DT_SAMPLER_HEUN] = {.spacing = DT_SPACING_LINSPACE, .kept = HEUN_ROWS, .step = step_heun, .correct = correct_heun},
    [DT_SAMPLER_EULER] = {.spacing = DT_SPACING_LINSPACE, .kept = X0 + 1, .step = step_euler},
};

static const solver flow_solvers[] = {
    [DT_SAMPLER_HEUN] = {.kept = FLOW_ROWS, .step = step_flow_heun, .correct = correct_flow_heun, .to_end = true},
    [DT_SAMPLER_EULER] = {.step = step_flow_euler},
};

const solver *solver_of(dt_sampler kind, noise_law noise)
{
    return noise == NOISE_STRAIGHT ? &flow_solvers[kind] : &solvers[kind];
}

dt_spacing solver_spacing(dt_sampler kind, dt_spacing asked)
{
    return asked == DT_SPACING_AUTO ? solvers[kind].spacing : asked;
}

dt_status solver_schedule(schedule *s, dt_sampler kind, noise_law noise, dt_spacing asked, int64_t count, dt_error *err)
{
    const dt_spacing spacing = solver_spacing(kind, asked);
    return solvers[kind].multistep ? schedule_respaced_multistep(s, noise, spacing, count, err)
                                   : schedule_respaced(s, noise, spacing, count, err);
}
