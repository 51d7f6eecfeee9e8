#include "run/run_log.h"

#include <math.h>

#include "base/clock.h"
#include "file/names.h"
#include "file/path.h"

bool run_log_exists(const char *folder)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, METRICS_FILE);
    return file_exists(path);
}

dt_status run_log_open(run_log *l, const char *folder, int64_t step, bool tensorboard, dt_error *err)
{
    char path[DT_PATH_MAX];
    *l = (run_log){.started_s = clock_s(), .from_step = step > 0 ? step : 0, .with_events = tensorboard};
    l->events.fd = -1;
    file_join(path, folder, METRICS_FILE);
    if (metrics_log_open(&l->metrics, path, step, err) != DT_OK) return err->status;
    l->open = true;
    if (tensorboard) event_log_open(&l->events, folder, step + 1, err);
    return err->status;
}

void run_log_close(run_log *l)
{
    if (!l->open) return;
    metrics_log_close(&l->metrics);
    event_log_close(&l->events);
    l->open = false;
}

double run_log_seconds(const run_log *l)
{
    return clock_s() - l->started_s;
}

dt_status run_log_write(run_log *l, json_t *line, dt_error *err)
{
    if (!line) return error_set(err, DT_ERR_MEMORY, "%s: no memory to write a line", l->metrics.path);
    metrics_log_write(&l->metrics, line, err);
    json_decref(line);
    return err->status;
}

dt_status run_log_scalar(run_log *l, const char *tag, int64_t step, double value, dt_error *err)
{
    if (!l->with_events || !isfinite(value)) return DT_OK;
    return event_log_scalar(&l->events, tag, step, value, err);
}

dt_status run_log_image(run_log *l, const char *tag, int64_t step, const uint8_t *png, size_t size, int64_t width,
                        int64_t height, dt_error *err)
{
    if (!l->with_events) return DT_OK;
    return event_log_image(&l->events, tag, step, png, size, (int)width, (int)height, err);
}
