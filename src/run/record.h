/* What becomes of what a run measures: lines of metrics.jsonl, curves of TensorBoard, pictures in samples/. After a failure of
 * the context each does nothing. What is interrupted (DT_ERR_INTERRUPTED) has written nothing. */
#ifndef RUN_RECORD_H
#define RUN_RECORD_H

#include "run/training.h"

/* Finds out what was written down about the step that the run was put at: from then on that is not measured again. */
dt_status record_find(training *r);

dt_status record_step(training *r, const step_result *step, double samples_per_second);
dt_status record_validation(training *r);
dt_status record_grid(training *r);
dt_status record_distance(training *r);
dt_status record_convergence(training *r);

/* Whether samples obey their controls, by the curve of metrics.jsonl and s->convergence_threshold: two values in a row at the
 * threshold, or with none given a jump with CONVERGENCE_SETTLED values behind all places where it may lie. */
enum { CONVERGENCE_SETTLED = 3 };
dt_status record_has_converged(bool *converged, const training *r);

#endif
