/* Standard normals, many at a time: loops over arrays, which a compiler turns into vectors. Logarithm, sine and cosine are series of our
 * own in double, good to two last places, of additions, products and a division, which, as the square root, all machines round alike: the
 * same bits with any C library and any vectors. They serve what Box and Muller hand them and nothing else. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/philox.h"
#include "base/rng.h"

#define IN_VECTORS static inline __attribute__((always_inline))

enum { POSITIONS = 64 }; /* at a time */

/* ---- bits of a double ---- */

#define WHOLE_BITS 0x4330000000000000U /* of 2^52: or'ed with a whole number below 2^52, it is that number more */
#define WHOLE      0x1p52
#define FRACTION   0x000fffffffffffffU

IN_VECTORS uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

IN_VECTORS double double_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ---- functions ---- */

/* log(u 2^-32) of a whole number u from 1 to 2^32: u = 2^power (1 + f) with 1 + f from sqrt(1/2) to sqrt(2), and log(1 + f) =
 * 2 atanh(s) with s = f/(2 + f). */
IN_VECTORS double log_of_share(double u)
{
    const uint64_t one = 0x3ff0000000000000U, root_of_half = 0x3fe6a09e667f3bcdU;
    const uint64_t shifted = bits_of(u) + (one - root_of_half);
    const double power = double_of(shifted >> 52 | WHOLE_BITS) - (WHOLE + 1023 + 32);
    const double f = double_of((shifted & FRACTION) + root_of_half) - 1, s = f / (2 + f), z = s * s;
    double series = 2.0 / 21;
    for (int k = 19; k >= 3; k -= 2) series = series * z + 2.0 / k;
    return power * 0.6931471805599453 + (2 * s + s * z * series);
}

typedef struct point {
    double x, y;
} point;

/* Cosine and sine of `b` of 2^32 parts of a turn: of the angle to the nearest quarter turn, by their power series, then turned. */
IN_VECTORS point point_on_circle(uint32_t b)
{
    const uint32_t quarters = (b + 0x20000000U) >> 30;
    const double a = (double)(int32_t)(b - (quarters << 30)) * (6.283185307179586 * 0x1p-32), z = a * a;
    double x = 1, y = 1;
    for (int k = 17; k >= 3; k -= 2) {
        x = 1 - z * (1.0 / ((k - 1) * (k - 2))) * x;
        y = 1 - z * (1.0 / (k * (k - 1))) * y;
    }
    const uint64_t cosine = bits_of(x), sine = bits_of(a * y), swap = 0 - (uint64_t)(quarters & 1);
    const uint64_t x_sign = (uint64_t)((quarters + 1) & 2) << 62, y_sign = (uint64_t)(quarters & 2) << 62;
    return (point){double_of(((cosine & ~swap) | (sine & swap)) ^ x_sign),
                   double_of(((sine & ~swap) | (cosine & swap)) ^ y_sign)};
}

/* ---- a group of positions ---- */

/* Two normals from two words: the radius from a number in (0, 1], the angle from one in [0, 1). */
IN_VECTORS void box_muller(real out[restrict][4], int place, const uint32_t a[POSITIONS], const uint32_t b[POSITIONS])
{
    double radius[POSITIONS], x[POSITIONS], y[POSITIONS];
    for (int i = 0; i < POSITIONS; i++) radius[i] = -2 * log_of_share(double_of(a[i] | WHOLE_BITS) - (WHOLE - 1));
    for (int i = 0; i < POSITIONS; i++) {
        const point on = point_on_circle(b[i]);
        x[i] = on.x, y[i] = on.y;
    }
    for (int i = 0; i < POSITIONS; i++) radius[i] = sqrt(radius[i]);
    for (int i = 0; i < POSITIONS; i++) {
        out[i][place] = (real)(radius[i] * x[i]);
        out[i][place + 1] = (real)(radius[i] * y[i]);
    }
}

/* Those of `first` and the positions after it. */
IN_VECTORS void make_group(real out[restrict][4], rng_key key, uint32_t first)
{
    uint32_t word[4][POSITIONS];
    for (uint32_t i = 0; i < POSITIONS; i++) {
        uint32_t w[4];
        philox_words(w, key.seed, first + i, key.sample, key.step, (uint32_t)key.purpose);
        for (int k = 0; k < 4; k++) word[k][i] = w[k];
    }
    box_muller(out, 0, word[0], word[1]);
    box_muller(out, 2, word[2], word[3]);
}

typedef void group_maker(real out[restrict][4], rng_key key, uint32_t first);

static void make_group_portable(real out[restrict][4], rng_key key, uint32_t first)
{
    make_group(out, key, first);
}

#ifdef __x86_64__
/* AVX2 alone has no fused multiply-add, which would round otherwise. */
__attribute__((target("avx2"))) static void make_group_avx2(real out[restrict][4], rng_key key, uint32_t first)
{
    make_group(out, key, first);
}

static group_maker *best_maker(void)
{
    return __builtin_cpu_supports("avx2") ? make_group_avx2 : make_group_portable;
}
#else
static group_maker *best_maker(void)
{
    return make_group_portable;
}
#endif

void rng_normal(real *out, int64_t count, rng_key key)
{
    real rest[POSITIONS][4];
    group_maker *make = best_maker();
    for (int64_t i = 0; i < count; i += 4 * POSITIONS) {
        const bool whole = count - i >= 4 * POSITIONS;
        make(whole ? (real(*)[4])(out + i) : rest, key, (uint32_t)(i / 4));
        if (!whole) memcpy(out + i, rest, (size_t)(count - i) * sizeof *out);
    }
}
