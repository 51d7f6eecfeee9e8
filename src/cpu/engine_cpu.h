/* Opens the CPU engine: portable kernels first, then those of the best instruction set the machine has, up to `isa`. */
#ifndef CPU_ENGINE_CPU_H
#define CPU_ENGINE_CPU_H

#include "base/error.h"
#include "tensor/engine.h"

#define CPU_ISA_HIGHEST DT_ISA_AMX /* that any machine may have */

/* DT_ERR_UNSUPPORTED when `isa` names one that this machine or build lacks. */
dt_status engine_cpu_fill(engine *e, dt_isa isa, dt_error *err);

#endif
