/* The CPU engine at every level that the machine has, and the kernels for bfloat16 pairs and for tiles of them with their
 * instructions replaced by plain C, which run anywhere. */
#ifndef TESTS_EACH_ENGINE_H
#define TESTS_EACH_ENGINE_H

#include <stdio.h>

#include "cpu/engine_cpu.h"

void cpu_register_gemm_emulated_pairs(engine *e);
void cpu_register_attention_emulated_pairs(engine *e);
void cpu_register_gemm_emulated_amx(engine *e);
void cpu_register_attention_emulated_amx(engine *e);

/* Calls check(engine) from portable upwards. */
static inline void for_each_engine(void (*check)(const engine *e))
{
    for (dt_isa isa = DT_ISA_PORTABLE; isa <= CPU_ISA_HIGHEST; isa++) {
        engine e;
        dt_error err = {0};
        if (engine_cpu_fill(&e, isa, &err) == DT_OK) check(&e);
    }
    engine e;
    dt_error err = {0};
    if (engine_cpu_fill(&e, DT_ISA_PORTABLE, &err) != DT_OK) return;
    cpu_register_gemm_emulated_pairs(&e);
    cpu_register_attention_emulated_pairs(&e);
    snprintf(e.name, sizeof e.name, "cpu emulated_pairs");
    check(&e);
    cpu_register_gemm_emulated_amx(&e);
    cpu_register_attention_emulated_amx(&e);
    snprintf(e.name, sizeof e.name, "cpu emulated_amx");
    check(&e);
}

#endif
