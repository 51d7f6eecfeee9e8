#include "eval/frechet.h"

#include <float.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* S = sum over k of value[k] v_k v_k^T, only the terms that are more than rounding, each v_k times sqrt(value[k]). */
typedef struct factor {
    double *all;           /* owned: [D,D] of LAPACK, one eigenvector per row, ascending */
    double *value;         /* owned: [D] */
    const double *vectors; /* [rank,D], inside `all` */
    int64_t rank;
} factor;

static void factor_close(factor *f)
{
    free(f->all);
    free(f->value);
}

static dt_status factor_open(factor *f, const double *covariance, int64_t dim, dt_error *err)
{
    *f = (factor){.all = malloc((size_t)(dim * dim) * sizeof(double)), .value = malloc((size_t)dim * sizeof(double))};
    if (!f->all || !f->value) return error_set(err, DT_ERR_MEMORY, "Frechet distance: no memory");
    memcpy(f->all, covariance, (size_t)(dim * dim) * sizeof(double));
    lapack_int n = (lapack_int)dim;
    if (LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'L', n, f->all, n, f->value) != 0)
        return error_set(err, DT_ERR_NUMERIC, "Frechet distance: the eigenvalues of a covariance do not converge");
    double least = (double)dim * DBL_EPSILON * f->value[dim - 1];
    int64_t first = 0;
    while (first < dim && !(f->value[first] > least)) first++;
    for (int64_t k = first; k < dim; k++)
        for (int64_t i = 0; i < dim; i++) f->all[k * dim + i] *= sqrt(f->value[k]);
    f->vectors = f->all + first * dim;
    f->rank = dim - first;
    return DT_OK;
}

/* m[a,b] = a-th vector of f times b-th vector of g */
static void inner_products(double *m, const factor *f, const factor *g, int64_t dim)
{
#pragma omp parallel for schedule(static)
    for (int64_t a = 0; a < f->rank; a++)
        for (int64_t b = 0; b < g->rank; b++) {
            const double *u = f->vectors + a * dim, *v = g->vectors + b * dim;
            double sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < dim; i++) sum += u[i] * v[i];
            m[a * g->rank + b] = sum;
        }
}

/* tr (S1^1/2 S2 S1^1/2)^1/2 */
static dt_status root_trace(double *trace, const factor *f, const factor *g, int64_t dim, dt_error *err)
{
    *trace = 0;
    if (f->rank == 0 || g->rank == 0) return DT_OK;
    int64_t count = f->rank < g->rank ? f->rank : g->rank;
    double *m = malloc((size_t)(f->rank * g->rank) * sizeof(double)),
           *singular = malloc((size_t)count * sizeof(double));
    if (!m || !singular) {
        error_set(err, DT_ERR_MEMORY, "Frechet distance: no memory");
    } else {
        inner_products(m, f, g, dim);
        lapack_int rows = (lapack_int)g->rank, columns = (lapack_int)f->rank; /* m^T to LAPACK: same singular values */
        if (LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'N', rows, columns, m, rows, singular, NULL, 1, NULL, 1) != 0)
            error_set(err, DT_ERR_NUMERIC, "Frechet distance: the singular values do not converge");
        else
            for (int64_t i = count - 1; i >= 0; i--) *trace += singular[i]; /* smallest first */
    }
    free(m);
    free(singular);
    return err->status;
}

static bool all_finite(const double *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

/* Both factors, what LAPACK takes for the second (dsyevd works on 1 + 6 D + 2 D^2 numbers), and what OpenBLAS packs operands into,
 * about. The singular values of the inner products take less. */
int64_t frechet_bytes(int64_t dim)
{
    enum { PACKED_BYTES = 3 << 20 };
    return (4 * dim * dim + 8 * dim) * (int64_t)sizeof(double) + PACKED_BYTES;
}

dt_status frechet_distance(ctx *c, double *distance, const double *mean1, const double *covariance1,
                           const double *mean2, const double *covariance2, int64_t dim)
{
    dt_error *err = &c->error;
    if (!all_finite(mean1, dim) || !all_finite(mean2, dim) || !all_finite(covariance1, dim * dim) ||
        !all_finite(covariance2, dim * dim))
        return error_set(err, DT_ERR_NUMERIC, "Frechet distance: a mean or covariance is not finite");
    factor f = {0}, g = {0};
    double root = 0, sum = 0;
    if (ctx_go_on(c)) factor_open(&f, covariance1, dim, err);
    if (ctx_go_on(c)) factor_open(&g, covariance2, dim, err);
    if (ctx_go_on(c)) root_trace(&root, &f, &g, dim, err);
    factor_close(&f);
    factor_close(&g);
    if (err->status != DT_OK) return err->status;
    for (int64_t i = 0; i < dim; i++) {
        double difference = mean1[i] - mean2[i];
        sum += difference * difference + covariance1[i * dim + i] + covariance2[i * dim + i];
    }
    if (!isfinite(sum - 2 * root)) return error_set(err, DT_ERR_NUMERIC, "Frechet distance: it is not finite");
    *distance = fmax(0, sum - 2 * root);
    return DT_OK;
}

/* The largest variance, and a bound of the largest eigenvalue: the largest sum over a row. */
static void measure_size(double *variance, double *bound, const double *covariance, int64_t dim)
{
    *variance = *bound = 0;
    for (int64_t i = 0; i < dim; i++) {
        double sum = 0;
        for (int64_t j = 0; j < dim; j++) sum += fabs(covariance[i * dim + j]);
        *variance = fmax(*variance, fabs(covariance[i * dim + i]));
        *bound = fmax(*bound, sum);
    }
}

/* A Cholesky factor exists where no eigenvalue is below -shift. */
static dt_status check_positive(const double *covariance, int64_t dim, double shift, const char *name, dt_error *err)
{
    double *copy = malloc((size_t)(dim * dim) * sizeof *copy);
    if (!copy) return error_set(err, DT_ERR_MEMORY, "%s: no memory to check it", name);
    memcpy(copy, covariance, (size_t)(dim * dim) * sizeof *copy);
    for (int64_t i = 0; i < dim; i++) copy[i * dim + i] += shift;
    if (LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', (lapack_int)dim, copy, (lapack_int)dim) != 0)
        error_set(err, DT_ERR_FORMAT, "%s: no covariance: it has a negative eigenvalue", name);
    free(copy);
    return err->status;
}

dt_status frechet_check_covariance(const double *covariance, int64_t dim, const char *name, dt_error *err)
{
    double variance, bound;
    if (!all_finite(covariance, dim * dim))
        return error_set(err, DT_ERR_FORMAT, "%s: no covariance: a value is not finite", name);
    measure_size(&variance, &bound, covariance, dim);
    for (int64_t i = 0; i < dim; i++) {
        if (covariance[i * dim + i] < 0)
            return error_set(err, DT_ERR_FORMAT, "%s: no covariance: the variance of value %lld is %g", name,
                             (long long)i, covariance[i * dim + i]);
        for (int64_t j = 0; j < i; j++)
            if (!(fabs(covariance[i * dim + j] - covariance[j * dim + i]) <= 1e-6 * variance))
                return error_set(err, DT_ERR_FORMAT,
                                 "%s: no covariance: it is not symmetric, at row %lld and column %lld", name,
                                 (long long)i, (long long)j);
    }
    return bound > 0 ? check_positive(covariance, dim, 1e-5 * bound, name, err) : DT_OK;
}
