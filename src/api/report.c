#include "report/report.h"

#include "api/api.h"
#include "api/output_check.h"
#include "api/settings_check.h"

dt_status dt_report(dt_context *c, const dt_settings *s)
{
    error_clear(&c->error);
    if (settings_check(s, SETTINGS_REPORT, &c->error) != DT_OK || output_check(s, SETTINGS_REPORT, &c->error) != DT_OK)
        return c->error.status;
    return report_write(s->output, s->runs, s->title, &c->error);
}
