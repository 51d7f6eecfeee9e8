/* Statistics in files: finished ones as published tools keep them, and unfinished ones that go on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/statistics_private.h"
#include "io/npz.h"

/* Bytes that the arrays of any file here have at most: two covariances with what belongs to them. */
#define MOMENTS_LIMIT                                                                                                  \
    ((int64_t)sizeof(double) * 2 * STATISTICS_DIM_MAX * (STATISTICS_DIM_MAX + 2 + STATISTICS_BLOCK_ROWS))

static npz_array vector(const char *name, const double *data, int64_t dim)
{
    npz_array a = {.dtype = NPZ_F64, .dim_count = 1, .dims = {dim}, .data = data};
    snprintf(a.name, sizeof a.name, "%s", name);
    return a;
}

static npz_array matrix(const char *name, const double *data, int64_t rows, int64_t columns)
{
    npz_array a = {.dtype = NPZ_F64, .dim_count = 2, .dims = {rows, columns}, .data = data};
    snprintf(a.name, sizeof a.name, "%s", name);
    return a;
}

static npz_array name_of(const statistics *s)
{
    return (npz_array){
        .name = "measure", .dtype = NPZ_U8, .dim_count = 1, .dims = {(int64_t)strlen(s->measure)}, .data = s->measure};
}

/* ---- finished ---- */

dt_status statistics_save(const statistics *s, const char *path, dt_error *err)
{
    const int64_t d = s->features.dim, e = s->spatial.dim;
    const npz_array arrays[] = {
        vector("mu", s->features.mean, d),
        matrix("sigma", s->features.covariance, d, d),
        {.name = "count", .dtype = NPZ_I64, .data = &s->count},
        name_of(s),
        vector("mu_s", s->spatial.mean, e),
        matrix("sigma_s", s->spatial.covariance, e, e),
    };
    return npz_write(path, arrays, e ? 6 : 4, err);
}

/* Who made the file, as text; false for files that do not say. */
static bool read_measure(char measure[DT_TEXT_MAX], const npz *z)
{
    const npz_array *a = npz_find(z, "measure");
    bool named = a && a->dtype == NPZ_U8 && a->dim_count == 1 && a->dims[0] < DT_TEXT_MAX;
    snprintf(measure, DT_TEXT_MAX, "%.*s", named ? (int)a->dims[0] : DT_TEXT_MAX,
             named ? (const char *)a->data : "no named measure");
    return named;
}

/* A scalar int64 of at least `least`; -1 when there is none such. */
static int64_t read_count(const npz *z, const char *name, int64_t least)
{
    const npz_array *a = npz_find(z, name);
    int64_t count = -1;
    if (a && a->dtype == NPZ_I64 && a->dim_count == 0) memcpy(&count, a->data, sizeof count);
    return count >= least ? count : -1;
}

static bool is_vector(const npz_array *a, int64_t dim)
{
    return a && a->dim_count == 1 && a->dims[0] == dim;
}

static bool is_matrix(const npz_array *a, int64_t rows, int64_t columns)
{
    return a && a->dim_count == 2 && a->dims[0] == rows && a->dims[1] == columns;
}

/* Measure and width of a file whose first array of a kind is `mu`. */
static dt_status check_kind(const npz *z, const char *path, const npz_array *mu, const statistics_kind *kind,
                            bool *named, dt_error *err)
{
    char found[DT_TEXT_MAX];
    *named = read_measure(found, z);
    bool ours = *named ? !strcmp(found, kind->measure) : kind->published;
    if (ours && mu->dims[0] == kind->dim) return DT_OK;
    return error_set(err, DT_ERR_CONFLICT, "%s: statistics of %s with %lld values a feature; expected %s with %lld",
                     path, found, (long long)mu->dims[0], kind->measure, (long long)kind->dim);
}

static dt_status read_finished(statistics *s, const npz *z, const char *path, const statistics_kind *kind, bool *named,
                               dt_error *err)
{
    const npz_array *mu = npz_find(z, "mu"), *sigma = npz_find(z, "sigma");
    const npz_array *mu_s = npz_find(z, "mu_s"), *sigma_s = npz_find(z, "sigma_s");
    if (!mu || mu->dim_count != 1 || !is_matrix(sigma, mu->dims[0], mu->dims[0]))
        return error_set(err, DT_ERR_FORMAT, "%s: not feature statistics: mu [D] and sigma [D,D] expected", path);
    if (check_kind(z, path, mu, kind, named, err) != DT_OK) return err->status;
    int64_t count = read_count(z, "count", 2);
    if (count < 0 && (*named || npz_find(z, "count")))
        return error_set(err, DT_ERR_FORMAT, "%s: count, an int64 of at least 2, expected", path);
    bool spatial = mu_s && kind->spatial_dim > 0;
    if (spatial && (!is_vector(mu_s, kind->spatial_dim) || !is_matrix(sigma_s, kind->spatial_dim, kind->spatial_dim)))
        return error_set(err, DT_ERR_FORMAT, "%s: mu_s [%lld] and sigma_s of the same width expected", path,
                         (long long)kind->spatial_dim);
    const statistics_kind held = {kind->measure, kind->dim, spatial ? kind->spatial_dim : 0, kind->published};
    if (statistics_prepare(s, &held, false, err) != DT_OK) return err->status;
    s->count = count < 0 ? 0 : count;
    npz_to_f64(s->features.mean, mu);
    npz_to_f64(s->features.covariance, sigma);
    if (spatial) npz_to_f64(s->spatial.mean, mu_s);
    if (spatial) npz_to_f64(s->spatial.covariance, sigma_s);
    return DT_OK;
}

dt_status statistics_load(statistics *s, const char *path, const statistics_kind *kind, bool *named, dt_error *err)
{
    static const char *const wanted[] = {"mu", "sigma", "mu_s", "sigma_s", "count", "measure", NULL};
    npz z = {0};
    bool says = false;
    *s = (statistics){0};
    if (npz_read_some(&z, path, wanted, MOMENTS_LIMIT, err) == DT_OK) read_finished(s, &z, path, kind, &says, err);
    if (named) *named = says;
    npz_free(&z);
    return err->status;
}

/* ---- unfinished ---- */

enum { STATE_ARRAYS = 12 };

/* The arrays of one kind of moments, their names led by `prefix`. Returns how many. */
static size_t moments_arrays(npz_array out[4], const feature_moments *m, const char *prefix, int64_t block_count)
{
    static const char *const parts[4] = {"sum", "products", "shift", "block"};
    char name[4][NPZ_NAME_MAX];
    for (int i = 0; i < 4; i++) snprintf(name[i], sizeof name[i], "%s_%s", prefix, parts[i]);
    out[0] = vector(name[0], m->mean, m->dim);
    out[1] = matrix(name[1], m->covariance, m->dim, m->dim);
    out[2] = vector(name[2], m->shift, m->dim);
    out[3] = matrix(name[3], m->block, block_count, m->dim);
    return m->dim ? 4 : 0;
}

dt_status statistics_pause(const statistics *s, const char *path, dt_error *err)
{
    npz_array arrays[STATE_ARRAYS];
    size_t count = moments_arrays(arrays, &s->features, "features", s->block_count);
    count += moments_arrays(arrays + count, &s->spatial, "spatial", s->block_count);
    arrays[count++] = (npz_array){.name = "count", .dtype = NPZ_I64, .data = &s->count};
    arrays[count++] = name_of(s);
    if (s->keep_rows)
        arrays[count++] = (npz_array){.name = "rows",
                                      .dtype = NPZ_F32,
                                      .dim_count = 2,
                                      .dims = {s->row_count, s->features.dim},
                                      .data = s->rows ? (const void *)s->rows : ""};
    return npz_write(path, arrays, count, err);
}

static bool restore_moments(feature_moments *m, const npz *z, const char *prefix, int64_t block_count)
{
    npz_array expected[4];
    double *into[4] = {m->mean, m->covariance, m->shift, m->block};
    size_t count = moments_arrays(expected, m, prefix, block_count);
    for (size_t i = 0; i < count; i++) {
        const npz_array *a = npz_find(z, expected[i].name);
        if (!a || a->dtype != NPZ_F64 || a->dim_count != expected[i].dim_count ||
            memcmp(a->dims, expected[i].dims, sizeof(int64_t) * (size_t)a->dim_count) != 0)
            return false;
        memcpy(into[i], a->data, (size_t)npz_count(a) * sizeof(double));
    }
    return true;
}

static dt_status restore_rows(statistics *s, const npz *z, const char *path, dt_error *err)
{
    const npz_array *rows = npz_find(z, "rows");
    if (!rows != !s->keep_rows)
        return error_set(err, DT_ERR_CONFLICT, "%s: a measurement %s its rows", path, rows ? "with" : "without");
    if (!rows) return DT_OK;
    if (rows->dtype != NPZ_F32 || !is_matrix(rows, s->count, s->features.dim))
        return error_set(err, DT_ERR_FORMAT, "%s: rows of another number or width than the sums", path);
    if (s->count && statistics_reserve_rows(s, s->count, err) == DT_OK)
        memcpy(s->rows, rows->data, (size_t)npz_count(rows) * sizeof(float));
    s->row_count = s->count;
    return err->status;
}

static dt_status restore(statistics *s, const npz *z, const char *path, dt_error *err)
{
    char found[DT_TEXT_MAX];
    if (!read_measure(found, z) || strcmp(found, s->measure) != 0)
        return error_set(err, DT_ERR_CONFLICT, "%s: a measurement of %s; expected %s", path, found, s->measure);
    s->count = read_count(z, "count", 0);
    s->block_count = s->count % STATISTICS_BLOCK_ROWS;
    if (s->count < 0 || !restore_moments(&s->features, z, "features", s->block_count) ||
        !restore_moments(&s->spatial, z, "spatial", s->block_count))
        return error_set(err, DT_ERR_FORMAT, "%s: not an unfinished measurement of %s with %lld and %lld values", path,
                         s->measure, (long long)s->features.dim, (long long)s->spatial.dim);
    return restore_rows(s, z, path, err);
}

dt_status statistics_resume(statistics *s, const char *path, const statistics_kind *kind, bool keep_rows, dt_error *err)
{
    npz z = {0};
    if (statistics_open(s, kind, keep_rows, err) == DT_OK && npz_read(&z, path, INT64_MAX, err) == DT_OK)
        restore(s, &z, path, err);
    npz_free(&z);
    if (err->status != DT_OK) statistics_close(s);
    return err->status;
}
