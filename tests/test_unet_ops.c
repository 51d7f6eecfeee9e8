/* The ops of a UNet's residual block and of a transformer block that reads a text, put together as such networks do, forward
 * and backward: the same bits for any number of threads, bfloat16 near float, and the GPU's numbers near the CPU's (skipped
 * where there is none). One by one they are compared with central differences in test_gradients_double.c and
 * test_conv_double.c, and their kernels in check_kernels.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/rng.h"
#include "engine/device.h"
#include "engine/open.h"
#include "op/conv.h"
#include "op/op.h"

enum { N = 2, SIDE = 6, C = 32, TOKENS = SIDE * SIDE, TEXT = 7, TEXT_WIDTH = 24, HEADS = 2, WEIGHTS_MAX = 40 };

/* A context, what trains in it, and what was made of it. */
typedef struct world {
    ctx c;
    tensor *weight[WEIGHTS_MAX];
    int count;
} world;

static tensor *random_tensor(world *w, int dim_count, const int64_t dim[], double size, double mean)
{
    ctx *c = &w->c;
    tensor *t = tensor_new(c, &c->model, dim_count, dim);
    const arena_place mark = arena_mark(&c->scratch);
    real *values = numbers_prepare(c, &c->scratch, t->data, tensor_count(t));
    rng_normal(values, tensor_count(t), (rng_key){.seed = 31, .purpose = RNG_INIT, .step = (uint32_t)w->count});
    for (int64_t i = 0; i < tensor_count(t); i++) values[i] = (real)(mean + size * (double)values[i]);
    numbers_send(c, t->data, values, tensor_count(t));
    arena_release(&c->scratch, mark);
    t->need_grad = true;
    t->grad = numbers_zeros(c, &c->model, tensor_count(t));
    assert_true(w->count < WEIGHTS_MAX);
    return w->weight[w->count++] = t;
}

static tensor *matrix(world *w, int64_t out, int64_t in)
{
    return random_tensor(w, 2, (int64_t[]){out, in}, 1 / sqrt((double)in), 0);
}

static tensor *vector(world *w, int64_t count, double mean)
{
    return random_tensor(w, 1, (int64_t[]){count}, 0.2, mean);
}

static tensor *normed(world *w, tensor *x, int64_t width)
{
    return op_layer_norm(&w->c, x, vector(w, width, 1), vector(w, width, 0), (real)1e-5);
}

static tensor *attend(world *w, tensor *x, tensor *context, int64_t width, int64_t context_width, bool causal)
{
    ctx *c = &w->c;
    tensor *q = op_linear_branch(c, x, matrix(w, width, width), NULL);
    tensor *k = op_linear_branch(c, context, matrix(w, width, context_width), NULL);
    tensor *v = op_linear_branch(c, context, matrix(w, width, context_width), NULL);
    return op_linear(c, op_attention_apart(c, q, k, v, HEADS, causal), matrix(w, width, width), vector(w, width, 0));
}

/* A layer of a text's encoder: [N,TEXT,TEXT_WIDTH]. */
static tensor *encode(world *w, tensor *text)
{
    ctx *c = &w->c;
    tensor *h = normed(w, text, TEXT_WIDTH);
    text = op_add(c, text, attend(w, h, h, TEXT_WIDTH, TEXT_WIDTH, true));
    h = op_quick_gelu(c, op_linear_branch(c, normed(w, text, TEXT_WIDTH), matrix(w, 48, TEXT_WIDTH), NULL));
    return op_add(c, text, op_linear(c, h, matrix(w, TEXT_WIDTH, 48), NULL));
}

/* x[N,SIDE,SIDE,C] */
static tensor *residual(world *w, tensor *x)
{
    ctx *c = &w->c;
    tensor *h = op_group_norm_silu(c, x, vector(w, C, 1), vector(w, C, 0), 4, (real)1e-5);
    return op_add(c, x, op_conv2d(c, h, random_tensor(w, 4, (int64_t[]){C, 3, 3, C}, 0.06, 0), vector(w, C, 0), 1, 1));
}

/* x[N,TOKENS,C]; two tokens more take part in the first attention. */
static tensor *transform(world *w, tensor *x, tensor *text)
{
    ctx *c = &w->c;
    tensor *more = random_tensor(w, 3, (int64_t[]){N, 2, C}, 1, 0);
    tensor *h = normed(w, op_concat(c, x, more, 1), C);
    x = op_add(c, x, op_slice(c, attend(w, h, h, C, C, false), 1, 0, TOKENS));
    x = op_add(c, x, attend(w, normed(w, x, C), text, C, TEXT_WIDTH, false));
    h = op_geglu(c, op_linear_branch(c, normed(w, x, C), matrix(w, 8 * C, C), vector(w, 8 * C, 0)));
    return op_add(c, x, op_linear(c, h, matrix(w, C, 4 * C), NULL));
}

/* [N,SIDE,SIDE,2C]: down, up, and beside what it came from. */
static tensor *down_and_up(world *w, tensor *x)
{
    ctx *c = &w->c;
    tensor *kernel = random_tensor(w, 4, (int64_t[]){C, 3, 3, C}, 0.06, 0);
    tensor *h = op_upsample(c, op_conv2d(c, op_pad_end(c, x), kernel, NULL, 2, 0));
    return op_soft_clamp(c, op_concat(c, op_average_pool(c, h, 3), x, 3), 2);
}

static tensor *network(world *w)
{
    ctx *c = &w->c;
    tensor *x = random_tensor(w, 4, (int64_t[]){N, SIDE, SIDE, C}, 1, 0);
    tensor *text = encode(w, random_tensor(w, 3, (int64_t[]){N, TEXT, TEXT_WIDTH}, 1, 0));
    x = op_reshape(c, residual(w, x), 3, (int64_t[]){N, TOKENS, C});
    x = op_reshape(c, transform(w, x, text), 4, (int64_t[]){N, SIDE, SIDE, C});
    return down_and_up(w, x);
}

/* The result, then every gradient. */
typedef struct outcome {
    float *numbers;
    int64_t result, count;
} outcome;

static void seed(ctx *c, tensor *y)
{
    const arena_place mark = arena_mark(&c->scratch);
    const int64_t count = tensor_count(y);
    real *d = tensor_grad(c, y), *values = numbers_prepare(c, &c->scratch, d, count);
    for (int64_t i = 0; i < count; i++) values[i] = (real)cos((double)i);
    numbers_send(c, d, values, count);
    arena_release(&c->scratch, mark);
}

static outcome run(dt_device device, int threads, dt_isa isa, int gemm_flags)
{
    static world w;
    outcome out = {0};
    w.count = 0;
    assert_int_equal(ctx_open(&w.c, device, threads, isa), DT_OK);
    w.c.gemm_flags = gemm_flags;
    w.c.recording = true;
    tensor *y = network(&w);
    assert_int_equal(w.c.error.status, DT_OK);
    seed(&w.c, y);
    tape_backward(&w.c, NULL);
    assert_int_equal(w.c.error.status, DT_OK);
    out.count = out.result = tensor_count(y);
    for (int i = 0; i < w.count; i++) out.count += tensor_count(w.weight[i]);
    out.numbers = calloc((size_t)out.count, sizeof *out.numbers);
    assert_true(numbers_fetch(&w.c, out.numbers, y->data, out.result));
    int64_t at = out.result;
    for (int i = 0; i < w.count; at += tensor_count(w.weight[i++]))
        assert_true(numbers_fetch(&w.c, out.numbers + at, w.weight[i]->grad, tensor_count(w.weight[i])));
    ctx_close(&w.c);
    return out;
}

static double part_difference(const float *a, const float *b, int64_t count)
{
    double square = 0, between = 0;
    for (int64_t i = 0; i < count; i++) {
        square += (double)a[i] * a[i];
        between += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    }
    return sqrt(between / square);
}

static void assert_near(const char *what, outcome a, outcome b, double bound)
{
    const double y = part_difference(a.numbers, b.numbers, a.result);
    const double d = part_difference(a.numbers + a.result, b.numbers + b.result, a.count - a.result);
    print_message("%s: result %.2g, gradients %.2g\n", what, y, d);
    assert_true(y <= bound && d <= 3 * bound);
    free(a.numbers);
    free(b.numbers);
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    (void)state;
    for (int flags = 0; flags <= GEMM_BF16; flags += GEMM_BF16) {
        outcome one = run(DT_DEVICE_CPU, 1, DT_ISA_AUTO, flags);
        for (int threads = 2; threads <= 5; threads++) {
            outcome many = run(DT_DEVICE_CPU, threads, DT_ISA_AUTO, flags);
            assert_memory_equal(one.numbers, many.numbers, (size_t)one.count * sizeof(float));
            free(many.numbers);
        }
        free(one.numbers);
    }
}

static void instruction_sets_and_bfloat16_stay_within_their_rounding(void **state)
{
    (void)state;
    assert_near("portable and best", run(DT_DEVICE_CPU, 2, DT_ISA_PORTABLE, 0), run(DT_DEVICE_CPU, 2, DT_ISA_AUTO, 0),
                2e-6);
    assert_near("float and bfloat16", run(DT_DEVICE_CPU, 2, DT_ISA_AUTO, 0),
                run(DT_DEVICE_CPU, 2, DT_ISA_AUTO, GEMM_BF16), 1e-2);
}

static void the_gpu_gives_what_the_cpu_gives(void **state)
{
    (void)state;
    engine e;
    dt_error err = {0};
    if (device_load(&e, 0, &err) != DT_OK) {
        print_message("skipped: %s\n", err.message);
        skip();
    }
    assert_near("CPU and GPU", run(DT_DEVICE_CPU, 2, DT_ISA_AUTO, 0), run(DT_DEVICE_CUDA, 2, DT_ISA_AUTO, 0), 2e-5);
    assert_near("CPU and GPU, bfloat16", run(DT_DEVICE_CPU, 2, DT_ISA_AUTO, GEMM_BF16),
                run(DT_DEVICE_CUDA, 2, DT_ISA_AUTO, GEMM_BF16), 1.5e-2);
    outcome a = run(DT_DEVICE_CUDA, 2, DT_ISA_AUTO, GEMM_BF16), b = run(DT_DEVICE_CUDA, 2, DT_ISA_AUTO, GEMM_BF16);
    assert_memory_equal(a.numbers, b.numbers, (size_t)a.count * sizeof(float));
    free(a.numbers);
    free(b.numbers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(instruction_sets_and_bfloat16_stay_within_their_rounding),
        cmocka_unit_test(the_gpu_gives_what_the_cpu_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
