/* The CUDA engine against the CPU's through the whole of a training step and of sampling; skipped where there is no GPU.
 * Kernel by kernel they are compared by check_kernels. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "diffusion/sampler.h"
#include "run_fixture.h"
#include "engine/device.h"
#include "train/batch.h"
#include "train/optimizer.h"
#include "train/trainset_file.h"

enum { SAMPLES = 6, STEPS = 10, DRAWN = 3 };

/* What one engine made of the same weights and batches. */
typedef struct outcome {
    int64_t count;    /* of the weights */
    float *gradients; /* [count] of the first step */
    float *weights;   /* [count] after the last */
    float *average;   /* [count] */
    float loss[STEPS];
    float norm[STEPS];
} outcome;

/* Rows of whole words of 16 bytes, heads of 72 columns as DiT-XL has them. */
static const dit_config whole_words = {.input_size = 16,
                                       .patch = 2,
                                       .channels = 4,
                                       .hidden = 144,
                                       .depth = 3,
                                       .heads = 2,
                                       .class_count = 5,
                                       .learn_sigma = true};

/* Rows, patches and heads that are none. */
static const dit_config odd_words = {.input_size = 10,
                                     .patch = 2,
                                     .channels = 3,
                                     .hidden = 36,
                                     .depth = 2,
                                     .heads = 3,
                                     .class_count = 5,
                                     .learn_sigma = true};

static void skip_without_gpu(void)
{
    engine e;
    dt_error err = {0};
    if (device_load(&e, 0, &err) == DT_OK) return;
    print_message("skipped: %s\n", err.message);
    skip();
}

static void fill_batch(ctx *c, batch *b, const denoiser *d, int step)
{
    schedule s;
    schedule_full(&s, NOISE_LINEAR);
    const int64_t size = tensor_count(b->x0) / b->count;
    for (int64_t i = 0; i < b->count; i++) {
        rng_key key = {5, RNG_NOISE, (uint32_t)step, (uint32_t)i};
        rng_normal(b->noise_values + i * size, size, key);
        key.purpose = RNG_SAMPLE_START;
        rng_normal(b->x0_values + i * size, size, key);
        for (int64_t j = 0; j < size; j++) b->x0_values[i * size + j] *= 0.5F;
        b->t[i] = (int32_t)(i == 0 ? 0 : (i * 173 + step * 91) % 1000);
        b->label[i] = (int32_t)(i % (d->class_count + 1));
        b->weight[i] = 1.0F / (float)b->count;
    }
    batch_diffuse(c, b, d, &s);
}

static void fetch_all(ctx *c, const params *p, float *to, real *(*of)(const void *from, int row), const void *from)
{
    for (int i = 0; i < p->count; i++) {
        real *numbers = of(from, i);
        if (numbers) numbers_fetch(c, to, numbers, tensor_count(p->row[i].tensor));
        to += tensor_count(p->row[i].tensor);
    }
}

static real *gradient_of(const void *from, int row)
{
    return ((const params *)from)->row[row].tensor->grad;
}

static real *weight_of(const void *from, int row)
{
    return ((const params *)from)->row[row].tensor->data;
}

static real *average_of(const void *from, int row)
{
    return ((real *const *)from)[row];
}

static void one_step(ctx *c, const denoiser *d, optimizer *o, const dt_settings *s, outcome *out, int step)
{
    const arena_place mark = arena_mark(&c->step);
    batch b;
    assert_true(batch_new(c, &b, d, SAMPLES));
    fill_batch(c, &b, d, step);
    optimizer_begin(c, o, s->learning_rate);
    c->recording = true;
    tensor *loss = batch_loss(c, d, &b);
    c->recording = false;
    assert_true(batch_backward(c, loss));
    assert_true(numbers_fetch(c, &out->loss[step], loss->data, 1));
    tape_clear(c);
    if (step == 0) fetch_all(c, d->params, out->gradients, gradient_of, d->params);
    double norm = optimizer_grad_norm(c, o);
    out->norm[step] = (float)norm;
    optimizer_end(c, o, s->learning_rate, norm, true);
    arena_release(&c->step, mark);
}

static outcome train(const dit_config *shape, dt_device device, dt_precision precision, bool checkpointing)
{
    ctx c;
    dit m;
    trainset set = {0};
    optimizer o;
    dt_settings s;
    outcome out = {0};
    dt_settings_init(&s);
    s.learning_rate = 1e-3;
    s.max_grad_norm = 1;
    s.ema_decay = 0.9;
    assert_int_equal(ctx_open(&c, device, 2, DT_ISA_AUTO), DT_OK);
    c.gemm_flags = precision == DT_PRECISION_BF16 ? GEMM_BF16 : 0;
    assert_int_equal(dit_open(&c, &m, shape), DT_OK);
    c.checkpointing = checkpointing;
    fixture_randomise(&c, &m, 11);
    const denoiser d = fixture_denoiser(&m);
    assert_int_equal(trainset_add(&c, &set, &m.params, NULL, 0), DT_OK);
    assert_int_equal(optimizer_open(&c, &o, &set, &s), DT_OK);
    out.count = params_count(&m.params, true);
    out.gradients = calloc((size_t)out.count, sizeof(float));
    out.weights = calloc((size_t)out.count, sizeof(float));
    out.average = calloc((size_t)out.count, sizeof(float));
    for (int step = 0; step < STEPS; step++) one_step(&c, &d, &o, &s, &out, step);
    fetch_all(&c, &m.params, out.weights, weight_of, &m.params);
    fetch_all(&c, &m.params, out.average, average_of, trainset_values_in(&c, &set, &m.params, TRAIN_AVERAGES));
    assert_int_equal(c.error.status, DT_OK);
    ctx_close(&c);
    return out;
}

static void free_outcome(outcome *x)
{
    free(x->gradients);
    free(x->weights);
    free(x->average);
}

/* |a - b| / |a| */
static double difference(const float *a, const float *b, int64_t count)
{
    double square = 0, between = 0;
    for (int64_t i = 0; i < count; i++) {
        square += (double)a[i] * a[i];
        between += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    }
    return sqrt(between / square);
}

static void compare(const char *what, outcome *a, outcome *b, double gradients, double weights, double losses)
{
    double g = difference(a->gradients, b->gradients, a->count), w = difference(a->weights, b->weights, a->count);
    double e = difference(a->average, b->average, a->count), l = difference(a->loss, b->loss, STEPS);
    double n = difference(a->norm, b->norm, STEPS);
    print_message("%s: gradients %.2g, weights after %d steps %.2g, average %.2g, losses %.2g, norms %.2g\n", what, g,
                  STEPS, w, e, l, n);
    assert_true(g <= gradients && w <= weights && e <= weights && l <= losses && n <= 10 * losses);
    free_outcome(a);
    free_outcome(b);
}

static void ten_steps_are_those_of_the_cpu(void **state)
{
    (void)state;
    skip_without_gpu();
    outcome a = train(&whole_words, DT_DEVICE_CPU, DT_PRECISION_F32, false),
            b = train(&whole_words, DT_DEVICE_CUDA, DT_PRECISION_F32, false);
    compare("f32", &a, &b, 2e-5, 2e-5, 2e-6);
}

static void ten_steps_in_bf16_are_those_of_the_cpu(void **state)
{
    (void)state;
    skip_without_gpu();
    outcome a = train(&whole_words, DT_DEVICE_CPU, DT_PRECISION_BF16, false),
            b = train(&whole_words, DT_DEVICE_CUDA, DT_PRECISION_BF16, false);
    compare("bf16", &a, &b, 1e-2, 5e-3, 1e-3);
}

static void odd_widths_are_those_of_the_cpu(void **state)
{
    (void)state;
    skip_without_gpu();
    outcome a = train(&odd_words, DT_DEVICE_CPU, DT_PRECISION_F32, false),
            b = train(&odd_words, DT_DEVICE_CUDA, DT_PRECISION_F32, false);
    compare("odd widths, f32", &a, &b, 2e-5, 2e-5, 2e-6);
    a = train(&odd_words, DT_DEVICE_CPU, DT_PRECISION_BF16, false);
    b = train(&odd_words, DT_DEVICE_CUDA, DT_PRECISION_BF16, false);
    compare("odd widths, bf16", &a, &b, 1e-2, 5e-3, 1e-3);
}

static void running_blocks_again_changes_no_bit(void **state)
{
    (void)state;
    skip_without_gpu();
    outcome a = train(&whole_words, DT_DEVICE_CUDA, DT_PRECISION_BF16, false),
            b = train(&whole_words, DT_DEVICE_CUDA, DT_PRECISION_BF16, true);
    compare("with checkpoints", &a, &b, 0, 0, 0);
}

static void the_same_seed_gives_the_same_bits(void **state)
{
    (void)state;
    skip_without_gpu();
    outcome a = train(&whole_words, DT_DEVICE_CUDA, DT_PRECISION_BF16, false),
            b = train(&whole_words, DT_DEVICE_CUDA, DT_PRECISION_BF16, false);
    compare("twice", &a, &b, 0, 0, 0);
}

static void draw(float *x, dt_device device, dt_precision precision)
{
    ctx c;
    dit m;
    dt_settings s;
    sampler drawer;
    dt_settings_init(&s);
    s.num_inference_steps = 20;
    s.guidance_scale = 1.5;
    assert_int_equal(ctx_open(&c, device, 2, DT_ISA_AUTO), DT_OK);
    c.gemm_flags = precision == DT_PRECISION_BF16 ? GEMM_BF16 : 0;
    assert_int_equal(dit_open(&c, &m, &whole_words), DT_OK);
    fixture_randomise(&c, &m, 11);
    const denoiser d = fixture_denoiser(&m);
    assert_int_equal(sampler_open(&drawer, &d, &s, &c.error), DT_OK);
    const condition k = {.label = (int32_t[]){0, 1, 4}};
    assert_int_equal(sampler_draw(&c, &drawer, x, &k, (uint32_t[]){0, 1, 2}, DRAWN), DT_OK);
    ctx_close(&c);
}

static void samples_are_those_of_the_cpu(void **state)
{
    (void)state;
    skip_without_gpu();
    enum { COUNT = DRAWN * 4 * 16 * 16 };
    float a[COUNT], b[COUNT];
    for (int bf16 = 0; bf16 < 2; bf16++) {
        draw(a, DT_DEVICE_CPU, bf16 ? DT_PRECISION_BF16 : DT_PRECISION_F32);
        draw(b, DT_DEVICE_CUDA, bf16 ? DT_PRECISION_BF16 : DT_PRECISION_F32);
        double d = difference(a, b, COUNT);
        print_message("samples, %s: %.2g\n", bf16 ? "bf16" : "f32", d);
        assert_true(d <= (bf16 ? 2e-2 : 2e-5));
    }
}

static void memory_that_the_gpu_has_not_is_an_error(void **state)
{
    (void)state;
    skip_without_gpu();
    ctx c;
    assert_int_equal(ctx_open(&c, DT_DEVICE_CUDA, 1, DT_ISA_AUTO), DT_OK);
    int64_t many = (int64_t)1 << 40;
    assert_null(tensor_new(&c, &c.step, 1, &many));
    assert_int_equal(c.error.status, DT_ERR_MEMORY);
    ctx_close(&c);
}

/* What has no room for its own numbers fails, and says so once; who calls next is served. */
static void a_lack_of_room_is_over_when_it_is_told(void **state)
{
    (void)state;
    skip_without_gpu();
    enum { ARRAYS = 64 };
    ctx c;
    int64_t two = 2, count[ARRAYS];
    const real *list[ARRAYS] = {NULL};
    assert_int_equal(ctx_open(&c, DT_DEVICE_CUDA, 1, DT_ISA_AUTO), DT_OK);
    for (int i = 0; i < ARRAYS; i++) count[i] = (int64_t)1 << 44; /* whose partial sums are terabytes */
    assert_true(isnan(c.engine.sum_squares(list, count, ARRAYS)));
    assert_int_equal(c.engine.memory.finish(&c.error), DT_ERR_MEMORY);
    error_clear(&c.error);
    const tensor *x = tensor_new(&c, &c.step, 1, &two);
    assert_non_null(x);
    numbers_send(&c, x->data, (const real[]){3, 4}, 2);
    list[0] = x->data;
    count[0] = 2;
    assert_float_equal(c.engine.sum_squares(list, count, 1), 25, 1e-6);
    assert_int_equal(c.engine.memory.finish(&c.error), DT_OK);
    ctx_close(&c);
}

/* Without a GPU the message says what is missing; with one it opens. */
static void a_device_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    ctx c;
    if (ctx_open(&c, DT_DEVICE_CUDA, 1, DT_ISA_AUTO) != DT_OK) {
        assert_int_equal(c.error.status, DT_ERR_UNSUPPORTED);
        assert_non_null(strstr(c.error.message, "device cuda: "));
    }
    ctx_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_that_is_not_there_is_an_error),
        cmocka_unit_test(memory_that_the_gpu_has_not_is_an_error),
        cmocka_unit_test(a_lack_of_room_is_over_when_it_is_told),
        cmocka_unit_test(ten_steps_are_those_of_the_cpu),
        cmocka_unit_test(ten_steps_in_bf16_are_those_of_the_cpu),
        cmocka_unit_test(odd_widths_are_those_of_the_cpu),
        cmocka_unit_test(the_same_seed_gives_the_same_bits),
        cmocka_unit_test(running_blocks_again_changes_no_bit),
        cmocka_unit_test(samples_are_those_of_the_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
