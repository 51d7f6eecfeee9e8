/* A context for each test, opened and closed by cmocka's set-up and tear-down. */
#ifndef TESTS_CONTEXT_FIXTURE_H
#define TESTS_CONTEXT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/open.h"

static ctx context;

static inline int context_make(void **state)
{
    (void)state;
    return ctx_open(&context, DT_DEVICE_CPU, 2, DT_ISA_AUTO) == DT_OK ? 0 : -1;
}

static inline int context_remove(void **state)
{
    (void)state;
    ctx_close(&context);
    return 0;
}

#endif
