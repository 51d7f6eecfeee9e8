#include "average/power.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* ---- lengths ---- */

/* Newton's method from above the largest root, where the cubic is convex: it comes down to it and never past it. */
double power_exponent(double length)
{
    const double s = 1 / (length * length);
    double g = 1 / length;
    for (double next;; g = next) {
        const double value = ((g + 7) * g + 16 - s) * g + 12 - s, slope = (3 * g + 14) * g + 16 - s;
        next = g - value / slope;
        if (!(next < g)) return g;
    }
}

/* 1 - (1 - 1/t)^(g+1), without the cancellation of late updates. */
double power_share(double exponent, int64_t update)
{
    return -expm1((exponent + 1) * log1p(-1 / (double)update));
}

/* Whether length i of the list stands before it too. */
static bool stands_twice(const double lengths[], int i)
{
    for (int k = 0; k < i; k++)
        if (fabs(lengths[k] - lengths[i]) < 1e-6) return true;
    return false;
}

static dt_status check_lengths(const double lengths[], int count, const char *text, dt_error *err)
{
    bool good = count >= 0;
    if (count > POWER_LENGTHS_MAX)
        return error_set(err, DT_ERR_ARG, "ema_power %.200s: more than %d lengths", text, POWER_LENGTHS_MAX);
    for (int i = 0; i < count; i++) good = good && lengths[i] >= POWER_LENGTH_MIN && lengths[i] <= POWER_LENGTH_MAX;
    if (!good)
        return error_set(err, DT_ERR_ARG, "ema_power %.200s: lengths from %g to %g expected, separated by commas", text,
                         POWER_LENGTH_MIN, POWER_LENGTH_MAX);
    for (int i = 0; i < count; i++)
        if (stands_twice(lengths, i))
            return error_set(err, DT_ERR_ARG, "ema_power %.200s: %g stands there twice", text, lengths[i]);
    return DT_OK;
}

dt_status power_lengths_read(double lengths[POWER_LENGTHS_MAX], int *count, const char *text, dt_error *err)
{
    *count = text_read_numbers(lengths, POWER_LENGTHS_MAX, text);
    if (check_lengths(lengths, *count, text, err) != DT_OK) *count = 0;
    return err->status;
}

void power_length_text(char text[POWER_TEXT_MAX], double length)
{
    snprintf(text, POWER_TEXT_MAX, "%.9g", length);
}

/* ---- least squares ---- */

typedef struct profile {
    double t, g;
} profile;

static profile profile_of(power_profile p)
{
    return (profile){(double)p.updates, power_exponent(p.length)};
}

/* The integral of the product of two profiles. */
static double product(profile a, profile b)
{
    const double power = pow(a.t / b.t, a.t < b.t ? b.g : -a.g);
    return (a.g + 1) * (b.g + 1) * power / ((a.g + b.g + 1) * fmax(a.t, b.t));
}

/* Gram-Schmidt over profiles of norm 1, by their products alone (Cholesky's decomposition with pivots: the one farthest from all
 * before it is next). Row i of l is profile i by the orthogonal ones. Not LAPACK's dpstrf: it shares out sums between threads, and a
 * model has the same bits for any number of them. */
typedef struct basis {
    int count, rank;
    double *l;    /* [count, count], of each row `rank` */
    double *left; /* [count] square of what of each profile the chosen ones lack */
    int *chosen;  /* [rank] */
} basis;

/* One that is nearer to the others than this (its square, of 1) would bring more rounding than news. */
static const double LACK_MIN = 1e-8;

static bool choose_next(basis *b, const profile p[], const double norm[])
{
    int best = 0;
    for (int i = 1; i < b->count; i++)
        if (b->left[i] > b->left[best]) best = i;
    if (b->left[best] < LACK_MIN) return false;
    const int k = b->rank++;
    const double *own = b->l + (size_t)best * (size_t)b->count;
    const double root = sqrt(b->left[best]);
    for (int i = 0; i < b->count; i++) {
        double *row = b->l + (size_t)i * (size_t)b->count, rest = product(p[i], p[best]) / (norm[i] * norm[best]);
        for (int j = 0; j < k; j++) rest -= row[j] * own[j];
        row[k] = i == best ? root : rest / root;
        b->left[i] -= row[k] * row[k];
    }
    b->left[best] = -1;
    b->chosen[k] = best;
    return true;
}

/* Shares of the chosen profiles: L L^T x = the products with the wanted one. */
static void solve_chosen(double share[], const basis *b, const profile p[], const double norm[], profile wanted)
{
    for (int k = 0; k < b->rank; k++) {
        const int i = b->chosen[k];
        const double *row = b->l + (size_t)i * (size_t)b->count;
        double rest = product(p[i], wanted) / norm[i];
        for (int j = 0; j < k; j++) rest -= row[j] * share[b->chosen[j]];
        share[i] = rest / row[k];
    }
    for (int k = b->rank; k-- > 0;) {
        const int i = b->chosen[k];
        double rest = share[i];
        for (int j = k + 1; j < b->rank; j++)
            rest -= b->l[(size_t)b->chosen[j] * (size_t)b->count + (size_t)k] * share[b->chosen[j]];
        share[i] = rest / b->l[(size_t)i * (size_t)b->count + (size_t)k];
    }
    for (int k = 0; k < b->rank; k++) share[b->chosen[k]] /= norm[b->chosen[k]];
}

static double distance(const double share[], const basis *b, const profile p[], profile wanted)
{
    const double whole = product(wanted, wanted);
    double sum = whole;
    for (int k = 0; k < b->rank; k++) {
        const int i = b->chosen[k];
        sum -= 2 * share[i] * product(p[i], wanted);
        for (int j = 0; j < b->rank; j++) sum += share[i] * share[b->chosen[j]] * product(p[i], p[b->chosen[j]]);
    }
    return sqrt(fmax(sum, 0) / whole);
}

dt_status power_solve(double share[], double *off, const power_profile stored[], int count, power_profile wanted,
                      dt_error *err)
{
    const size_t n = (size_t)count;
    const profile aim = profile_of(wanted);
    profile *p = calloc(n, sizeof *p);
    double *norm = calloc(n, sizeof *norm), sum = 0;
    basis b = {.count = count,
               .l = calloc(n * n, sizeof *b.l),
               .left = calloc(n, sizeof *b.left),
               .chosen = calloc(n, sizeof *b.chosen)};
    if (!p || !norm || !b.l || !b.left || !b.chosen) {
        error_set(err, DT_ERR_MEMORY, "no memory to mix %d averages", count);
    } else {
        for (int i = 0; i < count; i++) {
            p[i] = profile_of(stored[i]);
            norm[i] = sqrt(product(p[i], p[i]));
            b.left[i] = 1;
            share[i] = 0;
        }
        while (b.rank < count && choose_next(&b, p, norm)) continue;
        solve_chosen(share, &b, p, norm, aim);
        for (int i = 0; i < count; i++) sum += share[i];
        for (int i = 0; i < count; i++) share[i] /= sum;
        *off = distance(share, &b, p, aim);
    }
    free(p);
    free(norm);
    free(b.l);
    free(b.left);
    free(b.chosen);
    return err->status;
}
