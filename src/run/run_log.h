/* What a run writes while it goes: metrics.jsonl, TensorBoard event files, and the caller's observer. */
#ifndef RUN_RUN_LOG_H
#define RUN_RUN_LOG_H

#include "difftune.h"
#include "run/event_log.h"
#include "run/metrics_log.h"

typedef struct run_log {
    metrics_log metrics;
    event_log events;
    bool open, with_events;
    double started_s;  /* clock at the start of this call */
    int64_t from_step; /* which this call goes on from */
} run_log;

/* Whether the folder has the log of an earlier call. */
bool run_log_exists(const char *folder);

/* Opens the files in `folder`; lines of steps beyond `step` (made after the checkpoint that is resumed from) are dropped. */
dt_status run_log_open(run_log *l, const char *folder, int64_t step, bool tensorboard, dt_error *err);
void run_log_close(run_log *l);

/* Seconds this call has run. */
double run_log_seconds(const run_log *l);

/* Appends one line to metrics.jsonl; the reference is taken. */
dt_status run_log_write(run_log *l, json_t *line, dt_error *err);
/* To the event file, where there is one. A value that is not finite is left out. */
dt_status run_log_scalar(run_log *l, const char *tag, int64_t step, double value, dt_error *err);
dt_status run_log_image(run_log *l, const char *tag, int64_t step, const uint8_t *png, size_t size, int64_t width,
                        int64_t height, dt_error *err);

#endif
