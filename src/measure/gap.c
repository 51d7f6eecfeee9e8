#include "measure/gap.h"

#include <math.h>

#include "base/student.h"

/* ---- sums over pairs ---- */

/* What is estimated, as a mean over pairs. */
typedef struct estimate {
    int64_t count;
    double value, squares; /* squares: of the pairs' shares around it, summed */
} estimate;

static double half_width(const estimate *e)
{
    if (e->count < 2) return (double)INFINITY;
    const double n = (double)e->count;
    return student_95(e->count - 1) * sqrt(e->squares / (n - 1) / n);
}

static gap_interval plain_interval(const estimate *e)
{
    const double half = half_width(e);
    return (gap_interval){e->value, e->value - half, e->value + half};
}

static gap_interval ratio_interval(const estimate *e)
{
    const double half = half_width(e);
    return (gap_interval){expm1(e->value), expm1(e->value - half), expm1(e->value + half)};
}

/* What pair i adds to the log ratio of a band. */
static double share(const gap *g, const real *a, const real *b, int64_t i, int band)
{
    return (double)a[i * GAP_BANDS + band] / g->a[band] - (double)b[i * GAP_BANDS + band] / g->b[band];
}

/* sum over bands of weight * log ratio */
static estimate log_ratio(const gap *g, const real *a, const real *b, const double weight[GAP_BANDS])
{
    estimate e = {.count = g->pictures};
    for (int k = 0; k < GAP_BANDS; k++) e.value += weight[k] == 0 ? 0 : weight[k] * log(g->a[k] / g->b[k]);
    for (int64_t i = 0; i < g->pictures; i++) {
        double sum = 0;
        for (int k = 0; k < GAP_BANDS; k++) sum += weight[k] == 0 ? 0 : weight[k] * share(g, a, b, i, k);
        e.squares += sum * sum;
    }
    return e;
}

static estimate difference(const gap *g, const real *a, const real *b, int band)
{
    estimate e = {.count = g->pictures, .value = g->a[band] - g->b[band]};
    for (int64_t i = 0; i < g->pictures; i++) {
        const double d = (double)a[i * GAP_BANDS + band] - (double)b[i * GAP_BANDS + band] - e.value;
        e.squares += d * d;
    }
    return e;
}

/* ---- the whole ---- */

static void means(double mean[GAP_BANDS], const real *x, int64_t pictures)
{
    for (int k = 0; k < GAP_BANDS; k++) {
        double sum = 0;
        for (int64_t i = 0; i < pictures; i++) sum += (double)x[i * GAP_BANDS + k];
        mean[k] = sum / (double)pictures;
    }
}

/* Mean over the bands [first, end), less that over [less_first, less_end) where there are any. */
static gap_interval over(const gap *g, const real *a, const real *b, int first, int end, int less_first, int less_end)
{
    double weight[GAP_BANDS];
    for (int k = 0; k < GAP_BANDS; k++) {
        weight[k] = k >= first && k < end ? 1.0 / (end - first) : 0;
        if (k >= less_first && k < less_end) weight[k] -= 1.0 / (less_end - less_first);
    }
    const estimate e = log_ratio(g, a, b, weight);
    return ratio_interval(&e);
}

void gap_measure(gap *g, const real *a, const real *b, int64_t pictures)
{
    *g = (gap){.pictures = pictures};
    means(g->a, a, pictures);
    means(g->b, b, pictures);
    for (int k = 0; k < GAP_BANDS; k++) {
        const estimate d = difference(g, a, b, k);
        g->absolute[k] = plain_interval(&d);
        g->relative[k] = over(g, a, b, k, k + 1, 0, 0);
    }
    g->whole = over(g, a, b, 0, GAP_BANDS, 0, 0);
    g->clean = over(g, a, b, 0, GAP_CLEAN_BANDS, 0, 0);
    g->noisy = over(g, a, b, GAP_NOISY_FIRST, GAP_BANDS, 0, 0);
    g->rise = over(g, a, b, GAP_NOISY_FIRST, GAP_BANDS, 0, GAP_CLEAN_BANDS);
}
