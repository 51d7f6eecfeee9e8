/* Makes the stages of a plan that are not finished, one after the other, in the folder of an experiment. */
#ifndef STUDY_RUNNER_H
#define STUDY_RUNNER_H

#include "study/experiment.h"
#include "study/plan.h"
#include "tensor/context.h"

typedef struct runner {
    ctx *c;
    const dt_observer *observer;
    const study_plan *plan;
    experiment *experiment;
    /* Of each stage. One that failed, or whose needs did, is not tried again in this call. */
    bool *done, *failed;
    dt_error first_failure; /* of a study */
    int64_t failures;       /* stages that were tried in vain */
    /* Of a study, after each stage that was made or failed; may be NULL. */
    void (*after)(void *user, const study_stage *stage);
    void *after_user;
} runner;

/* Finds out what is finished; nothing is written. DT_ERR_CONFLICT: a finished stage is another one than this plan's. On failure
 * *r is closed. The members above `done` are filled by the caller. */
dt_status runner_open(runner *r);
void runner_close(runner *r);

static inline int runner_number(const runner *r, const study_stage *stage)
{
    return (int)(stage - r->plan->stage);
}

/* Makes all that is left. An experiment ends with the first failure. A study ends with DT_OK although stages failed, unless the
 * call is to stop. */
dt_status runner_run(runner *r);

#endif
