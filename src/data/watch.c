#include "data/watch.h"

#include <math.h>

#include "base/clock.h"
#include "base/process.h"

bool watch_progress(const dt_observer *observer, const char *task, int64_t done, int64_t count, double seconds)
{
    double rate = seconds > 0 ? (double)done / seconds : 0;
    dt_progress p = {.task = task,
                     .step = done,
                     .step_count = count,
                     .loss_target = (double)NAN,
                     .loss_bank = (double)NAN,
                     .loss_retained = (double)NAN,
                     .samples_per_second = rate,
                     .seconds_left = rate > 0 ? (double)(count - done) / rate : 0,
                     .memory_bytes = process_memory()};
    if (observer->progress) observer->progress(observer->user, &p);
    return !observer->should_stop || !observer->should_stop(observer->user);
}

bool watch_go_on(void *user, int64_t done, int64_t count)
{
    const watch *w = user;
    if (count == 0) return !w->observer->should_stop || !w->observer->should_stop(w->observer->user); /* waiting */
    return watch_progress(w->observer, w->task, done, count, clock_s() - w->started_s);
}

static void log_to_observer(void *user, const char *line)
{
    const dt_observer *observer = user;
    if (observer->log) observer->log(observer->user, line);
}

static void log_to_watch(void *user, const char *line)
{
    const watch *w = user;
    log_to_observer((void *)w->observer, line);
}

data_watcher watch_data(watch *w)
{
    return (data_watcher){.user = w, .log = log_to_watch, .go_on = watch_go_on};
}

data_watcher watch_log(const dt_observer *observer)
{
    return (data_watcher){.user = (void *)observer, .log = log_to_observer};
}
