/* W numbers that a thread moves with one access, of arrays of float32 or of bfloat16; in registers they are float32. */
#ifndef CUDA_PACK_CUH
#define CUDA_PACK_CUH

#include "cuda/device.h"

typedef __nv_bfloat16 bf16;

template <int W> struct alignas(W < 4 ? W * sizeof(real) : 16) pack {
    real v[W];
};

/* In words of two, the first in the lower half: the compiler moves an array of bf16 or of its pairs word by word. */
template <int W> struct alignas(W * sizeof(bf16)) narrow_pack {
    uint32_t words[W / 2];
};

template <int W> static __device__ pack<W> load(const real *x)
{
    return *(const pack<W> *)x;
}

template <int W> static __device__ pack<W> load(const bf16 *x)
{
    pack<W> p;
    if constexpr (W == 1) {
        p.v[0] = __bfloat162float(*x);
    } else {
        narrow_pack<W> from = *(const narrow_pack<W> *)x;
        for (int u = 0; u < W; u += 2) {
            p.v[u] = __uint_as_float(from.words[u / 2] << 16);
            p.v[u + 1] = __uint_as_float(from.words[u / 2] & 0xffff0000);
        }
    }
    return p;
}

template <int W> static __device__ void store(real *y, pack<W> p)
{
    *(pack<W> *)y = p;
}

/* Rounds to nearest even. */
template <int W> static __device__ void store(bf16 *y, pack<W> p)
{
    if constexpr (W == 1) {
        *y = __float2bfloat16_rn(p.v[0]);
    } else {
        narrow_pack<W> to;
        for (int u = 0; u < W; u += 2) {
            __nv_bfloat162 pair = __floats2bfloat162_rn(p.v[u], p.v[u + 1]);
            to.words[u / 2] = *(const uint32_t *)&pair;
        }
        *(narrow_pack<W> *)y = to;
    }
}

template <class... T> static bool on_16_bytes(const T *...arrays)
{
    return (((uintptr_t)arrays | ...) % 16) == 0;
}

#endif
