/* What a machine's arithmetic can reach at most: chains of multiply-adds that never leave the registers, in the widest
 * vectors the machine has. The ceiling that measurements are given as a share of. */
#ifndef BENCH_REGISTER_LOOP_H
#define BENCH_REGISTER_LOOP_H

#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <stdint.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { REGISTER_CHAINS = 12, REGISTER_STEPS = 100000 };

/* A function that does REGISTER_STEPS rounds of independent chains and returns the floating-point operations in them. */
#define REGISTER_LOOP(name, attribute, vector, multiply_add, flops_each)                                               \
    attribute static double name(void)                                                                                 \
    {                                                                                                                  \
        vector sum[REGISTER_CHAINS];                                                                                   \
        for (int i = 0; i < REGISTER_CHAINS; i++) sum[i] = (vector){0};                                                \
        for (int64_t step = 0; step < REGISTER_STEPS; step++)                                                          \
            _Pragma("GCC unroll 12") for (int i = 0; i < REGISTER_CHAINS; i++) sum[i] = multiply_add(sum[i]);          \
        __asm__ volatile("" : : "r"(sum) : "memory");                                                                  \
        return (double)(flops_each)*REGISTER_CHAINS * REGISTER_STEPS;                                                  \
    }

#ifdef __x86_64__
#define HALVE_8(x)   _mm256_fmadd_ps(x, _mm256_set1_ps(0.5F), _mm256_set1_ps(0.5F))
#define HALVE_16(x)  _mm512_fmadd_ps(x, _mm512_set1_ps(0.5F), _mm512_set1_ps(0.5F))
#define ADD_PAIRS(x) _mm512_dpbf16_ps(x, (__m512bh)_mm512_set1_epi16(0x3f00), (__m512bh)_mm512_set1_epi16(0x3f00))
REGISTER_LOOP(register_loop_avx2, __attribute__((target("avx2,fma"))), __m256, HALVE_8, 16)
REGISTER_LOOP(register_loop_avx512, __attribute__((target("avx512f"))), __m512, HALVE_16, 32)
REGISTER_LOOP(register_loop_avx512_bf16, __attribute__((target("avx512f,avx512bf16"))), __m512, ADD_PAIRS, 64)

/* Matrix registers full of zeros: four chains. */
__attribute__((target("amx-tile,amx-bf16"))) static double register_loop_amx(void)
{
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } whole = {.palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&whole);
    for (int64_t step = 0; step < REGISTER_STEPS; step++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
    return 4.0 * 2 * 16 * 16 * 32 * REGISTER_STEPS;
}

/* The kernel lets a process use matrix registers after it has asked, which opening an engine does. */
static inline bool register_has_amx(void)
{
    unsigned a, b, c, d;
    unsigned long granted = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & 1U << 22) || !(d & 1U << 24)) return false;
    return syscall(SYS_arch_prctl, 0x1022 /* ARCH_GET_XCOMP_PERM */, &granted) == 0 && granted & 1UL << 18;
}
#endif

typedef float register_vector __attribute__((vector_size(16)));
#define HALVE_4(x) ((x)*0.5F + 0.5F)
REGISTER_LOOP(register_loop_plain, , register_vector, HALVE_4, 8)

typedef double register_loop(void);

/* bf16: of products of bfloat16 pairs with f32 sums, where the machine has an instruction for it; otherwise the same as
 * f32. */
static inline register_loop *register_loop_of(bool bf16)
{
#ifdef __x86_64__
    if (bf16 && register_has_amx()) return register_loop_amx;
    if (bf16 && __builtin_cpu_supports("avx512bf16")) return register_loop_avx512_bf16;
    if (__builtin_cpu_supports("avx512f")) return register_loop_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return register_loop_avx2;
#endif
    (void)bf16;
    return register_loop_plain;
}

/* The best of `laps` laps of about half a millisecond, in GFLOP/s of all threads together. */
static inline double register_peak_gflops(int threads, bool bf16, int laps)
{
    register_loop *loop = register_loop_of(bf16);
    double best = 0;
    for (int lap = 0; lap < laps; lap++) {
        double start = omp_get_wtime(), flops = 0;
#pragma omp parallel num_threads(threads) reduction(+ : flops)
        flops += loop();
        best = fmax(best, flops / (omp_get_wtime() - start));
    }
    return best / 1e9;
}

#endif
