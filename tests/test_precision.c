/* How far bf16 is from f32, and one instruction set from another, in the forward pass and in a run. The bounds are two to
 * three times what was measured; DT_PRECISION_ERRORS=1 prints what is measured. */
#include "run_fixture.h"

#include "cpu/engine_cpu.h"
#include "train/trainer.h"

static const dt_observer nobody = {0};

enum { LONG_RUN = 200, SHORT_RUN = 3, WINDOW = 20 };

static void check_error(const char *what, double error, double bound)
{
    if (getenv("DT_PRECISION_ERRORS")) printf("%.2e %s\n", error, what);
    if (!(error <= bound)) fail_msg("%s: %.2e, allowed %.0e", what, error, bound);
}

/* |a - b| / |b| of two vectors. */
static double distance(const real *a, const real *b, int64_t count)
{
    double difference = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return sqrt(difference / size);
}

/* The shape of the demo's model. */
static dit_config demo_config(void)
{
    return (dit_config){.input_size = 32,
                        .patch = 4,
                        .channels = 3,
                        .hidden = 192,
                        .depth = 6,
                        .heads = 3,
                        .class_count = FIXTURE_CLASSES};
}

static int make_world(void **state)
{
    if (fixture_make(state)) return -1;
    fixture_images("data32", FIXTURE_CLASSES, 4, 32, 0);
    fixture_images("bank32", 1, 9, 32, 9);
    fixture_base("demo.safetensors", demo_config(), 12);
    return 0;
}

static dt_settings demo_settings(void)
{
    dt_settings s = fixture_settings("");
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("demo.safetensors"));
    snprintf(s.train_data, sizeof s.train_data, "%s", temp_path("data32"));
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank32"));
    return s;
}

/* ---- runs ---- */

/* What a run computed: the loss of each step, and the weights at its end. */
typedef struct outcome {
    double loss[LONG_RUN];
    int64_t steps, count;
    real *weights; /* [count], all tensors one after the other */
} outcome;

static void copy_weights(outcome *o, const params *p)
{
    int64_t done = 0;
    o->count = params_count(p, true);
    o->weights = malloc((size_t)o->count * sizeof *o->weights);
    assert_non_null(o->weights);
    for (int i = 0; i < p->count; i++) {
        int64_t count = tensor_count(p->row[i].tensor);
        memcpy(o->weights + done, p->row[i].tensor->data, (size_t)count * sizeof *o->weights);
        done += count;
    }
}

static outcome run_steps(const dt_settings *s, int64_t steps)
{
    ctx c;
    trainer t;
    outcome o = {.steps = steps};
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, (int)s->threads, s->isa), DT_OK);
    if (trainer_open(&t, &c, s, &nobody, model_kinds_all) != DT_OK) fail_msg("%s", c.error.message);
    for (int64_t i = 0; i < steps; i++) {
        step_result r;
        assert_true(trainer_step(&t, &r) && r.finite);
        o.loss[i] = r.loss_target + r.loss_bank;
    }
    copy_weights(&o, t.model.params);
    trainer_close(&t);
    ctx_close(&c);
    return o;
}

static double window_mean(const outcome *o, int64_t end)
{
    double sum = 0;
    for (int64_t i = end - WINDOW; i < end; i++) sum += o->loss[i];
    return sum / WINDOW;
}

/* The largest relative difference of any step's loss, and of the mean over any WINDOW steps. */
static void compare_losses(const outcome *a, const outcome *b, double *step, double *window)
{
    *step = *window = 0;
    for (int64_t i = 0; i < a->steps; i++) *step = fmax(*step, fabs(a->loss[i] / b->loss[i] - 1));
    for (int64_t end = WINDOW; end <= a->steps; end++)
        *window = fmax(*window, fabs(window_mean(a, end) / window_mean(b, end) - 1));
}

/* The noise, pictures and times of a step are the same in both runs: what differs is rounding and what it grew into. */
static void the_loss_curve_in_bf16_follows_f32(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    double step, window;
    s.train_batch_size = 8;
    s.max_train_steps = LONG_RUN;
    outcome f32 = run_steps(&s, LONG_RUN);
    s.mixed_precision = DT_PRECISION_BF16;
    outcome bf16 = run_steps(&s, LONG_RUN);
    compare_losses(&bf16, &f32, &step, &window);
    double fall = window_mean(&f32, WINDOW) / window_mean(&f32, LONG_RUN);
    if (getenv("DT_PRECISION_ERRORS")) printf("%.2f loss of f32: first over last window\n", fall);
    assert_true(fall > 1.5);
    assert_true(step > 0);
    check_error("loss of a step, bf16 against f32", step, 1e-3);
    check_error("mean loss of a window, bf16 against f32", window, 4e-4);
    check_error("weights at the end, bf16 against f32", distance(bf16.weights, f32.weights, f32.count), 2e-2);
    free(bf16.weights);
    free(f32.weights);
}

/* Three steps of the demo's model by every instruction set this machine has, against portable. */
static void check_sets(dt_precision precision, double loss_bound, double weights_bound)
{
    dt_settings s = demo_settings();
    dt_error err = {0};
    engine e;
    double step, window;
    s.mixed_precision = precision;
    s.isa = DT_ISA_PORTABLE;
    outcome portable = run_steps(&s, SHORT_RUN);
    for (s.isa = DT_ISA_AVX2; engine_cpu_fill(&e, s.isa, &err) == DT_OK; s.isa++) {
        outcome o = run_steps(&s, SHORT_RUN);
        compare_losses(&o, &portable, &step, &window);
        if (getenv("DT_PRECISION_ERRORS")) printf("%s, %s:\n", e.name, precision == DT_PRECISION_BF16 ? "bf16" : "f32");
        check_error("loss of a step against portable", step, loss_bound);
        check_error("weights at the end against portable", distance(o.weights, portable.weights, o.count),
                    weights_bound);
        free(o.weights);
    }
    free(portable.weights);
}

static void every_instruction_set_takes_the_steps_of_portable(void **state)
{
    (void)state;
    check_sets(DT_PRECISION_F32, 1e-6, 2e-6);
}

static void every_instruction_set_takes_the_steps_of_portable_in_bf16(void **state)
{
    (void)state;
    check_sets(DT_PRECISION_BF16, 1e-4, 1e-3);
}

/* ---- the forward pass ---- */

static real *forward(ctx *c, const dit *m, int gemm_flags)
{
    enum { SAMPLES = 4 };
    const real times[SAMPLES] = {0, 10, 500, 999};
    const int32_t classes[SAMPLES] = {0, 1, 2, 3};
    tensor *x = tensor_new(c, &c->step, 4, (int64_t[]){SAMPLES, 3, 32, 32});
    rng_normal(x->data, tensor_count(x), (rng_key){.seed = 5, .purpose = RNG_INIT});
    c->gemm_flags = gemm_flags;
    return dit_forward(c, m, x, times, &(condition){.label = classes})->data;
}

static void the_forward_pass_in_bf16_stays_near_f32(void **state)
{
    (void)state;
    ctx c;
    dit m;
    const dit_config config = demo_config();
    const int64_t count = 4 * 3 * 32 * 32;
    for (dt_isa isa = DT_ISA_PORTABLE; ctx_open(&c, DT_DEVICE_CPU, 1, isa) == DT_OK; isa++, ctx_close(&c)) {
        assert_int_equal(dit_open(&c, &m, &config), DT_OK);
        fixture_randomise(&c, &m, 12);
        const real *f32 = forward(&c, &m, 0), *bf16 = forward(&c, &m, GEMM_BF16);
        assert_memory_not_equal(f32, bf16, (size_t)count * sizeof *f32);
        check_error(c.engine.name, distance(bf16, f32, count), 5e-3);
    }
    ctx_close(&c);
}

/* What a forward pass leaves behind for the pass back. Of a block 10 widths are inside branches, and 2 are sums of them. */
static size_t kept_by_forward(ctx *c, const dit *m, int gemm_flags)
{
    const arena_place mark = arena_mark(&c->step);
    forward(c, m, gemm_flags);
    size_t kept = c->step.used - mark.own;
    tape_clear(c);
    arena_release(&c->step, mark);
    return kept;
}

static void in_bf16_branches_are_kept_in_half_the_room(void **state)
{
    (void)state;
    ctx c;
    dit m;
    const dit_config config = demo_config();
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(dit_open(&c, &m, &config), DT_OK);
    trainset set = {0};
    assert_int_equal(trainset_add(&c, &set, &m.params, NULL, 0), DT_OK);
    assert_int_equal(trainset_want_gradients(&c, &set, false), DT_OK);
    c.recording = true;
    double f32 = (double)kept_by_forward(&c, &m, 0), bf16 = (double)kept_by_forward(&c, &m, GEMM_BF16);
    check_error("what is kept in bf16, of f32", bf16 / f32, 0.65);
    ctx_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_forward_pass_in_bf16_stays_near_f32),
        cmocka_unit_test(in_bf16_branches_are_kept_in_half_the_room),
        cmocka_unit_test(the_loss_curve_in_bf16_follows_f32),
        cmocka_unit_test(every_instruction_set_takes_the_steps_of_portable),
        cmocka_unit_test(every_instruction_set_takes_the_steps_of_portable_in_bf16),
    };
    return cmocka_run_group_tests(tests, make_world, temp_folder_remove);
}
