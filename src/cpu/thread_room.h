/* Where each thread keeps what a kernel works on: one block for the kernels of all instruction sets, since a process uses one
 * of them and thread-local memory is taken off a thread's stack. */
#ifndef CPU_THREAD_ROOM_H
#define CPU_THREAD_ROOM_H

#include "base/real.h"

enum {
    ROOM_GEMM_A = 40 << 10,                                    /* numbers: a packed block of rows */
    ROOM_GEMM_B = 384 << 10,                                   /* a packed span of columns */
    ROOM_OPERAND = 64 << 10,                                   /* an operand that attention keeps packed for a head */
    ROOM_SCORES = 24 << 10,                                    /* scores of a block of rows */
    ROOM_SLOPES = 64 << 10,                                    /* gradients of the scores of many blocks */
    ROOM_WIDE = sizeof(real) == sizeof(float) ? 64 << 10 : 64, /* rows of a head before they become narrow */
    ROOM_SUMS = 4 * ROOM_OPERAND + ROOM_SCORES,                /* sums of a product before they become narrow */
};

typedef struct thread_memory {
    _Alignas(64) real gemm_a[ROOM_GEMM_A];
    _Alignas(64) real gemm_b[ROOM_GEMM_B];
    union { /* attention makes no product whose result is narrow */
        struct {
            _Alignas(64) real operand[4][ROOM_OPERAND];
            _Alignas(64) real scores[ROOM_SCORES];
        };
        _Alignas(64) real sums[ROOM_SUMS];
    };
    _Alignas(64) real slopes[ROOM_SLOPES];
    _Alignas(64) real wide[3][ROOM_WIDE];
} thread_memory;

extern _Thread_local thread_memory thread_room;

#endif
