/* The CPU engine at every level that the machine has. */
#ifndef TESTS_EACH_ENGINE_H
#define TESTS_EACH_ENGINE_H

#include "cpu/engine_cpu.h"

/* Calls check(engine) from portable upwards. */
static inline void for_each_engine(void (*check)(const engine *e))
{
    for (dt_isa isa = DT_ISA_PORTABLE; isa <= DT_ISA_AVX512BF16; isa++) {
        engine e;
        dt_error err = {0};
        if (engine_cpu_fill(&e, isa, &err) == DT_OK) check(&e);
    }
}

#endif
