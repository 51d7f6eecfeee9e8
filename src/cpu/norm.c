/* Layer norm with adaptive modulation, and the gated residual: the two shapes adaLN-Zero gives to a residual branch
 * (Peebles and Xie 2023, figure 3; facebookresearch/DiT models.py). */
#include "cpu/kernel.h"

/* mean and 1/sqrt(variance + epsilon) of one row, in two passes: exact for rows far from zero. */
static void row_moments(real *mean, real *rstd, const real *x, int64_t d, real epsilon)
{
    real sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < d; i++) sum += x[i];
    real mu = sum / (real)d;
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < d; i++) square += (x[i] - mu) * (x[i] - mu);
    *mean = mu;
    *rstd = 1 / (real)sqrt(square / (real)d + epsilon);
}

static void norm_modulate_fwd(real *y, real *mean, real *rstd, const real *x, const real *m, modulation_sizes z,
                              int64_t shift, int64_t scale, real epsilon, int flags)
{
    (void)flags;
#pragma omp parallel for schedule(static)
    for (int64_t token = 0; token < z.n * z.s; token++) {
        const real *row = x + token * z.d, *mod = m + token / z.s * z.stride;
        const real *b = mod + shift * z.d, *a = mod + scale * z.d;
        real *out = y + token * z.d;
        row_moments(&mean[token], &rstd[token], row, z.d, epsilon);
        real mu = mean[token], r = rstd[token];
        for (int64_t i = 0; i < z.d; i++) out[i] = (row[i] - mu) * r * (1 + a[i]) + b[i];
    }
}

/* With xhat = (x - mean) rstd and g = dy (1 + scale):
 * dx = rstd (g - mean(g) - xhat mean(g xhat)), dscale = sum_s dy xhat, dshift = sum_s dy. */
static void norm_row_bwd(real *dx, const real *dy, const real *row, const real *a, real mu, real r, int64_t d)
{
    real sum_g = 0, sum_gx = 0;
#pragma omp simd reduction(+ : sum_g, sum_gx)
    for (int64_t i = 0; i < d; i++) {
        real g = dy[i] * (1 + a[i]);
        sum_g += g;
        sum_gx += g * (row[i] - mu) * r;
    }
    sum_g /= (real)d;
    sum_gx /= (real)d;
    for (int64_t i = 0; i < d; i++) dx[i] += r * (dy[i] * (1 + a[i]) - sum_g - (row[i] - mu) * r * sum_gx);
}

static void norm_modulate_bwd(real *dx, real *dm, const real *dy, const real *x, const real *mean, const real *rstd,
                              const real *m, modulation_sizes z, int64_t shift, int64_t scale, int flags)
{
    (void)flags;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < z.n; n++) {
        const real *a = m + n * z.stride + scale * z.d;
        real *db = dm ? dm + n * z.stride + shift * z.d : 0, *da = dm ? dm + n * z.stride + scale * z.d : 0;
        for (int64_t token = n * z.s; token < (n + 1) * z.s; token++) {
            const real *row = x + token * z.d, *g = dy + token * z.d;
            real mu = mean[token], r = rstd[token];
            if (dx) norm_row_bwd(dx + token * z.d, g, row, a, mu, r, z.d);
            if (!dm) continue;
            for (int64_t i = 0; i < z.d; i++) {
                db[i] += g[i];
                da[i] += g[i] * (row[i] - mu) * r;
            }
        }
    }
}

static void gated_add_fwd(real *y, const real *x, const real *h, const real *m, modulation_sizes z, int64_t gate,
                          int flags)
{
    (void)flags;
#pragma omp parallel for schedule(static)
    for (int64_t token = 0; token < z.n * z.s; token++) {
        const real *g = m + token / z.s * z.stride + gate * z.d;
        for (int64_t i = token * z.d, j = 0; j < z.d; i++, j++) y[i] = x[i] + g[j] * h[i];
    }
}

static void gated_add_bwd(real *dh, real *dm, const real *dy, const real *h, const real *m, modulation_sizes z,
                          int64_t gate, bool add, int flags)
{
    (void)flags;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < z.n; n++) {
        const real *g = m + n * z.stride + gate * z.d;
        real *dg = dm ? dm + n * z.stride + gate * z.d : 0;
        for (int64_t token = n * z.s; token < (n + 1) * z.s; token++) {
            const real *up = dy + token * z.d, *branch = h + token * z.d;
            real *to_h = dh ? dh + token * z.d : 0;
            for (int64_t i = 0; to_h && i < z.d; i++) to_h[i] = add ? to_h[i] + up[i] * g[i] : up[i] * g[i];
            for (int64_t i = 0; dg && i < z.d; i++) dg[i] += up[i] * branch[i];
        }
    }
}

void CPU_FN(cpu_register_norm)(engine *e)
{
    e->norm_modulate_fwd = norm_modulate_fwd;
    e->norm_modulate_bwd = norm_modulate_bwd;
    e->gated_add_fwd = gated_add_fwd;
    e->gated_add_bwd = gated_add_bwd;
}
