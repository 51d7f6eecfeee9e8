/* Shared by the parts of the statistics: adding rows (statistics.c) and their files (statistics_file.c). */
#ifndef EVAL_STATISTICS_PRIVATE_H
#define EVAL_STATISTICS_PRIVATE_H

#include "eval/statistics.h"

/* Empty statistics of a kind; `adding`: with room for the rows that will come. */
dt_status statistics_prepare(statistics *s, const statistics_kind *kind, bool adding, dt_error *err);

#endif
