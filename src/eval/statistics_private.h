/* Shared by the parts of the statistics: adding rows (statistics.c) and their files (statistics_file.c). */
#ifndef EVAL_STATISTICS_PRIVATE_H
#define EVAL_STATISTICS_PRIVATE_H

#include "eval/statistics.h"

enum { STATISTICS_BLOCK_ROWS = 64 };

/* Empty statistics of a kind; `adding`: with room for the rows that will come. */
dt_status statistics_prepare(statistics *s, const statistics_kind *kind, bool adding, dt_error *err);

/* Room for `count` kept rows in all. */
dt_status statistics_reserve_rows(statistics *s, int64_t count, dt_error *err);

#endif
