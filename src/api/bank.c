#include "method/bank.h"

#include "api/api.h"
#include "model/dit/dit_file.h"
#include "base/clock.h"
#include "run/watch.h"

dt_status dt_bank(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    dit m;
    dit_file_info info = {0};
    char path[DT_PATH_MAX];
    watch w = {api_observer(observer), "bank", clock_s()};
    if (api_enter(c, s, SETTINGS_BANK) != DT_OK) return c->error.status;
    if (dit_file_path(path, s->pretrained_model, &c->error) == DT_OK && dit_load(c, &m, &info, path) == DT_OK)
        bank_make(c, &m, info.sha256, s, watch_go_on, &w);
    dit_file_info_free(&info);
    return api_leave(c);
}
