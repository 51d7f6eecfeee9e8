/* What tests of UNet and ControlNet compare with: files of vectors/ whose inputs and weights are made by name (named_numbers.h), with what
 * diffusers computes of them. Comes behind run_fixture.h. */
#ifndef TESTS_REFERENCE_VECTORS_H
#define TESTS_REFERENCE_VECTORS_H

#include <jansson.h>

#include "container/tensor_open.h"
#include "named_numbers.h"
#include "op/op.h"

typedef struct reference {
    ctx *c;
    tensor_file *f;
} reference;

static inline void reference_must(reference r)
{
    if (r.c->error.status != DT_OK) fail_msg("%s", r.c->error.message);
}

/* An input, in the model arena. */
static inline tensor *reference_input(reference r, int dim_count, const int64_t dim[], const char *name)
{
    tensor *t = tensor_new(r.c, &r.c->model, dim_count, dim);
    reference_must(r);
    named_fill(t->data, tensor_count(t), name);
    return t;
}

static inline tensor *reference_expected(reference r, const char *name)
{
    const tensor_entry *e = tensor_file_find(r.f, name);
    assert_non_null(e);
    tensor *t = tensor_new(r.c, &r.c->model, e->dim_count, e->dims);
    tensor_read_f32(t->data, e, &r.c->error);
    reference_must(r);
    return t;
}

/* Largest difference over the largest expected value. */
static inline double reference_difference(reference r, const real *found, int64_t count, const char *name)
{
    const tensor *wanted = reference_expected(r, name);
    double worst = 0, most = 0;
    assert_int_equal(count, tensor_count(wanted));
    for (int64_t i = 0; i < count; i++) {
        worst = fmax(worst, fabs((double)found[i] - (double)wanted->data[i]));
        most = fmax(most, fabs((double)wanted->data[i]));
    }
    print_message("%s %s: %.1e\n", r.f->path, name, worst / most);
    return worst / most;
}

/* Leaves the gradient of sum(y g), g numbers by name, in the rows; y was recorded. */
static inline void reference_walk_back(reference r, tensor *y)
{
    named_fill(tensor_grad(r.c, y), tensor_count(y), "gradient");
    tape_backward(r.c, NULL);
    tape_clear(r.c);
    r.c->recording = false;
    reference_must(r);
}

/* Of the sketches of all gradients, over each one's length or `nothing` where it is shorter. The file's names of the rows begin with
 * `prefix`. */
static inline double reference_gradients(reference r, const params *p, const char *prefix, double nothing)
{
    const tensor *sketches = reference_expected(r, "gradients");
    json_t *names = json_loads(tensor_file_metadata(r.f, "names"), 0, NULL);
    double worst = 0, found[1 + NAMED_SKETCHES];
    assert_int_equal(json_array_size(names), p->count);
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        const param *row = params_find(p, name + strlen(prefix));
        const real *wanted = sketches->data + i * (1 + NAMED_SKETCHES);
        assert_non_null(row);
        param named = *row;
        named.name = name;
        named_sketch(found, &named, row->tensor->grad);
        for (int k = 0; k <= NAMED_SKETCHES; k++)
            worst = fmax(worst, fabs(found[k] - (double)wanted[k]) / fmax((double)wanted[0], nothing));
    }
    json_decref(names);
    print_message("%s gradients: %.1e\n", r.f->path, worst);
    return worst;
}

#endif
