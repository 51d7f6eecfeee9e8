#include "eval/statistics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/npz.h"

enum { BLOCK_ROWS = 64 };

/* dim is at most STATISTICS_DIM_MAX, so no size here overflows. */
static dt_status prepare(statistics *s, const char *measure, int64_t dim, dt_error *err)
{
    *s = (statistics){.dim = dim};
    snprintf(s->measure, sizeof s->measure, "%s", measure);
    if (dim < 1 || dim > STATISTICS_DIM_MAX)
        return error_set(err, DT_ERR_ARG, "statistics of %s: features of %lld values; 1 to %d can be measured", measure,
                         (long long)dim, STATISTICS_DIM_MAX);
    s->mean = calloc((size_t)dim, sizeof(double));
    s->covariance = calloc((size_t)(dim * dim), sizeof(double));
    if (s->mean && s->covariance) return DT_OK;
    return error_set(err, DT_ERR_MEMORY, "statistics of %s: no memory for %lld values a feature", measure,
                     (long long)dim);
}

dt_status statistics_open(statistics *s, const char *measure, int64_t dim, bool keep_rows, dt_error *err)
{
    if (prepare(s, measure, dim, err) != DT_OK) return err->status;
    s->keep_rows = keep_rows;
    s->shift = malloc((size_t)dim * sizeof(double));
    s->block = malloc((size_t)dim * BLOCK_ROWS * sizeof(double));
    if (s->shift && s->block) return DT_OK;
    return error_set(err, DT_ERR_MEMORY, "statistics of %s: no memory for a block of rows", measure);
}

void statistics_close(statistics *s)
{
    free(s->mean);
    free(s->covariance);
    free(s->rows);
    free(s->shift);
    free(s->block);
    *s = (statistics){0};
}

/* Adds the block's sums to mean [D] and its products to the lower triangle of covariance; each entry is summed over the
 * rows in order by one thread. */
static void flush_block(statistics *s)
{
    const int64_t d = s->dim, rows = s->block_count;
#pragma omp parallel for schedule(static, 16)
    for (int64_t i = 0; i < d; i++) {
        double *product = s->covariance + i * d;
        for (int64_t r = 0; r < rows; r++) {
            const double *row = s->block + r * d, factor = row[i];
            s->mean[i] += factor;
            for (int64_t j = 0; j <= i; j++) product[j] += factor * row[j];
        }
    }
    s->block_count = 0;
}

static dt_status keep(statistics *s, const float *rows, int64_t n, dt_error *err)
{
    if (s->count + n > s->row_capacity) {
        int64_t capacity = s->count + n > 2 * s->row_capacity ? s->count + n : 2 * s->row_capacity;
        float *grown = realloc(s->rows, (size_t)(capacity * s->dim) * sizeof(float));
        if (!grown)
            return error_set(err, DT_ERR_MEMORY, "statistics of %s: no memory for %lld rows", s->measure,
                             (long long)capacity);
        s->rows = grown;
        s->row_capacity = capacity;
    }
    memcpy(s->rows + s->count * s->dim, rows, (size_t)(n * s->dim) * sizeof(float));
    return DT_OK;
}

static void add_row(statistics *s, const float *row)
{
    double *to = s->block + s->block_count * s->dim;
    if (s->count == 0)
        for (int64_t i = 0; i < s->dim; i++) s->shift[i] = row[i];
    for (int64_t i = 0; i < s->dim; i++) to[i] = row[i] - s->shift[i];
    s->count++;
    if (++s->block_count == BLOCK_ROWS) flush_block(s);
}

dt_status statistics_add(statistics *s, const float *rows, int64_t n, dt_error *err)
{
    for (int64_t i = 0; i < n * s->dim; i++)
        if (!isfinite(rows[i]))
            return error_set(err, DT_ERR_NUMERIC, "statistics of %s: value %lld of row %lld is not finite", s->measure,
                             (long long)(i % s->dim), (long long)(s->count + i / s->dim));
    if (s->keep_rows && keep(s, rows, n, err) != DT_OK) return err->status;
    for (int64_t i = 0; i < n; i++) add_row(s, rows + i * s->dim);
    return DT_OK;
}

/* With y = x - shift: mean = shift + sum y / n, covariance = (sum y y^T - sum y sum y^T / n) / (n - 1). */
dt_status statistics_finish(statistics *s, dt_error *err)
{
    if (s->count < 2)
        return error_set(err, DT_ERR_ARG, "statistics of %s: a covariance needs at least 2 images, found %lld",
                         s->measure, (long long)s->count);
    flush_block(s);
    const int64_t d = s->dim;
    const double n = (double)s->count;
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++) {
            double *entry = &s->covariance[i * d + j];
            *entry = (*entry - s->mean[i] * (s->mean[j] / n)) / (n - 1);
            s->covariance[j * d + i] = *entry;
        }
    for (int64_t i = 0; i < d; i++) s->mean[i] = s->shift[i] + s->mean[i] / n;
    return DT_OK;
}

dt_status statistics_save(const statistics *s, const char *path, dt_error *err)
{
    const npz_array arrays[] = {
        {.name = "mu", .dtype = NPZ_F64, .dim_count = 1, .dims = {s->dim}, .data = s->mean},
        {.name = "sigma", .dtype = NPZ_F64, .dim_count = 2, .dims = {s->dim, s->dim}, .data = s->covariance},
        {.name = "count", .dtype = NPZ_I64, .data = &s->count},
        {.name = "measure", .dtype = NPZ_U8, .dim_count = 1, .dims = {(int64_t)strlen(s->measure)}, .data = s->measure},
    };
    return npz_write(path, arrays, sizeof arrays / sizeof arrays[0], err);
}

/* Who made the file, as text; "no named measure" for files that do not say. */
static void read_measure(char measure[DT_TEXT_MAX], const npz *z)
{
    const npz_array *a = npz_find(z, "measure");
    bool named = a && a->dtype == NPZ_U8 && a->dim_count == 1 && a->dims[0] < DT_TEXT_MAX;
    if (named)
        snprintf(measure, DT_TEXT_MAX, "%.*s", (int)a->dims[0], (const char *)a->data);
    else
        snprintf(measure, DT_TEXT_MAX, "no named measure");
}

static int64_t count_of(const npz_array *a)
{
    int64_t count;
    memcpy(&count, a->data, sizeof count);
    return count;
}

static dt_status check_arrays(const npz *z, const char *path, const char *measure, int64_t dim, dt_error *err)
{
    const npz_array *mu = npz_find(z, "mu"), *sigma = npz_find(z, "sigma"), *count = npz_find(z, "count");
    if (!mu || !sigma || mu->dim_count != 1 || sigma->dim_count != 2 || sigma->dims[0] != mu->dims[0] ||
        sigma->dims[1] != mu->dims[0])
        return error_set(err, DT_ERR_FORMAT, "%s: not feature statistics: mu [D] and sigma [D,D] expected", path);
    char found[DT_TEXT_MAX];
    read_measure(found, z);
    if (strcmp(found, measure) != 0 || mu->dims[0] != dim)
        return error_set(err, DT_ERR_CONFLICT, "%s: statistics of %s with %lld values a feature; expected %s with %lld",
                         path, found, (long long)mu->dims[0], measure, (long long)dim);
    if (!count || count->dtype != NPZ_I64 || count->dim_count != 0 || count_of(count) < 2)
        return error_set(err, DT_ERR_FORMAT, "%s: count, an int64 of at least 2, expected", path);
    return DT_OK;
}

dt_status statistics_load(statistics *s, const char *path, const char *measure, int64_t dim, dt_error *err)
{
    npz z = {0};
    if (prepare(s, measure, dim, err) != DT_OK) return err->status;
    const int64_t limit = (int64_t)sizeof(double) * STATISTICS_DIM_MAX * (STATISTICS_DIM_MAX + 2);
    npz_read(&z, path, limit, err);
    if (err->status == DT_OK) check_arrays(&z, path, measure, dim, err);
    if (err->status == DT_OK) {
        npz_to_f64(s->mean, npz_find(&z, "mu"));
        npz_to_f64(s->covariance, npz_find(&z, "sigma"));
        s->count = count_of(npz_find(&z, "count"));
    }
    npz_free(&z);
    return err->status;
}
