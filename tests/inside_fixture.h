/* The trainer of a run, opened without its folder, for tests that look at a step. */
#ifndef TESTS_INSIDE_FIXTURE_H
#define TESTS_INSIDE_FIXTURE_H

#include "run_fixture.h"
#include "engine/open.h"
#include "train/trainer.h"

typedef struct inside {
    ctx c;
    dt_settings s;
    trainer t;
} inside;

static inside run;
static const dt_observer nobody = {0};

static inline void open_inside(dt_settings s)
{
    run.s = s;
    assert_int_equal(ctx_open(&run.c, DT_DEVICE_CPU, (int)s.threads, s.isa), DT_OK);
    if (trainer_open(&run.t, &run.c, &run.s, &nobody, model_kinds_all) != DT_OK) fail_msg("%s", run.c.error.message);
}

static inline void close_inside(void)
{
    trainer_close(&run.t);
    ctx_close(&run.c);
}

static inline step_result step_inside(void)
{
    step_result r;
    if (!trainer_step(&run.t, &r)) fail_msg("%s", run.c.error.message);
    return r;
}

#endif
