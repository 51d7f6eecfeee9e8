/* Mean and covariance of image features, the two things the Frechet distance compares, and their files.
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

typedef struct statistics {
    char measure[DT_TEXT_MAX]; /* what the features are, e.g. "FD-squeezenet"; only equal ones compare */
    int64_t dim, count;
    double *mean;       /* [D], of all rows after statistics_finish or statistics_load */
    double *covariance; /* [D,D] */
    float *rows;        /* [count,D] as they came; NULL unless they are kept */
    /* owned, while rows are added */
    bool keep_rows;
    int64_t row_capacity, block_count;
    double *shift; /* [D], the first row */
    double *block; /* [block_count,D], rows minus shift, not summed yet */
} statistics;

/* dim in 1..STATISTICS_DIM_MAX. keep_rows: the rows are wanted afterwards (the kernel distance needs them). */
dt_status statistics_open(statistics *s, const char *measure, int64_t dim, bool keep_rows, dt_error *err);
void statistics_close(statistics *s);

/* Takes rows [n,D]. A value that is not finite is DT_ERR_NUMERIC and names its row; the statistics are then void. */
dt_status statistics_add(statistics *s, const float *rows, int64_t n, dt_error *err);

/* Makes mean and covariance; no row may follow. Fewer than two rows are DT_ERR_ARG. */
dt_status statistics_finish(statistics *s, dt_error *err);

/* An .npz as pytorch-fid writes it, `mu` [D] and `sigma` [D,D] in float64, and beside them `count` [], int64,
 * and `measure`, the bytes of its name. An existing file is replaced only by a whole new one. */
dt_status statistics_save(const statistics *s, const char *path, dt_error *err);

/* Reads such a file (no rows). DT_ERR_CONFLICT when it holds another measure or dimension than asked for; files without
 * a measure's name (pytorch-fid's own) belong to none of ours. */
dt_status statistics_load(statistics *s, const char *path, const char *measure, int64_t dim, dt_error *err);

#endif
