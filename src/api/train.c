#include "api/api.h"
#include "run/loop.h"

dt_status dt_train(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    training r = {0};
    if (api_enter(c, s, SETTINGS_TRAIN) != DT_OK) return c->error.status;
    if (training_open(&r, c, s, api_observer(observer), model_kinds_all) == DT_OK) training_through(&r);
    training_close(&r);
    return api_leave(c);
}
