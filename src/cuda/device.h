/* What the CUDA kernels share: one stream, on which everything runs in order, room for a kernel's own intermediate numbers,
 * and one place where errors are noted. Arrays that a kernel is handed lie on the device. */
#ifndef CUDA_DEVICE_H
#define CUDA_DEVICE_H

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdint.h>

extern "C" {
#include "tensor/engine.h"
}

enum { CUDA_THREADS = 256 }; /* of a block, where nothing speaks for another number */

extern cudaStream_t cuda_stream;

/* Memory for what one kernel call keeps between its launches; the next call may be given the same. NULL after a failure,
 * which is noted. */
void *cuda_room(size_t bytes);
/* The same beside it, for windows of images: what is there stays while a product uses the other. */
void *cuda_windows_room(size_t bytes);

/* engine.gemm */
void cuda_gemm(real *c, const real *a, const real *b, const real *bias, int64_t m, int64_t n, int64_t k, int64_t lda,
               int64_t ldb, int64_t ldc, int flags);

/* Remembers the first failure; whoever waits for the device next reports it (engine_cuda.cu). */
void cuda_note(cudaError_t status, const char *what);

/* Behind every launch. */
#define CUDA_LAUNCHED(what) cuda_note(cudaGetLastError(), what)

static inline unsigned cuda_blocks(int64_t count, int64_t per_block)
{
    return (unsigned)((count + per_block - 1) / per_block);
}

/* Of the thread in its warp. */
static __device__ inline int lane(void)
{
    return threadIdx.x % 32;
}

static __device__ inline int64_t thread_of_grid(void)
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

#endif
