#include "base/rng.h"

#include "base/philox.h"

void rng_words(uint32_t out[4], rng_key key, uint32_t position)
{
    philox_words(out, key.seed, position, key.sample, key.step, (uint32_t)key.purpose);
}

double rng_uniform(rng_key key, uint32_t position)
{
    uint32_t w[4];
    rng_words(w, key, position);
    return (double)(((uint64_t)w[0] << 32 | w[1]) >> 11) * 0x1p-53;
}

uint64_t rng_below(rng_key key, uint32_t position, uint64_t n)
{
    uint32_t w[4];
    rng_words(w, key, position);
    return (uint64_t)(((unsigned __int128)((uint64_t)w[0] << 32 | w[1]) * n) >> 64);
}

void rng_permutation(int32_t *out, int64_t n, rng_key key)
{
    for (int64_t i = 0; i < n; i++) out[i] = (int32_t)i;
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)rng_below(key, (uint32_t)i, (uint64_t)i + 1);
        int32_t swap = out[i];
        out[i] = out[j];
        out[j] = swap;
    }
}
