/* Statistics in files, as published tools keep them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/finite.h"
#include "eval/frechet.h"
#include "eval/statistics.h"
#include "container/npz.h"

/* Bytes that the arrays of any file here have at most: two covariances with what belongs to them. */
#define MOMENTS_LIMIT ((int64_t)sizeof(double) * 2 * STATISTICS_DIM_MAX * (STATISTICS_DIM_MAX + 2))

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

static dt_status save(const statistics *s, const char *path, bool with_rows, dt_error *err)
{
    const int64_t d = s->features.dim, e = s->spatial.dim;
    npz_array arrays[7] = {
        vector("mu", s->features.mean, d),
        matrix("sigma", s->features.covariance, d, d),
        {.name = "count", .dtype = NPZ_I64, .data = &s->count},
        name_of(s),
        vector("mu_s", s->spatial.mean, e),
        matrix("sigma_s", s->spatial.covariance, e, e),
    };
    size_t count = e ? 6 : 4;
    if (with_rows)
        arrays[count++] =
            (npz_array){.name = "rows", .dtype = NPZ_F32, .dim_count = 2, .dims = {s->row_count, d}, .data = s->rows};
    return npz_write(path, arrays, count, err);
}

dt_status statistics_save(const statistics *s, const char *path, dt_error *err)
{
    return save(s, path, false, err);
}

dt_status statistics_save_with_rows(const statistics *s, const char *path, dt_error *err)
{
    return save(s, path, true, err);
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

/* The numbers of one kind of features. */
static dt_status read_moments(feature_moments *m, const npz_array *mean, const npz_array *covariance, const char *path,
                              dt_error *err)
{
    char name[DT_PATH_MAX + NPZ_NAME_MAX + 16];
    npz_to_f64(m->mean, mean);
    npz_to_f64(m->covariance, covariance);
    for (int64_t i = 0; i < m->dim; i++)
        if (!isfinite(m->mean[i]))
            return error_set(err, DT_ERR_FORMAT, "%s: array %s: value %lld is not finite", path, mean->name,
                             (long long)i);
    snprintf(name, sizeof name, "%s: array %s", path, covariance->name);
    return frechet_check_covariance(m->covariance, m->dim, name, err);
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
    if (read_moments(&s->features, mu, sigma, path, err) == DT_OK && spatial)
        read_moments(&s->spatial, mu_s, sigma_s, path, err);
    return err->status;
}

/* Reads the features of each of the s->count images. They are never more than the file: they are stored as they are. */
static dt_status fill_rows(statistics *s, npz_stream *rows, const char *path, dt_error *err)
{
    struct stat file;
    const npz_array *a = &rows->array;
    if (!is_matrix(a, s->count, s->features.dim) || a->dtype != NPZ_F32)
        return error_set(err, DT_ERR_FORMAT, "%s: rows [%lld,%lld] of float32 expected", path, (long long)s->count,
                         (long long)s->features.dim);
    const int64_t values = npz_count(a), bytes = values * (int64_t)sizeof *s->rows;
    if (stat(path, &file) != 0 || bytes > file.st_size)
        return error_set(err, DT_ERR_FORMAT, "%s: rows of %lld bytes in a file of fewer", path, (long long)bytes);
    s->rows = malloc((size_t)bytes);
    if (!s->rows) return error_set(err, DT_ERR_MEMORY, "%s: no memory for its rows", path);
    if (npz_stream_read(rows, s->rows, bytes, err) != DT_OK) return err->status;
    const int64_t bad = finite_first_bad(s->rows, values);
    if (bad >= 0)
        return error_set(err, DT_ERR_FORMAT, "%s: array rows: value %lld is not finite", path, (long long)bad);
    s->row_count = s->row_capacity = s->count;
    return DT_OK;
}

static dt_status read_rows(statistics *s, const char *path, dt_error *err)
{
    npz_stream rows;
    bool has = false;
    if (npz_has(&has, path, "rows", err) != DT_OK || !has) return err->status;
    if (npz_stream_open(&rows, path, "rows", err) == DT_OK) fill_rows(s, &rows, path, err);
    npz_stream_close(&rows);
    return err->status;
}

dt_status statistics_count_rows(int64_t *count, const char *path, dt_error *err)
{
    npz_stream rows;
    bool has = false;
    *count = 0;
    if (npz_has(&has, path, "rows", err) != DT_OK || !has) return err->status;
    if (npz_stream_open(&rows, path, "rows", err) == DT_OK && rows.array.dim_count == 2) *count = rows.array.dims[0];
    npz_stream_close(&rows);
    return err->status;
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
    if (err->status == DT_OK) read_rows(s, path, err);
    if (err->status != DT_OK) statistics_close(s);
    return err->status;
}
