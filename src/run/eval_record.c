#include "run/eval_record.h"

#include <math.h>

#include "eval/eval_values.h"
#include "file/json_file.h"

json_t *eval_record(const dt_eval_result *r, int64_t step)
{
    const int count = isnan(r->copied) ? EVAL_DISTANCES : EVAL_VALUES;
    json_t *record = json_pack("{s:s, s:I, s:s}", "kind", "eval", "step", (json_int_t)step, "measure", r->measure);
    for (int i = 0; i < count; i++) json_put(&record, eval_values[i].name, json_number(eval_value_of(r, i)));
    json_put(&record, "count", json_integer(r->candidate_count));
    json_put(&record, "reference_count", json_integer(r->reference_count));
    return record;
}
