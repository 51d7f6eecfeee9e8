/* What networks that stay frozen need beside the kernels of the trained ones: forward only, on images channels last. */
#include <string.h>

#include "cpu/kernel.h"
#include "cpu/vector.h"

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

/* Mean and factor of the channels of one group of one sample. */
static void group_moments(real *mean, real *factor, const real *x, const real *weight, group_sizes z, real epsilon)
{
    int64_t width = z.c / z.groups;
    double sum = 0, square = 0, count = (double)(z.s * width);
    for (int64_t c = 0; c < width; c += LINE) add_channels(&sum, &square, x + c, z, least(width - c, LINE));
    double mu = sum / count, variance = square / count - mu * mu;
    double rstd = 1 / sqrt((variance < 0 ? 0 : variance) + (double)epsilon);
    for (int64_t c = 0; c < width; c++) {
        mean[c] = (real)mu;
        factor[c] = (real)(rstd * (double)weight[c]);
    }
}

static void group_norm_fwd(real *y, real *mean, real *factor, const real *x, const real *weight, const real *bias,
                           group_sizes z, real epsilon)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < z.n * z.groups; i++) {
        int64_t n = i / z.groups, first = i % z.groups * (z.c / z.groups), at = n * z.c + first;
        group_moments(mean + at, factor + at, x + n * z.s * z.c + first, weight + first, z, epsilon);
    }
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < z.n * z.s; row++) {
        const real *m = mean + row / z.s * z.c, *a = factor + row / z.s * z.c, *from = x + row * z.c;
        real *to = y + row * z.c;
        for (int64_t c = 0; c < z.c; c++) to[c] = (from[c] - m[c]) * a[c] + bias[c];
    }
}

static void upsample_fwd(real *y, const real *x, int64_t n, int64_t h, int64_t w, int64_t c)
{
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < n * 2 * h; row++)
        for (int64_t column = 0; column < 2 * w; column++)
            memcpy(y + (row * 2 * w + column) * c, x + (row / 2 * w + column / 2) * c, (size_t)c * sizeof(real));
}

static void pad_end_fwd(real *y, const real *x, int64_t n, int64_t h, int64_t w, int64_t c)
{
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < n * (h + 1); row++) {
        int64_t image = row / (h + 1), line = row % (h + 1), kept = line < h ? w * c : 0;
        real *out = y + row * (w + 1) * c;
        if (kept) memcpy(out, x + (image * h + line) * w * c, (size_t)kept * sizeof(real));
        memset(out + kept, 0, (size_t)((w + 1) * c - kept) * sizeof(real));
    }
}

static void soft_clamp_fwd(real *y, const real *x, real limit, int64_t count)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) y[i] = limit * vector_tanh(x[i] / limit);
}

void CPU_FN(cpu_register_frozen)(engine *e)
{
    e->group_norm_fwd = group_norm_fwd;
    e->upsample_fwd = upsample_fwd;
    e->pad_end_fwd = pad_end_fwd;
    e->soft_clamp_fwd = soft_clamp_fwd;
}
