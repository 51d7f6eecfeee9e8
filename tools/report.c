#include "cli.h"

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    (void)observer;
    return dt_report(ctx, s);
}

const verb report_verb = {
    .name = "report",
    .summary = "one HTML page about one or more run folders",
    .description = "Writes one self-contained HTML page about the run folders of --runs: curves, the table of "
                   "distances, sample grids side by side, settings.",
    .example = "  difftune report --runs run_plain,run_difftuning --output report.html --title \"My images\"\n",
    .keys = SETTINGS_REPORT,
    .run = run,
};
