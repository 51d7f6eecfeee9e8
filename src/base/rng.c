#include "base/rng.h"

#include <math.h>

static void philox_round(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ c[1] ^ k0, (uint32_t)p1, (uint32_t)(p0 >> 32) ^ c[3] ^ k1, (uint32_t)p0};
    for (int i = 0; i < 4; i++) c[i] = next[i];
}

/* The key is the seed; the counter is (position, sample, step, purpose). */
void rng_words(uint32_t out[4], rng_key key, uint32_t position)
{
    uint32_t c[4] = {position, key.sample, key.step, (uint32_t)key.purpose};
    uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);
    for (int round = 0; round < 10; round++) {
        philox_round(c, k0, k1);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < 4; i++) out[i] = c[i];
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

/* Two normals from two words: the radius from a number in (0, 1], the angle from one in [0, 1). */
static void box_muller(real out[2], uint32_t a, uint32_t b)
{
    double radius = sqrt(-2.0 * log(((double)a + 1.0) * 0x1p-32));
    double angle = 6.283185307179586 * ((double)b * 0x1p-32);
    out[0] = (real)(radius * cos(angle));
    out[1] = (real)(radius * sin(angle));
}

void rng_normal(real *out, int64_t count, rng_key key)
{
    for (int64_t i = 0; i < count; i += 4) {
        uint32_t w[4];
        real z[4];
        rng_words(w, key, (uint32_t)(i / 4));
        box_muller(z, w[0], w[1]);
        box_muller(z + 2, w[2], w[3]);
        for (int64_t j = 0; j < 4 && i + j < count; j++) out[i + j] = z[j];
    }
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
