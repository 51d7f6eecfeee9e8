/* What is known of the features of a set of images: mean and covariance, which the Frechet distance compares, and the rows
 * themselves, which the other measures need; and their files.
 *
 * Rows are summed in double in blocks of fixed size, relative to the first row (features far from zero lose no digits),
 * so that the result has the same bits for any split into batches and any number of threads. The covariance divides by
 * count - 1, as numpy.cov does, which pytorch-fid uses. */
#ifndef EVAL_STATISTICS_H
#define EVAL_STATISTICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* No feature is wider: bounds memory before a file's word is believed (512 MiB of covariance). */
enum { STATISTICS_DIM_MAX = 8192 };

/* Of one kind of features. */
typedef struct feature_moments {
    int64_t dim;
    double *mean;       /* [D], of all rows after statistics_finish or statistics_load */
    double *covariance; /* [D,D] */
    double *shift;      /* [D], the first row; while rows are added */
    double *block;      /* [block_count,D], rows minus shift, not summed yet */
} feature_moments;

/* What the rows are: D values for all measures and, where there are any, values for sFID behind them. */
typedef struct statistics_kind {
    const char *measure;      /* e.g. "FD-squeezenet"; only equal ones compare */
    int64_t dim, spatial_dim; /* spatial_dim 0: none */
    bool published; /* a file that names no measure, as pytorch-fid's and ADM's do not, is taken for this one */
} statistics_kind;

typedef struct statistics {
    char measure[DT_TEXT_MAX];
    int64_t count;            /* images; 0: read from a file that does not say */
    feature_moments features; /* of the first dim values of each row */
    feature_moments spatial;  /* of the others; dim 0: none */
    float *rows;              /* [row_count,dim] the first dim values as they came; NULL unless they are kept */
    int64_t row_count;
    /* owned, while rows are added */
    bool keep_rows;
    int64_t row_capacity, block_count;
} statistics;

/* dim in 1..STATISTICS_DIM_MAX, spatial_dim from 0. keep_rows: the rows are wanted afterwards. On failure *s is closed. */
dt_status statistics_open(statistics *s, const statistics_kind *kind, bool keep_rows, dt_error *err);
void statistics_close(statistics *s);

/* Bytes that such statistics take with `rows` rows kept. */
int64_t statistics_bytes(const statistics_kind *kind, int64_t rows);

/* Empty statistics of a kind, for whoever fills them in; `adding`: with room for rows to come. On failure *s is closed. */
dt_status statistics_prepare(statistics *s, const statistics_kind *kind, bool adding, dt_error *err);

/* Takes rows [n,dim + spatial_dim]. A value that is not finite is DT_ERR_NUMERIC and names its row; the statistics are then
 * void. */
dt_status statistics_add(statistics *s, const float *rows, int64_t n, dt_error *err);

/* Makes mean and covariance; no row may follow. Fewer than two rows are DT_ERR_ARG. */
dt_status statistics_finish(statistics *s, dt_error *err);

/* Gives the rows of another set to this one, which has none of its own: those of the images that its numbers are of. */
void statistics_take_rows(statistics *s, statistics *from);

/* ---- files ---- */

/* An .npz as pytorch-fid writes it, `mu` [D] and `sigma` [D,D] in float64, with `mu_s` and `sigma_s` for sFID as in ADM's
 * reference files, and beside them `count` [], int64, and `measure`, the bytes of its name. An existing file is replaced
 * only by a whole new one. */
dt_status statistics_save(const statistics *s, const char *path, dt_error *err);

/* The same with the rows [count,D], float32, which must have been kept, as the array `rows`. */
dt_status statistics_save_with_rows(const statistics *s, const char *path, dt_error *err);

/* How many rows of features such a file holds; 0: none. */
dt_status statistics_count_rows(int64_t *count, const char *path, dt_error *err);

/* Reads such a file (no rows where the file has none, nor a spatial part). Other arrays in it are passed over. *named (may be
 * NULL) receives whether the file says its measure. DT_ERR_CONFLICT when it holds another measure or dimension than asked
 * for, or is unnamed and the kind is none that has been published. */
dt_status statistics_load(statistics *s, const char *path, const statistics_kind *kind, bool *named, dt_error *err);

#endif
