/* Gradients of ops against central differences, in the double build: signed, so that a wrong sign fails. The function whose
 * gradient is checked is a fixed random weighting of the op's result. */
#ifndef TESTS_GRADIENT_CHECK_H
#define TESTS_GRADIENT_CHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine/open.h"
#include "tensor/tensor.h"

typedef tensor *build_function(ctx *c, tensor *const in[]);

/* One case: makes a result from its inputs, each of which is varied element by element. */
typedef struct grad_case {
    const char *name; /* begins with the name of the op; src/op's headers are compared with the names */
    int input_count;
    int64_t dim[4][TENSOR_DIM_MAX];
    int dim_count[4];
    build_function *build;
} grad_case;

static ctx context;

static int setup(void **state)
{
    (void)state;
    return ctx_open(&context, DT_DEVICE_CPU, 2, DT_ISA_PORTABLE) == DT_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    ctx_close(&context);
    return 0;
}

static inline tensor *random_tensor(int dim_count, const int64_t dim[], uint32_t number)
{
    tensor *t = tensor_new(&context, &context.model, dim_count, dim);
    rng_normal(t->data, tensor_count(t), (rng_key){.seed = 21, .purpose = RNG_INIT, .step = number});
    return t;
}

/* A random tensor that trains; its gradient lies in the model arena. */
static inline tensor *random_input(int dim_count, const int64_t dim[], uint32_t number)
{
    tensor *t = random_tensor(dim_count, dim, number);
    t->need_grad = true;
    t->grad = arena_alloc_zeroed(&context.model, (size_t)tensor_count(t) * sizeof(real), &context.error);
    return t;
}

static inline double weight_of(int64_t i)
{
    return rng_uniform((rng_key){.seed = 22, .purpose = RNG_INIT}, (uint32_t)i) - 0.3;
}

static inline double weighted_sum(build_function *build, tensor *const in[])
{
    const arena_place mark = arena_mark(&context.step);
    const tensor *y = build(&context, in);
    double sum = 0;
    for (int64_t i = 0; i < tensor_count(y); i++) sum += weight_of(i) * y->data[i];
    arena_release(&context.step, mark);
    return sum;
}

/* Adds the gradient of weighted_sum to that of every trained tensor. */
static inline void differentiate(build_function *build, tensor *const in[])
{
    context.recording = true;
    tensor *y = build(&context, in);
    real *dy = tensor_grad(&context, y);
    assert_non_null(dy);
    for (int64_t i = 0; i < tensor_count(y); i++) dy[i] = weight_of(i);
    tape_backward(&context, NULL);
    context.recording = false;
    assert_int_equal(context.error.status, DT_OK);
}

/* Largest difference from central differences over the input's largest gradient, `stride` values apart. */
static inline double worst_error(build_function *build, tensor *const in[], int count, int64_t stride)
{
    const double h = 1e-5;
    double worst = 0;
    for (int i = 0; i < count; i++) {
        double scale = 1e-12, difference = 0;
        for (int64_t j = 0; j < tensor_count(in[i]); j += stride) {
            double kept = in[i]->data[j];
            in[i]->data[j] = kept + h;
            double up = weighted_sum(build, in);
            in[i]->data[j] = kept - h;
            double numeric = (up - weighted_sum(build, in)) / (2 * h);
            in[i]->data[j] = kept;
            scale = fmax(scale, fabs(numeric));
            difference = fmax(difference, fabs(numeric - in[i]->grad[j]));
        }
        worst = fmax(worst, difference / scale);
    }
    return worst;
}

/* Error of a case on random inputs, `stride` values apart. */
static inline double case_error(const grad_case *k, int64_t stride)
{
    tensor *in[4] = {0};
    for (int i = 0; i < k->input_count; i++) in[i] = random_input(k->dim_count[i], k->dim[i], 10 + (uint32_t)i);
    differentiate(k->build, in);
    return worst_error(k->build, in, k->input_count, stride);
}

static inline void check_cases(const grad_case cases[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double error = case_error(&cases[i], 1);
        print_message("%-24s %.2e\n", cases[i].name, error);
        assert_true(error < 1e-6);
    }
}

#endif
