/* Networks of annotators with the weights of vectors/depth_reference.py, from a list of their tensors' names and shapes. The folder
 * of the list and of the expected values is the test's argument, vectors/ without one. */
#ifndef TESTS_ANNOTATOR_FIXTURE_H
#define TESTS_ANNOTATOR_FIXTURE_H

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "context_fixture.h"
#include "formula.h"
#include "temp_folder.h"

#include "container/safetensors.h"
#include "container/tensor_open.h"

enum { WEIGHTS_MAX = 640 };

typedef struct weight {
    char name[96];
    int64_t dims[4], count;
    int dim_count;
    float *values;
} weight;

static const char *vectors_folder = "vectors";
static weight weights[WEIGHTS_MAX];
static int weight_count;

static inline bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && !strcmp(text + length - tail, end);
}

static inline void fill_weight(weight *w)
{
    double offset = 0, scale = 0.25;
    if (w->dim_count >= 2 && ends_with(w->name, "weight"))
        scale = sqrt(3 / (double)(w->count / w->dims[0]));
    else if (ends_with(w->name, "weight") || ends_with(w->name, "running_var"))
        offset = 1;
    else if (!strcmp(w->name, "scratch.output_conv.4.bias"))
        offset = 1.5;
    w->values = calloc(2 * (size_t)w->count, sizeof *w->values); /* room for a last dimension of 2 in place of 1 */
    assert_non_null(w->values);
    const uint64_t seed = seed_of(w->name);
    for (int64_t i = 0; i < w->count; i++) w->values[i] = (float)(offset + scale * noise(seed, i));
}

/* Makes the tensors that the list names. */
static inline void make_weights(const char *list)
{
    char path[512], line[256];
    snprintf(path, sizeof path, "%s/%s", vectors_folder, list);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (weight_count = 0; fgets(line, sizeof line, f); weight_count++) {
        weight *w = &weights[weight_count];
        *w = (weight){.count = 1};
        int at = 0, next;
        assert_true(weight_count < WEIGHTS_MAX);
        assert_int_equal(sscanf(line, "%95s%n", w->name, &at), 1);
        while (w->dim_count < 4 && sscanf(line + at, "%" SCNd64 "%n", &w->dims[w->dim_count], &next) == 1) {
            w->count *= w->dims[w->dim_count++];
            at += next;
        }
        fill_weight(w);
    }
    fclose(f);
}

static inline void free_weights(void)
{
    for (int i = 0; i < weight_count; i++) free(weights[i].values);
    weight_count = 0;
}

/* Writes them, each name behind `prefix`, but for number `left_out`; -1: all. */
static inline const char *write_weights(const char *name, const char *prefix, int left_out)
{
    static char names[WEIGHTS_MAX][128];
    static tensor_source sources[WEIGHTS_MAX];
    size_t count = 0;
    for (int i = 0; i < weight_count; i++) {
        if (i == left_out) continue;
        snprintf(names[count], sizeof names[count], "%.20s%.95s", prefix, weights[i].name);
        sources[count] = (tensor_source){.name = names[count],
                                         .dtype = SAFETENSORS_F32,
                                         .dim_count = weights[i].dim_count,
                                         .dims = weights[i].dims,
                                         .values = weights[i].values};
        count++;
    }
    if (safetensors_write(temp_path(name), sources, count, NULL, 0, NULL, &context.error) != DT_OK)
        fail_msg("%s", context.error.message);
    return temp_path(name);
}

static inline tensor_file open_vectors(const char *name)
{
    tensor_file f;
    char path[512];
    snprintf(path, sizeof path, "%s/%s", vectors_folder, name);
    if (tensor_file_open(&f, path, &context.error) != DT_OK) fail_msg("%s", context.error.message);
    return f;
}

/* NULL where the file has none. */
static inline const tensor_entry *find_vector(const tensor_file *f, const char *name, const char *kind)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", name, kind);
    return tensor_file_find(f, full);
}

/* The values of a vector, from the context's model arena. */
static inline float *vector_values(const tensor_entry *e)
{
    assert_non_null(e);
    float *out = arena_alloc(&context.model, (size_t)e->count * sizeof *out, &context.error);
    assert_int_equal(tensor_read_f32(out, e, &context.error), DT_OK);
    return out;
}

/* The largest difference by the largest expected value. */
static inline double relative_error(const float *found, const float *expected, int64_t count)
{
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        worst = fmax(worst, fabs((double)found[i] - (double)expected[i]));
        largest = fmax(largest, fabs((double)expected[i]));
        if (isnan(found[i])) return INFINITY;
    }
    return worst / largest;
}

/* Opening without each of a spread of the tensors, or with one of another shape, must name it. */
static inline void each_missing_tensor_is_named(dt_status (*open)(ctx *c, const void **net, tensor_file *file),
                                                int step)
{
    for (int i = 0; i < 2 * weight_count; i += step) {
        weight *w = &weights[i / 2];
        const int64_t right = w->dims[w->dim_count - 1];
        tensor_file f;
        const void *net;
        char told[160];
        w->dims[w->dim_count - 1] = i % 2 ? 1 + (right == 1) : right;
        const char *path = write_weights("wanting.safetensors", "", i % 2 ? -1 : i / 2);
        w->dims[w->dim_count - 1] = right;
        assert_int_equal(tensor_file_open(&f, path, &context.error), DT_OK);
        assert_int_equal(open(&context, &net, &f), DT_ERR_SHAPE);
        snprintf(told, sizeof told, "tensor %s", w->name);
        if (!strstr(context.error.message, told)) fail_msg("\"%s\" lacks %s", context.error.message, told);
        tensor_file_close(&f);
        error_clear(&context.error);
    }
}

#endif
