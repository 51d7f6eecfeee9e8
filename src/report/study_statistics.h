/* What a few numbers of one kind say: mean, spread, and how sure the mean is. Values that are NaN are left out. */
#ifndef REPORT_STUDY_STATISTICS_H
#define REPORT_STUDY_STATISTICS_H

#include "report/study_table.h"

typedef struct study_summary {
    int count;
    double mean;      /* NaN: of nothing */
    double sd;        /* divides by count - 1; NaN: of fewer than two */
    double low, high; /* 95 % interval of the mean by Student's t; NaN: of fewer than two */
} study_summary;

study_summary study_summarise(const double value[], int count);

/* Of one arm on a data set, over seeds. */
study_summary study_over_seeds(const study_table *t, study_measure measure, int arm, int data, int way);

/* How a difference is taken: as it is, or in percent of the other arm's value where that is above 0. */
typedef enum study_difference { STUDY_ABSOLUTE, STUDY_PERCENT } study_difference;

/* Of the differences between an arm and the first one, pair by pair: same data set, seed and way to draw. `data` < 0: over all
 * data sets, where each pair counts as one of its own. The count is that of the pairs. */
study_summary study_against_first(const study_table *t, study_measure measure, int arm, int data, int way,
                                  study_difference how);

/* The same between a way to draw and the first one, of the same training. */
study_summary study_against_first_way(const study_table *t, study_measure measure, int arm, int way,
                                      study_difference how);

#endif
