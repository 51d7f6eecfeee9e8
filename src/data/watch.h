/* Between the public observer and work that knows only functions to call. */
#ifndef DATA_WATCH_H
#define DATA_WATCH_H

#include "data/shard_cache.h"

/* Tells how far `task` has come after so many seconds; false when the observer asks to stop. */
bool watch_progress(const dt_observer *observer, const char *task, int64_t done, int64_t count, double seconds);

/* A task of the observer's that began at started_s (base/clock.h). */
typedef struct watch {
    const dt_observer *observer; /* never NULL */
    const char *task;
    double started_s;
} watch;

/* `user` is a watch: tells how far its task has come; false when the observer asks to stop. A count of 0 only asks. */
bool watch_go_on(void *user, int64_t done, int64_t count);

/* The observer as encoding sees it; *w must stay. */
data_watcher watch_data(watch *w);

/* The same of work that is no task of its own: the observer is told what there is to say, but not how far it has come, nor is it asked
 * to stop. */
data_watcher watch_log(const dt_observer *observer);

#endif
