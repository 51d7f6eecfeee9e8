/* What a call of a kernel works on: arrays that a seed fills, between guard zones, for kernel_cases.h to hand over and for
 * check_kernels.c to compare and to measure. */
#ifndef TESTS_KERNEL_WORK_H
#define TESTS_KERNEL_WORK_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/half.h"
#include "tensor/engine.h"

enum { ARRAYS_MAX = 16, GUARD = 32, GUARD_WORD = 0xe5a5 };
static const float GUARD_VALUE = -7.125e20F;

/* Batch, tokens (or rows) and width of one case; extreme: values at the ends of what a kernel must take. */
typedef struct dims {
    int64_t n, s, d;
    bool extreme;
} dims;

/* One array of a kernel call, between guard zones. Outputs are compared with
 * |a - b| <= tolerance * (1 + |a|), inputs must come back unchanged, which tolerance 0 says. */
typedef struct array {
    float *memory;
    int64_t count;
    double tolerance;
    double bytes; /* of it that a call moves */
    bool packed;  /* holds bfloat16, behind which guard words fill what float would take up */
} array;

/* What one check has allocated and done. The same seed gives the same contents on every engine. */
typedef struct work {
    const engine *engine; /* NULL: the process's memory will do */
    bool narrow;          /* the entry's narrow arrays hold rounded numbers, in 16 bits if the engine takes them so */
    array arrays[ARRAYS_MAX];
    int count, laps;
    uint64_t seed;
    double lap_start, best_seconds;
    double flops, bytes; /* of one call; flops 0: judged by bytes */
} work;

typedef struct check {
    const char *name;
    size_t offset;
    bool narrow; /* takes narrow arrays */
    void (*run)(work *w, const engine *e, dims z);
} check;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float uniform(work *w, float low, float high)
{
    w->seed = w->seed * 6364136223846793005U + 1442695040888963407U;
    return low + (high - low) * (float)(w->seed >> 40) * 0x1p-24F;
}

/* Memory that the engine's kernels and this program reach. A device's is not given back before the end. */
static void *new_memory(const work *w, size_t bytes)
{
    const bool on_device = w->engine && w->engine->memory.backing;
    void *memory = on_device ? w->engine->memory.shared(bytes) : aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!memory) abort();
    return memory;
}

static void free_memory(const work *w, void *memory)
{
    if (!w->engine || !w->engine->memory.backing) free(memory);
}

static float *new_array(work *w, int64_t count, double tolerance, float low, float high)
{
    float *memory = new_memory(w, (size_t)(count + 2 * GUARD) * sizeof *memory);
    if (w->count == ARRAYS_MAX) abort();
    for (int64_t i = 0; i < GUARD; i++) memory[i] = memory[GUARD + count + i] = GUARD_VALUE;
    for (int64_t i = 0; i < count; i++) memory[GUARD + i] = uniform(w, low, high);
    w->arrays[w->count++] = (array){.memory = memory, .count = count, .tolerance = tolerance};
    return memory + GUARD;
}

/* Counts how often a call moves the array made last. */
static float *moved(work *w, float *x, int times)
{
    array *last = &w->arrays[w->count - 1];
    last->bytes = (double)times * sizeof *x * (double)last->count;
    w->bytes += last->bytes;
    return x;
}

static float *input_between(work *w, int64_t count, float low, float high)
{
    return moved(w, new_array(w, count, 0, low, high), 1);
}

static float *input(work *w, int64_t count)
{
    return input_between(w, count, -2, 2);
}

/* An output that the kernel only writes. */
static float *output(work *w, int64_t count, double tolerance)
{
    return moved(w, new_array(w, count, tolerance, -2, 2), 1);
}

/* An output that the kernel adds to or changes. */
static float *updated(work *w, int64_t count, double tolerance)
{
    return moved(w, new_array(w, count, tolerance, -2, 2), 2);
}

/* What the calls of a narrow comparison get; the other engine computes with float on the same numbers. */
static int narrow_flag(const work *w)
{
    return w->narrow && w->engine->narrow ? NARROW : 0;
}

/* The array made last, at x, is one of the entry's narrow arrays. */
static float *narrowed(work *w, float *x)
{
    array *last = &w->arrays[w->count - 1];
    uint16_t *words = (uint16_t *)x;
    if (!w->narrow) return x;
    if (last->tolerance > 0) last->tolerance = 0x1p-8;
    for (int64_t i = 0; i < last->count; i++) x[i] = half_f32_from_bf16(half_bf16_from_f32(x[i]));
    if (!narrow_flag(w)) return x;
    for (int64_t i = 0; i < last->count; i++) words[i] = half_bf16_from_f32(x[i]);
    for (int64_t i = last->count; i < 2 * last->count; i++) words[i] = GUARD_WORD;
    last->packed = true;
    w->bytes -= last->bytes / 2;
    return x;
}

/* Arguments of an activation function. */
static float *activations(work *w, dims z, int64_t count)
{
    static const float ends[] = {0,      -0.0F, 1e-30F, -1e-38F, 1e-42F, 20,   -20,   88.5F,
                                 -88.5F, 104,   -104,   1e4F,    -1e4F,  1e5F, -1e5F, 0.6F};
    float *x = input_between(w, count, -6, 6);
    for (int64_t i = 0; z.extreme && i < count; i++) x[i] = ends[i % 16];
    return x;
}

static void start_laps(work *w)
{
    w->best_seconds = INFINITY;
    w->lap_start = seconds();
}

static void end_lap(work *w)
{
    dt_error err = {0};
    if (w->engine && w->engine->memory.finish(&err) != DT_OK) {
        printf("    %s\n", err.message);
        exit(1);
    }
    double now = seconds();
    w->best_seconds = fmin(w->best_seconds, now - w->lap_start);
    w->lap_start = now;
}

/* Calls the kernel once, or as often as a measurement wants. */
#define CALL(w, call)                                                                                                  \
    do {                                                                                                               \
        start_laps(w);                                                                                                 \
        for (int lap = 0; lap < (w)->laps; lap++) {                                                                    \
            call;                                                                                                      \
            end_lap(w);                                                                                                \
        }                                                                                                              \
    } while (0)

#endif
