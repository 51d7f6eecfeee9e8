/* Philox-4x32-10 (Salmon, Moraes, Dror, Shaw 2011): four words from a key and a counter. Inline, so that a compiler turns a loop over
 * counters into vectors. */
#ifndef BASE_PHILOX_H
#define BASE_PHILOX_H

#include <stdint.h>

enum { PHILOX_ROUNDS = 10 };

static inline __attribute__((always_inline)) void philox_words(uint32_t out[4], uint64_t key, uint32_t c0, uint32_t c1,
                                                               uint32_t c2, uint32_t c3)
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

#endif
