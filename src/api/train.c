#include "api/api.h"
#include "api/together.h"
#include "run/forecast.h"
#include "run/loop.h"

dt_status dt_train(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    training r = {0};
    together t;
    observer = together_observer(&t, c, api_observer(observer));
    if (api_enter(c, s, SETTINGS_TRAIN, observer) != DT_OK) return api_leave(c);
    if (training_open(&r, c, s, observer, model_kinds_all) == DT_OK && trainer_check_told(&r.trainer) == DT_OK)
        s->dry_run ? training_try(&r) : training_through(&r);
    training_close(&r);
    return api_leave(c);
}
