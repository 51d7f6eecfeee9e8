/* What a study knows by now, as the table that its page and its CSV files are written from. */
#ifndef STUDY_COLLECT_H
#define STUDY_COLLECT_H

#include "report/study_table.h"
#include "study/experiment.h"
#include "study/grid.h"
#include "study/plan.h"

typedef struct study_collection {
    study_table table; /* it points into what it was collected from, which must stay */
    run *runs;         /* of each case; one that is not there, or cannot be read, is empty */
    int run_count;
} study_collection;

/* Reads the runs' logs and what the experiment keeps. On failure *out is closed. */
dt_status study_collect(study_collection *out, const settings_study *file, const study_grid *grid,
                        const study_plan *plan, const experiment *e, dt_error *err);
void study_collection_close(study_collection *s);

#endif
