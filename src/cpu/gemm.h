/* The matrix product for kernels that are already inside a parallel region. */
#ifndef CPU_GEMM_H
#define CPU_GEMM_H

#include "cpu/kernel.h"

/* engine.gemm on the calling thread alone: same arguments, same bits. Not to be called with buffers that gemm itself
 * uses; it has none but its own thread's. */
void CPU_FN(gemm_serial)(real *c, const real *a, const real *b, const real *bias, int64_t m, int64_t n, int64_t k,
                         int64_t lda, int64_t ldb, int64_t ldc, int flags);

#endif
