/* Whole runs of networks that src/ does not know; comes behind run_fixture.h. */
#ifndef TESTS_KINDS_RUN_H
#define TESTS_KINDS_RUN_H

#include "run/loop.h"

/* One call of a run with networks of these kinds, asked to stop before its step number `stop_before` (< 0: never). `opened` (may be NULL)
 * is called between opening and the first step. What it said is in fixture_log and fixture_message. */
static inline dt_status kinds_run(const dt_settings *s, model_kinds kinds, int64_t stop_before,
                                  void (*opened)(trainer *t))
{
    ctx c;
    training t;
    fixture_watch watch = {.stop_before = stop_before};
    const dt_observer observer = {.user = &watch, .log = fixture_collect, .should_stop = fixture_stop};
    fixture_log[0] = '\0';
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, (int)s->threads, s->isa), DT_OK);
    if (training_open(&t, &c, s, &observer, kinds) == DT_OK) {
        if (opened) opened(&t.trainer);
        training_through(&t);
    }
    const dt_status status = c.error.status;
    snprintf(fixture_message, sizeof fixture_message, "%s", c.error.message);
    training_close(&t);
    ctx_close(&c);
    return status;
}

#endif
