#include "eval/statistics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_ROWS = 64 };

static dt_status no_memory(const char *measure, dt_error *err)
{
    return error_set(err, DT_ERR_MEMORY, "statistics of %s: no memory", measure);
}

/* dim is at most STATISTICS_DIM_MAX, so no size here overflows. `adding`: rows will come. */
static bool moments_open(feature_moments *m, int64_t dim, bool adding)
{
    size_t d = (size_t)dim;
    *m = (feature_moments){.dim = dim};
    if (dim == 0) return true;
    m->mean = calloc(d, sizeof *m->mean);
    m->covariance = calloc(d * d, sizeof *m->covariance);
    if (adding) m->shift = calloc(d, sizeof *m->shift);
    if (adding) m->block = calloc(d * BLOCK_ROWS, sizeof *m->block);
    return m->mean && m->covariance && (!adding || (m->shift && m->block));
}

static void moments_close(feature_moments *m)
{
    free(m->mean);
    free(m->covariance);
    free(m->shift);
    free(m->block);
}

dt_status statistics_prepare(statistics *s, const statistics_kind *kind, bool adding, dt_error *err)
{
    *s = (statistics){0};
    snprintf(s->measure, sizeof s->measure, "%s", kind->measure);
    if (kind->dim < 1 || kind->dim > STATISTICS_DIM_MAX || kind->spatial_dim < 0 ||
        kind->spatial_dim > STATISTICS_DIM_MAX)
        return error_set(err, DT_ERR_ARG, "statistics of %s: features of %lld values; 1 to %d can be measured",
                         kind->measure, (long long)kind->dim, STATISTICS_DIM_MAX);
    bool open = moments_open(&s->features, kind->dim, adding);
    open = moments_open(&s->spatial, kind->spatial_dim, adding) && open;
    if (open) return DT_OK;
    statistics_close(s);
    return no_memory(kind->measure, err);
}

dt_status statistics_open(statistics *s, const statistics_kind *kind, bool keep_rows, dt_error *err)
{
    statistics_prepare(s, kind, true, err);
    s->keep_rows = keep_rows;
    return err->status;
}

static int64_t moments_bytes(int64_t dim)
{
    return dim * (dim + BLOCK_ROWS + 2) * (int64_t)sizeof(double);
}

int64_t statistics_bytes(const statistics_kind *kind, int64_t rows)
{
    return moments_bytes(kind->dim) + moments_bytes(kind->spatial_dim) + rows * kind->dim * (int64_t)sizeof(float);
}

void statistics_close(statistics *s)
{
    moments_close(&s->features);
    moments_close(&s->spatial);
    free(s->rows);
    *s = (statistics){0};
}

/* Adds the block's sums to mean [D] and its products to the lower triangle of covariance; each entry is summed over the
 * rows in order by one thread. */
static void add_block(feature_moments *m, int64_t rows)
{
    const int64_t d = m->dim;
#pragma omp parallel for schedule(static, 16)
    for (int64_t i = 0; i < d; i++) {
        double *product = m->covariance + i * d;
        for (int64_t r = 0; r < rows; r++) {
            const double *row = m->block + r * d, factor = row[i];
            m->mean[i] += factor;
            for (int64_t j = 0; j <= i; j++) product[j] += factor * row[j];
        }
    }
}

static void flush_block(statistics *s)
{
    add_block(&s->features, s->block_count);
    add_block(&s->spatial, s->block_count);
    s->block_count = 0;
}

static dt_status reserve_rows(statistics *s, int64_t count, dt_error *err)
{
    if (count <= s->row_capacity) return DT_OK;
    int64_t capacity = count > 2 * s->row_capacity ? count : 2 * s->row_capacity;
    float *grown = realloc(s->rows, (size_t)(capacity * s->features.dim) * sizeof(float));
    if (!grown)
        return error_set(err, DT_ERR_MEMORY, "statistics of %s: no memory for %lld rows", s->measure,
                         (long long)capacity);
    s->rows = grown;
    s->row_capacity = capacity;
    return DT_OK;
}

static void add_to_block(feature_moments *m, const float *row, int64_t place, bool first)
{
    if (m->dim == 0) return; /* no block: adding to NULL is undefined */
    double *to = m->block + place * m->dim;
    for (int64_t i = 0; first && i < m->dim; i++) m->shift[i] = row[i];
    for (int64_t i = 0; i < m->dim; i++) to[i] = row[i] - m->shift[i];
}

static void add_row(statistics *s, const float *row)
{
    const int64_t d = s->features.dim;
    if (s->keep_rows) memcpy(s->rows + s->row_count++ * d, row, (size_t)d * sizeof *row);
    add_to_block(&s->features, row, s->block_count, s->count == 0);
    add_to_block(&s->spatial, row + d, s->block_count, s->count == 0);
    s->count++;
    if (++s->block_count == BLOCK_ROWS) flush_block(s);
}

dt_status statistics_add(statistics *s, const float *rows, int64_t n, dt_error *err)
{
    const int64_t width = s->features.dim + s->spatial.dim;
    for (int64_t i = 0; i < n * width; i++)
        if (!isfinite(rows[i]))
            return error_set(err, DT_ERR_NUMERIC, "statistics of %s: value %lld of row %lld is not finite", s->measure,
                             (long long)(i % width), (long long)(s->count + i / width));
    if (s->keep_rows && reserve_rows(s, s->row_count + n, err) != DT_OK) return err->status;
    for (int64_t i = 0; i < n; i++) add_row(s, rows + i * width);
    return DT_OK;
}

/* With y = x - shift: mean = shift + sum y / n, covariance = (sum y y^T - sum y sum y^T / n) / (n - 1). */
static void finish(feature_moments *m, double n)
{
    const int64_t d = m->dim;
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++) {
            double *entry = &m->covariance[i * d + j];
            *entry = (*entry - m->mean[i] * (m->mean[j] / n)) / (n - 1);
            m->covariance[j * d + i] = *entry;
        }
    for (int64_t i = 0; i < d; i++) m->mean[i] = m->shift[i] + m->mean[i] / n;
}

dt_status statistics_finish(statistics *s, dt_error *err)
{
    if (s->count < 2)
        return error_set(err, DT_ERR_ARG, "statistics of %s: a covariance needs at least 2 images, found %lld",
                         s->measure, (long long)s->count);
    flush_block(s);
    finish(&s->features, (double)s->count);
    finish(&s->spatial, (double)s->count);
    return DT_OK;
}

void statistics_take_rows(statistics *s, statistics *from)
{
    s->rows = from->rows;
    s->row_count = from->row_count;
    s->row_capacity = from->row_capacity;
    from->rows = NULL;
    from->row_count = from->row_capacity = 0;
}
