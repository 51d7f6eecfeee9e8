/* A context that lasts as long as the target, empty before each input. */
#ifndef FUZZ_CONTEXT_H
#define FUZZ_CONTEXT_H

#include "api/api.h"
#include "engine/open.h"

static ctx context;

static inline ctx *fuzz_context(void)
{
    static bool open;
    if (!open) assert(ctx_open(&context, DT_DEVICE_CPU, 1, DT_ISA_AUTO) == DT_OK);
    open = true;
    api_leave(&context);
    error_clear(&context.error);
    return &context;
}

#endif
