/* The matrix product for kernels that are already inside a parallel region. */
#ifndef CPU_GEMM_H
#define CPU_GEMM_H

#include "cpu/kernel.h"

/* engine.gemm on the calling thread alone: same arguments, same bits. Not to be called with buffers that gemm itself
 * uses; it has none but its own thread's. */
void CPU_FN(gemm_serial)(real *c, const real *a, const real *b, const real *bias, int64_t m, int64_t n, int64_t k,
                         int64_t lda, int64_t ldb, int64_t ldc, int flags);

/* op(B) [K,N] in the layout that products read, for several products with it. `packed` is 64-byte aligned and has room for
 * gemm_packed_count values; of the flags GEMM_TRANS_B, GEMM_BF16 and GEMM_NARROW_B count. */
void CPU_FN(gemm_pack)(real *packed, const void *b, int64_t n, int64_t k, int64_t ldb, int flags);
int64_t CPU_FN(gemm_packed_count)(int64_t n, int64_t k);

/* C[M,N] = op(A)[M,K] times what gemm_pack made, on the calling thread; flags GEMM_TRANS_A, GEMM_ACCUMULATE, GEMM_NARROW_A
 * and GEMM_BF16, the last as for gemm_pack. The same bits as gemm_serial. */
void CPU_FN(gemm_packed)(real *c, const void *a, const real *packed, int64_t m, int64_t n, int64_t k, int64_t lda,
                         int64_t ldc, int flags);

#endif
