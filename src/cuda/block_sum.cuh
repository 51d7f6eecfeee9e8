#ifndef CUDA_BLOCK_SUM_CUH
#define CUDA_BLOCK_SUM_CUH

#include "cuda/device.h"

/* The sum of a number of every thread of the block, added in an order that is always the same; thread 0 has it. Blocks are
 * of CUDA_THREADS. */
static __device__ inline double block_sum(double x)
{
    __shared__ double warps[CUDA_THREADS / 32];
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffff, x, step);
    __syncthreads(); /* the sum before this one has been read */
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
    __syncthreads();
    for (int w = 1; threadIdx.x == 0 && w < CUDA_THREADS / 32; w++) x += warps[w];
    return x;
}

#endif
