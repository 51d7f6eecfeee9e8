/* The report: one HTML page about run folders, with everything in it (style, charts, images) and no script. */
#ifndef REPORT_REPORT_H
#define REPORT_REPORT_H

#include "base/error.h"

/* Writes the page to `output`, replacing it whole or not at all. `runs`: run folders, separated by commas, in
 * the order of the page, one at least; the folder of an experiment stands for the runs of its arms, one of difftune chain, by itself
 * or as chain/ in a run's, for what it measured, and one of difftune diagnose for what it found. `title` may be empty.
 * Errors: DT_ERR_ARG (no folder), those of run_open for a folder that is not one, DT_ERR_FORMAT for an experiment.json
 * that is none, DT_ERR_FORMAT for a sample grid that is no PNG, DT_ERR_IO when the page cannot be written. */
dt_status report_write(const char *output, const char *runs, const char *title, dt_error *err);

#endif
