/* How CPU kernels are compiled. Each kernel file is compiled once per instruction set; CPU_FN gives its functions a name
 * of their own for each (attention_fwd_portable, attention_fwd_avx2), and the file's register function overwrites its
 * entries in the engine table. The source is the same plain C: what differs is what the compiler may use. */
#ifndef CPU_KERNEL_H
#define CPU_KERNEL_H

#include <math.h>
#include <stdint.h>

#include "tensor/engine.h"

#ifndef CPU_ISA
#define CPU_ISA portable
#endif

#define CPU_JOIN_(name, isa) name##_##isa
#define CPU_JOIN(name, isa)  CPU_JOIN_(name, isa)
#define CPU_FN(name)         CPU_JOIN(name, CPU_ISA)

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
