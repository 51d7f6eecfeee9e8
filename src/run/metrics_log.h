/* metrics.jsonl: one compact JSON object per line, each written at once, readable while the run goes on. */
#ifndef RUN_METRICS_LOG_H
#define RUN_METRICS_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/error.h"

typedef struct metrics_log {
    char path[DT_PATH_MAX];
    int fd; /* -1: closed */
} metrics_log;

/* Opens for appending after step `last_step`: lines of an earlier stretch of the run whose "step" is larger, and a last
 * line that was cut off, are removed first (atomically); lines without "step" stay. A missing file is made. */
dt_status metrics_log_open(metrics_log *m, const char *path, int64_t last_step, dt_error *err);

/* Appends one object; the caller keeps it. Reals get nine digits, which carry every float exactly. JSON knows no NaN:
 * leave such a key out or make it null; json_pack of a NaN gives no object, which is DT_ERR_ARG. A failed write is
 * DT_ERR_IO and leaves no part of the line (see file_append). */
dt_status metrics_log_write(metrics_log *m, const json_t *object, dt_error *err);

/* Makes what was written durable. */
dt_status metrics_log_sync(const metrics_log *m, dt_error *err);

/* *found: the file has a line of that step and kind, and of that "set" where `set` is not NULL. */
dt_status metrics_log_find(bool *found, const metrics_log *m, int64_t step, const char *kind, const char *set,
                           dt_error *err);

/* The values under `key` of all lines of a kind, in their order; *values is malloc'ed, or NULL where there are none. */
dt_status metrics_log_curve(double **values, int64_t *count, const metrics_log *m, const char *kind, const char *key,
                            dt_error *err);

void metrics_log_close(metrics_log *m);

#endif
