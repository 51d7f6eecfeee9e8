/* A distance as a line of metrics.jsonl, for runs that measure on the way and for what is measured after them. */
#ifndef RUN_EVAL_RECORD_H
#define RUN_EVAL_RECORD_H

#include <jansson.h>

#include "difftune.h"

/* NULL when memory is short. */
json_t *eval_record(const dt_eval_result *r, int64_t step);

#endif
