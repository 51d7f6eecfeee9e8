/* Numbers made by the formula of vectors/formula.py: the same values in Python and here, so that networks of many megabytes
 * and pictures need not be kept to be proven. */
#ifndef TESTS_FORMULA_H
#define TESTS_FORMULA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "image/image.h"

/* In [-1,1), exact. */
static inline double noise(uint64_t seed, int64_t index)
{
    uint64_t x = seed + (uint64_t)index + 0x9E3779B97F4A7C15;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    x ^= x >> 31;
    return (double)(x >> 32) / 0x1p31 - 1;
}

static inline uint64_t seed_of(const char *name)
{
    uint64_t value = 0xCBF29CE484222325;
    for (; *name; name++) value = (value ^ (uint8_t)*name) * 0x100000001B3;
    return value;
}

/* Smooth and rough parts in turn. */
static inline image picture(const char *name, int64_t width, int64_t height)
{
    image im;
    dt_error err = {0};
    assert_int_equal(image_alloc(&im, width, height, &err), DT_OK);
    uint64_t seed = seed_of(name);
    for (int64_t i = 0; i < width * height * 3; i++) {
        int64_t c = i % 3, x = i / 3 % width, y = i / 3 / width;
        int64_t rough = (int64_t)((noise(seed, i) + 1) * 128);
        int64_t smooth = (x * 200 / width + y * 50 / height + c * 20) % 256;
        im.rgb[i] = (uint8_t)((x * 4 / width + y * 4 / height) % 2 == 0 ? rough : smooth);
    }
    return im;
}

#endif
