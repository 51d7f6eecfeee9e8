#include "run/eval_record.h"

#include <math.h>

#include "file/json_file.h"

json_t *eval_record(const dt_eval_result *r, int64_t step)
{
    const struct {
        const char *key;
        double value;
    } numbers[] = {{"frechet_distance", r->frechet_distance},
                   {"kernel_distance", r->kernel_distance},
                   {"kernel_distance_std", r->kernel_distance_std},
                   {"spatial_frechet_distance", r->spatial_frechet_distance},
                   {"inception_score", r->inception_score},
                   {"precision", r->precision},
                   {"recall", r->recall}},
      copies[] = {{"copied", r->copied}, {"copied_held_out", r->copied_held_out}, {"nearest_ratio", r->nearest_ratio}};
    json_t *record = json_pack("{s:s, s:I, s:s}", "kind", "eval", "step", (json_int_t)step, "measure", r->measure);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        json_put(&record, numbers[i].key, json_number(numbers[i].value));
    for (size_t i = 0; !isnan(r->copied) && i < sizeof copies / sizeof *copies; i++)
        json_put(&record, copies[i].key, json_number(copies[i].value));
    json_put(&record, "count", json_integer(r->candidate_count));
    json_put(&record, "reference_count", json_integer(r->reference_count));
    return record;
}
