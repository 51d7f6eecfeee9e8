/* Group norm (Wu and He 2018) of images, channels last: a group is C/G neighbouring channels at all positions of a sample. */
#include "cpu/kernel.h"

enum { LINE = 16 }; /* channels summed side by side */

/* Adds the sums and sums of squares of `count` (at most LINE) channels over all positions. In double, so that one pass is
 * exact enough for means far from zero. */
static void add_channels(double *total, double *total_square, const real *x, group_sizes z, int64_t count)
{
    double sum[LINE] = {0}, square[LINE] = {0};
    for (int64_t i = 0; i < z.s; i++, x += z.c)
        for (int64_t c = 0; c < count; c++) {
            double value = (double)x[c];
            sum[c] += value;
            square[c] += value * value;
        }
    for (int64_t c = 0; c < count; c++) {
        *total += sum[c];
        *total_square += square[c];
    }
}

/* Mean, rstd and factor of the channels of one group of one sample. */
static void group_moments(real *mean, real *rstd, real *factor, const real *x, const real *weight, group_sizes z,
                          real epsilon)
{
    int64_t width = z.c / z.groups;
    double sum = 0, square = 0, count = (double)(z.s * width);
    for (int64_t c = 0; c < width; c += LINE) add_channels(&sum, &square, x + c, z, least(width - c, LINE));
    double mu = sum / count, variance = square / count - mu * mu;
    double scale = 1 / sqrt((variance < 0 ? 0 : variance) + (double)epsilon);
    for (int64_t c = 0; c < width; c++) {
        mean[c] = (real)mu;
        rstd[c] = (real)scale;
        factor[c] = (real)(scale * (double)weight[c]);
    }
}

static void group_norm_fwd(real *y, real *mean, real *rstd, real *factor, const real *x, const real *weight,
                           const real *bias, group_sizes z, real epsilon)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < z.n * z.groups; i++) {
        int64_t n = i / z.groups, first = i % z.groups * (z.c / z.groups), at = n * z.c + first;
        group_moments(mean + at, rstd + at, factor + at, x + n * z.s * z.c + first, weight + first, z, epsilon);
    }
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < z.n * z.s; row++) {
        const real *m = mean + row / z.s * z.c, *a = factor + row / z.s * z.c, *from = x + row * z.c;
        real *to = y + row * z.c;
        for (int64_t c = 0; c < z.c; c++) to[c] = (from[c] - m[c]) * a[c] + bias[c];
    }
}

/* sum and dot [count]: sums over all positions of dy and of dy xhat, of `count` (at most LINE) channels. */
static void sum_slopes(real *sum, real *dot, const real *dy, const real *x, const real *mean, const real *rstd,
                       group_sizes z, int64_t count)
{
    double sums[LINE] = {0}, dots[LINE] = {0};
    for (int64_t i = 0; i < z.s; i++, x += z.c, dy += z.c)
        for (int64_t c = 0; c < count; c++) {
            sums[c] += (double)dy[c];
            dots[c] += (double)(dy[c] * (x[c] - mean[c]) * rstd[c]);
        }
    for (int64_t c = 0; c < count; c++) {
        sum[c] = (real)sums[c];
        dot[c] = (real)dots[c];
    }
}

/* to[c] += the sum of from[n,c] over samples; nothing where `to` is NULL. */
static void add_samples(real *to, const real *from, group_sizes z)
{
    for (int64_t c = 0; to && c < z.c; c++) {
        double sum = 0;
        for (int64_t n = 0; n < z.n; n++) sum += (double)from[n * z.c + c];
        to[c] += (real)sum;
    }
}

/* The sums of the channels of a group become the group's means of g and g xhat. */
static void share_means(real *sum, real *dot, const real *weight, group_sizes z)
{
    int64_t width = z.c / z.groups;
    double g = 0, gx = 0, count = (double)(z.s * width);
    for (int64_t c = 0; c < width; c++) {
        g += (double)weight[c] * (double)sum[c];
        gx += (double)weight[c] * (double)dot[c];
    }
    for (int64_t c = 0; c < width; c++) {
        sum[c] = (real)(g / count);
        dot[c] = (real)(gx / count);
    }
}

/* With xhat = (x - mean) rstd and g = dy weight: dx = rstd (g - mean(g) - xhat mean(g xhat)), means over the group;
 * dweight = sum dy xhat, dbias = sum dy, over positions and samples. */
static void group_norm_bwd(real *dx, real *dweight, real *dbias, real *room, const real *dy, const real *x,
                           const real *mean, const real *rstd, const real *weight, group_sizes z)
{
    const int64_t lines = (z.c + LINE - 1) / LINE;
    real *sum = room, *dot = room + z.n * z.c;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < z.n * lines; i++) {
        int64_t n = i / lines, first = i % lines * LINE, at = n * z.c + first, in = n * z.s * z.c + first;
        sum_slopes(sum + at, dot + at, dy + in, x + in, mean + at, rstd + at, z, least(z.c - first, LINE));
    }
    add_samples(dweight, dot, z);
    add_samples(dbias, sum, z);
    if (!dx) return;
    for (int64_t i = 0; i < z.n * z.groups; i++) {
        int64_t first = i % z.groups * (z.c / z.groups), at = i / z.groups * z.c + first;
        share_means(sum + at, dot + at, weight + first, z);
    }
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < z.n * z.s; row++) {
        const int64_t at = row / z.s * z.c;
        const real *m = mean + at, *r = rstd + at, *g = sum + at, *gx = dot + at, *from = x + row * z.c;
        const real *up = dy + row * z.c;
        real *to = dx + row * z.c;
        for (int64_t c = 0; c < z.c; c++) to[c] += r[c] * (up[c] * weight[c] - g[c] - (from[c] - m[c]) * r[c] * gx[c]);
    }
}

void CPU_FN(cpu_register_group_norm)(engine *e)
{
    e->group_norm_fwd = group_norm_fwd;
    e->group_norm_bwd = group_norm_bwd;
}
