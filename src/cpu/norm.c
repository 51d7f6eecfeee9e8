/* Layer norm with adaptive modulation, and the gated residual: the two shapes adaLN-Zero gives to a residual branch
 * (Peebles and Xie 2023, figure 3; facebookresearch/DiT models.py); layer norm with weights of its own; and lengths of rows.
 *
 * Both norms are (x - mean) rstd (base + a) + b, where base is 1 or 0, a constant of the loop. */
#include "cpu/kernel.h"
#include "cpu/narrow.h"

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

/* y = (row - mu) r (base + a) + b */
ONE_KIND void norm_row(void *y, const real *row, const real *a, const real *b, real mu, real r, int64_t d, real base,
                       bool narrow)
{
    for (int64_t i = 0; i < d; i++) write_number(y, i, (row[i] - mu) * r * (base + a[i]) + b[i], narrow);
}

static void norm_modulate_fwd(real *y, real *mean, real *rstd, const real *x, const real *m, modulation_sizes z,
                              int64_t shift, int64_t scale, real epsilon, int flags)
{
    const bool narrow = flags & NARROW;
#pragma omp parallel for schedule(static)
    for (int64_t token = 0; token < z.n * z.s; token++) {
        const real *row = x + token * z.d, *mod = m + token / z.s * z.stride;
        void *out = number_at(y, token * z.d, narrow);
        row_moments(&mean[token], &rstd[token], row, z.d, epsilon);
        WITH_KIND(narrow, norm_row, out, row, mod + scale * z.d, mod + shift * z.d, mean[token], rstd[token], z.d, 1);
    }
}

/* With xhat = (x - mean) rstd and g = dy (base + a):
 * dx = rstd (g - mean(g) - xhat mean(g xhat)), da = sum dy xhat, db = sum dy. */
ONE_KIND void norm_row_bwd(real *dx, const void *dy, const real *row, const real *a, real mu, real r, int64_t d,
                           real base, bool narrow)
{
    real sum_g = 0, sum_gx = 0;
#pragma omp simd reduction(+ : sum_g, sum_gx)
    for (int64_t i = 0; i < d; i++) {
        real g = read_number(dy, i, narrow) * (base + a[i]);
        sum_g += g;
        sum_gx += g * (row[i] - mu) * r;
    }
    sum_g /= (real)d;
    sum_gx /= (real)d;
    for (int64_t i = 0; i < d; i++)
        dx[i] += r * (read_number(dy, i, narrow) * (base + a[i]) - sum_g - (row[i] - mu) * r * sum_gx);
}

/* da and db += what one token gives to scale and shift. */
ONE_KIND void modulation_row_bwd(real *da, real *db, const void *dy, const real *row, real mu, real r, int64_t d,
                                 bool narrow)
{
    for (int64_t i = 0; i < d; i++) {
        real g = read_number(dy, i, narrow);
        db[i] += g;
        da[i] += g * (row[i] - mu) * r;
    }
}

static void norm_modulate_bwd(real *dx, real *dm, const real *dy, const real *x, const real *mean, const real *rstd,
                              const real *m, modulation_sizes z, int64_t shift, int64_t scale, int flags)
{
    const bool narrow = flags & NARROW;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < z.n; n++) {
        const real *a = m + n * z.stride + scale * z.d;
        real *db = dm ? dm + n * z.stride + shift * z.d : 0, *da = dm ? dm + n * z.stride + scale * z.d : 0;
        for (int64_t token = n * z.s; token < (n + 1) * z.s; token++) {
            const real *row = x + token * z.d, mu = mean[token], r = rstd[token];
            const void *g = number_at(dy, token * z.d, narrow);
            if (dx) WITH_KIND(narrow, norm_row_bwd, dx + token * z.d, g, row, a, mu, r, z.d, 1);
            if (dm) WITH_KIND(narrow, modulation_row_bwd, da, db, g, row, mu, r, z.d);
        }
    }
}

static void layer_norm_fwd(real *y, real *mean, real *rstd, const real *x, const real *weight, const real *bias,
                           int64_t m, int64_t d, real epsilon, int flags)
{
    const bool narrow = flags & NARROW;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < m; i++) {
        row_moments(&mean[i], &rstd[i], x + i * d, d, epsilon);
        WITH_KIND(narrow, norm_row, number_at(y, i * d, narrow), x + i * d, weight, bias, mean[i], rstd[i], d, 0);
    }
}

/* da += what one row gives to the weights. */
ONE_KIND void weight_row_bwd(real *da, const void *dy, const real *row, real mu, real r, int64_t d, bool narrow)
{
    for (int64_t i = 0; i < d; i++) da[i] += read_number(dy, i, narrow) * (row[i] - mu) * r;
}

ONE_KIND void bias_row_bwd(real *db, const void *dy, int64_t d, bool narrow)
{
    for (int64_t i = 0; i < d; i++) db[i] += read_number(dy, i, narrow);
}

/* Rows are shared out for dx, columns for the sums over rows. */
static void layer_norm_bwd(real *dx, real *dweight, real *dbias, const real *dy, const real *x, const real *mean,
                           const real *rstd, const real *weight, int64_t m, int64_t d, int flags)
{
    enum { COLUMNS = 64 };
    const bool narrow = flags & NARROW;
    if (dx) {
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < m; i++)
            WITH_KIND(narrow, norm_row_bwd, dx + i * d, number_at(dy, i * d, narrow), x + i * d, weight, mean[i],
                      rstd[i], d, 0);
    }
    if (!dweight && !dbias) return;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < d; first += COLUMNS)
        for (int64_t i = 0; i < m; i++) {
            const int64_t at = i * d + first, columns = least(COLUMNS, d - first);
            const void *g = number_at(dy, at, narrow);
            if (dweight) WITH_KIND(narrow, weight_row_bwd, dweight + first, g, x + at, mean[i], rstd[i], columns);
            if (dbias) WITH_KIND(narrow, bias_row_bwd, dbias + first, g, columns);
        }
}

/* y = x + gate h */
ONE_KIND void gated_row(real *y, const real *x, const void *h, const real *gate, int64_t d, bool narrow)
{
    for (int64_t i = 0; i < d; i++) y[i] = x[i] + gate[i] * read_number(h, i, narrow);
}

static void gated_add_fwd(real *y, const real *x, const real *h, const real *m, modulation_sizes z, int64_t gate,
                          int flags)
{
    const bool narrow = flags & NARROW;
#pragma omp parallel for schedule(static)
    for (int64_t token = 0; token < z.n * z.s; token++) {
        const real *g = m + token / z.s * z.stride + gate * z.d;
        const int64_t at = token * z.d;
        WITH_KIND(narrow, gated_row, y + at, x + at, number_at(h, at, narrow), g, z.d);
    }
}

ONE_KIND void branch_row_bwd(void *dh, const real *dy, const real *gate, int64_t d, bool add, bool narrow)
{
    for (int64_t i = 0; i < d; i++)
        write_number(dh, i, add ? read_number(dh, i, narrow) + dy[i] * gate[i] : dy[i] * gate[i], narrow);
}

ONE_KIND void gate_row_bwd(real *dgate, const real *dy, const void *h, int64_t d, bool narrow)
{
    for (int64_t i = 0; i < d; i++) dgate[i] += dy[i] * read_number(h, i, narrow);
}

static void gated_add_bwd(real *dh, real *dm, const real *dy, const real *h, const real *m, modulation_sizes z,
                          int64_t gate, bool add, int flags)
{
    const bool narrow = flags & NARROW;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < z.n; n++) {
        const real *g = m + n * z.stride + gate * z.d;
        for (int64_t token = n * z.s; token < (n + 1) * z.s; token++) {
            const int64_t at = token * z.d;
            if (dh) WITH_KIND(narrow, branch_row_bwd, number_at(dh, at, narrow), dy + at, g, z.d, add);
            if (dm)
                WITH_KIND(narrow, gate_row_bwd, dm + n * z.stride + gate * z.d, dy + at, number_at(h, at, narrow), z.d);
        }
    }
}

enum { LENGTH_COLUMNS = 256 }; /* of a row, in work together */

/* The sum of squares of n neighbouring columns of a row of w + s b a, whose rows are `i` apart in a. */
static real squares_of_columns(const real *w, const real *b, const real *a, real s, int64_t i, int64_t r, int64_t n)
{
    real sum[LENGTH_COLUMNS], squares = 0;
    for (int64_t j = 0; j < n; j++) sum[j] = w[j];
    for (int64_t k = 0; k < r; k++) {
        const real factor = s * b[k], *row = a + k * i;
        for (int64_t j = 0; j < n; j++) sum[j] += factor * row[j];
    }
#pragma omp simd reduction(+ : squares)
    for (int64_t j = 0; j < n; j++) squares += sum[j] * sum[j];
    return squares;
}

static void row_lengths(real *minus, real *inverse, const real *w, const real *b, const real *a, real s, int64_t o,
                        int64_t i, int64_t r)
{
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < o; row++) {
        real squares = 0;
        for (int64_t first = 0; first < i; first += LENGTH_COLUMNS) {
            const int64_t n = i - first < LENGTH_COLUMNS ? i - first : LENGTH_COLUMNS;
            squares += squares_of_columns(w + row * i + first, b + row * r, a + first, s, i, r, n);
        }
        const real length = (real)sqrt(squares);
        minus[row] = -length;
        inverse[row] = length > 0 ? 1 / length : 0;
    }
}

void CPU_FN(cpu_register_norm)(engine *e)
{
    e->row_lengths = row_lengths;
    e->layer_norm_fwd = layer_norm_fwd;
    e->layer_norm_bwd = layer_norm_bwd;
    e->norm_modulate_fwd = norm_modulate_fwd;
    e->norm_modulate_bwd = norm_modulate_bwd;
    e->gated_add_fwd = gated_add_fwd;
    e->gated_add_bwd = gated_add_bwd;
}
