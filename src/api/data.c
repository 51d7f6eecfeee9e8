#include <stdio.h>

#include "api/api.h"
#include "prepare/published.h"
#include "base/clock.h"
#include "data/watch.h"

static dt_status prepare(ctx *c, const char *name, const char *folder, const dt_settings *s,
                         const dt_observer *observer, dt_prepared *result)
{
    const published *set;
    listing l = {0};
    watch w = {observer, "link", clock_s()};
    if (published_find(&set, name, &c->error) != DT_OK) return c->error.status;
    if (published_read(&l, set, folder, &c->error) == DT_OK &&
        listing_link(&l, name, s->output_dir, watch_go_on, &w, &result->made, &c->error) == DT_OK) {
        snprintf(result->title, sizeof result->title, "%s", set->title);
        snprintf(result->split_source, sizeof result->split_source, "%s", l.described);
        snprintf(result->first_missing, sizeof result->first_missing, "%s", l.first_missing);
        result->found = listing_counts(&l);
        result->published = set->counts;
        result->missing = l.missing;
    }
    listing_close(&l);
    return c->error.status;
}

dt_status dt_data_prepare(dt_context *c, const char *name, const char *folder, const dt_settings *s,
                          const dt_observer *observer, dt_prepared *result)
{
    *result = (dt_prepared){0};
    observer = api_observer(observer);
    if (api_enter(c, s, SETTINGS_DATA, observer) == DT_OK) prepare(c, name, folder, s, observer, result);
    return api_leave(c);
}
