#include "report/report.h"

#include "api/api.h"

dt_status dt_report(dt_context *c, const dt_settings *s)
{
    if (api_enter(c, s, SETTINGS_REPORT, api_observer(NULL)) == DT_OK)
        report_write(s->output, s->runs, s->title, &c->error);
    return api_leave(c);
}
