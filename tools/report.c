#include "cli.h"

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    (void)observer;
    return dt_report(ctx, s);
}

const verb report_verb = {
    .section = VERB_STEP,
    .name = "report",
    .summary = "writes one HTML page about one or more runs",
    .description = "Writes one self-contained HTML page about the run folders of --runs: what came out, curves, "
                   "distances, sample grids side by side, and where the settings differ. The folder of an experiment "
                   "(difftune run) stands for all its runs, and a folder of difftune chain, or one called chain in a "
                   "run's, for what it measured; a folder of difftune diagnose for the transfer gap.",
    .example = "  difftune report --runs run --output report.html\n"
               "  difftune report --runs run_plain,run_difftuning --output report.html --title \"My images\"\n",
    .needs = "runs output",
    .often = "title",
    .keys = SETTINGS_REPORT,
    .in_one_piece = true,
    .run = run,
};
