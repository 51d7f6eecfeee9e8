/* Features of images that are drawn one after the other, kept in a file so that a stopped call can go on: rows of `dim`
 * floats as the machine has them, nothing else. What the rows are of is said beside, by whoever owns the folder. */
#ifndef EVAL_FEATURE_ROWS_H
#define EVAL_FEATURE_ROWS_H

#include "eval/statistics.h"
#include "tensor/context.h"

typedef struct feature_rows {
    int fd;
    char path[DT_PATH_MAX];
    int64_t dim, count; /* whole rows in the file */
} feature_rows;

/* Opens or makes the file; a row that was cut off is dropped. On failure *r is closed. */
dt_status feature_rows_open(feature_rows *r, const char *path, int64_t dim, dt_error *err);
void feature_rows_close(feature_rows *r);

/* Keeps the first `count` rows. */
dt_status feature_rows_cut(feature_rows *r, int64_t count, dt_error *err);

/* Appends rows [n,dim], all or none, and waits for the disk. */
dt_status feature_rows_append(feature_rows *r, const float *rows, int64_t n, dt_error *err);

/* Adds the first `count` rows to statistics of the same dimension. It may be long: see ctx_go_on. */
dt_status feature_rows_add_to(ctx *c, statistics *s, const feature_rows *r, int64_t count);

#endif
