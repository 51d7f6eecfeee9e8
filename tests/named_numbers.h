/* Numbers that this program and the scripts of vectors/ make alike from a name, so that no weights need to be stored
 * (vectors/make_unet_vectors.py: numbers_of, weight_of, sketch). */
#ifndef TESTS_NAMED_NUMBERS_H
#define TESTS_NAMED_NUMBERS_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "nn/params.h"

enum { NAMED_SKETCHES = 8 };

/* Where the numbers of a name start: FNV-1a. */
static inline uint64_t named_start(const char *name)
{
    uint64_t start = 0xCBF29CE484222325U;
    for (; *name; name++) start = (start ^ (unsigned char)*name) * 0x100000001B3U;
    return start;
}

/* Number i, in [-1, 1): splitmix64. */
static inline double named_number(uint64_t start, int64_t i)
{
    uint64_t z = start + (uint64_t)(i + 1) * 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return (double)((z ^ (z >> 31)) >> 40) / (1 << 23) - 1;
}

static inline void named_fill(real *values, int64_t count, const char *name)
{
    const uint64_t start = named_start(name);
    for (int64_t i = 0; i < count; i++) values[i] = (real)named_number(start, i);
}

/* Where value i of a row in the order of files lies in its tensor. */
static inline int64_t named_place(const param *row, int64_t i)
{
    const int64_t *d = row->file_dim, area = row->convolution ? d[2] * d[3] : 1;
    return row->convolution ? (i / (d[1] * area) * area + i % area) * d[1] + i / area % d[1] : i;
}

/* A row's weights: norms near one, matrices that keep a variance of one. */
static inline void named_weights(const param *row)
{
    const uint64_t start = named_start(row->name);
    const int64_t count = tensor_count(row->tensor);
    const char *end = strrchr(row->name, '.');
    const bool gain = strstr(row->name, "norm") && !strcmp(end, ".weight");
    const bool tokens = !strncmp(row->name, "class_tokens", strlen("class_tokens"));
    const double size = tokens ? 1 : sqrt(3 / (double)(count / row->file_dim[0]));
    for (int64_t i = 0; i < count; i++) {
        const double u = named_number(start, i), w = row->file_dim_count == 1 ? (gain ? 1 : 0) + 0.2 * u : size * u;
        row->tensor->data[named_place(row, i)] = (real)w;
    }
}

/* Length of a row's gradient g, and its products with fixed vectors. */
static inline void named_sketch(double out[1 + NAMED_SKETCHES], const param *row, const real *g)
{
    const int64_t count = tensor_count(row->tensor);
    double square = 0;
    for (int64_t i = 0; i < count; i++) square += (double)g[i] * (double)g[i];
    out[0] = sqrt(square);
    for (int k = 0; k < NAMED_SKETCHES; k++) {
        char name[192];
        snprintf(name, sizeof name, "%s/%d", row->name, k);
        const uint64_t start = named_start(name);
        out[1 + k] = 0;
        for (int64_t i = 0; i < count; i++) out[1 + k] += named_number(start, i) * (double)g[named_place(row, i)];
    }
}

#endif
