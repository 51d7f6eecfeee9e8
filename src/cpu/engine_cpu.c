#include "cpu/engine_cpu.h"

#include <stdio.h>
#include <string.h>

/* The kernel files, each compiled once per instruction set. */
#define KERNEL_FILES(X, isa)                                                                                           \
    X(gemm, isa)                                                                                                       \
    X(attention, isa) X(elementwise, isa) X(norm, isa) X(layout, isa) X(loss, isa) X(adamw, isa) X(conv, isa)
#define DECLARE(file, isa)  void cpu_register_##file##_##isa(engine *e);
#define REGISTER(file, isa) cpu_register_##file##_##isa(e);

KERNEL_FILES(DECLARE, portable)
#ifdef DT_HAVE_AVX2
KERNEL_FILES(DECLARE, avx2)
#endif

static bool machine_has_avx2(void)
{
#ifdef DT_HAVE_AVX2
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
#else
    return false;
#endif
}

dt_status engine_cpu_fill(engine *e, dt_isa isa, dt_error *err)
{
    memset(e, 0, sizeof *e);
    if (isa == DT_ISA_AVX2 && !machine_has_avx2())
        return error_set(err, DT_ERR_UNSUPPORTED, "isa avx2: this machine or build does not have it");
    snprintf(e->name, sizeof e->name, "cpu portable");
    KERNEL_FILES(REGISTER, portable)
#ifdef DT_HAVE_AVX2
    if (isa != DT_ISA_PORTABLE && machine_has_avx2()) {
        snprintf(e->name, sizeof e->name, "cpu avx2");
        KERNEL_FILES(REGISTER, avx2)
    }
#endif
    return DT_OK;
}
