#include "method/bank.h"

#include "api/api.h"
#include "model/dit_file.h"
#include "base/clock.h"

typedef struct watch_state {
    const dt_observer *observer;
    double started_s;
} watch_state;

static bool watch(void *user, int64_t done, int64_t count)
{
    const watch_state *w = user;
    return api_progress(w->observer, "bank", done, count, clock_s() - w->started_s);
}

dt_status dt_bank(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    dit m;
    dit_file_info info = {0};
    char path[DT_PATH_MAX];
    watch_state state = {api_observer(observer), clock_s()};
    if (api_enter(c, s, SETTINGS_BANK) != DT_OK) return c->error.status;
    if (dit_file_path(path, s->pretrained_model, &c->error) == DT_OK && dit_load(c, &m, &info, path) == DT_OK)
        bank_make(c, &m, info.sha256, s, watch, &state);
    dit_file_info_free(&info);
    return api_leave(c);
}
