/* A straight path (diffusion/flow.h): its times, drawing along it with a network whose answer is known, what a training batch of
 * it holds, and the method on it. That all of it is SiT's, test_reference shows. */
#include "inside_fixture.h"

#include "diffusion/flow.h"
#include "diffusion/sampler.h"

/* ---- times and levels ---- */

static void a_level_is_a_thousandth_of_the_noise(void **state)
{
    (void)state;
    for (int32_t level = 0; level < SCHEDULE_STEPS; level++)
        for (int k = 1; k < 10; k++) {
            const double t = flow_time(level, k / 10.0);
            assert_true(fabs(1 - t - (level + k / 10.0) / 1000) < 1e-15);
            assert_int_equal(flow_level(t), level);
            assert_int_equal(flow_level((double)(float)t), level);
        }
    assert_int_equal(flow_level(1), 0);
    assert_int_equal(flow_level(0), 999);
    assert_int_equal(flow_level(0.5), 500);
}

/* Ratio of signal to noise at level (i + 1) / 1000, for psi by SNR. */
static void its_table_has_the_ratios_of_the_path(void **state)
{
    (void)state;
    schedule s;
    schedule_full(&s, NOISE_STRAIGHT);
    for (int i = 0; i < SCHEDULE_STEPS; i++) {
        const double n = (i + 1) / 1000.0, ratio = (1 - n) * (1 - n) / (n * n);
        assert_true(fabs(1 - s.abar[i] - 1 / (1 + ratio)) < 1e-12);
        assert_true(isfinite(s.posterior_mean_x0[i]) && isfinite(s.posterior_log_variance[i]));
    }
}

/* ---- drawing with a known network ---- */

enum { VALUES = 4, ASKED_MAX = 64 };

/* v = of_x x + of_y (label + 1) at every pixel; keeps what it was told of the time. */
typedef struct known {
    real of_x, of_y;
    int calls;
    real asked[ASKED_MAX];
} known;

static tensor *answer(ctx *k, const denoiser *d, tensor *x, const real t[], const condition *told)
{
    known *m = d->self;
    const int64_t n = x->dim[0], each = tensor_count(x) / n;
    tensor *v = tensor_new(k, &k->step, 4, x->dim);
    for (int64_t i = 0; i < n; i++) {
        assert_true(t[i] == t[0]);
        for (int64_t j = i * each; j < (i + 1) * each; j++)
            v->data[j] = m->of_x * x->data[j] + m->of_y * (real)(told->label[i] + 1);
    }
    assert_true(m->calls < ASKED_MAX);
    m->asked[m->calls++] = t[0];
    return v;
}

static dt_settings drawing_settings(dt_sampler kind, int64_t steps)
{
    dt_settings s;
    dt_settings_init(&s);
    s.sampler = kind;
    s.num_inference_steps = steps;
    s.guidance_scale = 1;
    return s;
}

/* Draws one sample of class 2 from `start` at every pixel; `interval` of levels may be NULL. */
static real draw(known *m, const dt_settings *settings, const int32_t interval[2], real start)
{
    static const denoiser_ops ops = {.kind = "known", .forward = answer};
    ctx c;
    sampler s;
    const denoiser d = {.ops = &ops,
                        .self = m,
                        .shape = {1, 2, 2},
                        .process = {NOISE_STRAIGHT, PREDICTS_VELOCITY, false},
                        .class_count = 9};
    real x[VALUES] = {start, start, start, start};
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(sampler_open(&s, &d, settings, &c.error), DT_OK);
    if (interval) {
        s.guidance.t_first = interval[0];
        s.guidance.t_last = interval[1];
    }
    m->calls = 0;
    if (sampler_continue(&c, &s, x, &(condition){.label = (int32_t[]){2}}, (uint32_t[]){0}, 1) != DT_OK)
        fail_msg("%s", c.error.message);
    assert_int_equal(m->calls, sampler_evaluations(&s));
    for (int j = 1; j < VALUES; j++) assert_true(x[j] == x[0]);
    ctx_close(&c);
    return x[0];
}

static void assert_near(double found, double expected, double allowed)
{
    if (!(fabs(found - expected) <= allowed)) fail_msg("%.9g, not %.9g", found, expected);
}

static void euler_asks_at_the_start_of_each_step_and_heun_at_both_ends(void **state)
{
    (void)state;
    static const real euler[] = {0, 0.25F, 0.5F, 0.75F}, heun[] = {0, 0.25F, 0.25F, 0.5F, 0.5F, 0.75F, 0.75F, 1};
    known m = {.of_y = 1};
    dt_settings s = drawing_settings(DT_SAMPLER_EULER, 4);
    draw(&m, &s, NULL, 0);
    assert_int_equal(m.calls, 4);
    assert_memory_equal(m.asked, euler, sizeof euler);
    s.sampler = DT_SAMPLER_HEUN;
    draw(&m, &s, NULL, 0);
    assert_int_equal(m.calls, 8);
    assert_memory_equal(m.asked, heun, sizeof heun);
}

/* Of v = x the exact end is e times the start. */
static void each_solver_has_its_order(void **state)
{
    (void)state;
    known m = {.of_x = 1};
    for (int64_t n = 1; n <= 16; n *= 4) {
        const double h = 1 / (double)n;
        dt_settings s = drawing_settings(DT_SAMPLER_EULER, n);
        assert_near((double)draw(&m, &s, NULL, 1), pow(1 + h, (double)n), 2e-6);
        s.sampler = DT_SAMPLER_HEUN;
        assert_near((double)draw(&m, &s, NULL, 1), pow(1 + h + h * h / 2, (double)n), 2e-6);
    }
}

/* The labels 2 and 9 are answered by 3 and 10; guided, 10 + s (3 - 10). */
static void guidance_acts_at_the_levels_of_its_interval(void **state)
{
    (void)state;
    known m = {.of_y = 1};
    dt_settings s = drawing_settings(DT_SAMPLER_EULER, 4);
    assert_near((double)draw(&m, &s, NULL, 0), 3, 1e-6);
    s.guidance_scale = 2;
    assert_near((double)draw(&m, &s, NULL, 0), -4, 1e-6);
    assert_near((double)draw(&m, &s, (int32_t[]){500, 999}, 0), (-4 * 3 + 3) / 4.0, 1e-6); /* t 0, 0.25, 0.5 */
    assert_near((double)draw(&m, &s, (int32_t[]){0, 250}, 0), (3 * 3 - 4) / 4.0, 1e-6);    /* t 0.75 */
}

static void clipped_samples_stay_in_range(void **state)
{
    (void)state;
    known m = {.of_y = 1};
    for (int kind = DT_SAMPLER_HEUN; kind <= DT_SAMPLER_EULER; kind++)
        for (int64_t n = 1; n <= 7; n += 3) {
            dt_settings s = drawing_settings((dt_sampler)kind, n);
            assert_near((double)draw(&m, &s, NULL, 0.5F), 3.5, 1e-5);
            s.clip_sample = true;
            assert_near((double)draw(&m, &s, NULL, 0.5F), 1, 1e-6);
            m.of_y = -1;
            assert_near((double)draw(&m, &s, NULL, 0.5F), -1, 1e-6);
            m.of_y = 0.125F; /* what stays in range is left as it is: 3 / 8 more */
            assert_near((double)draw(&m, &s, NULL, 0.5F), 0.875, 1e-6);
            m.of_y = 1;
        }
}

/* ---- a training batch ---- */

static int make(void **state)
{
    dit_config k = fixture_config();
    k.flow = true;
    if (fixture_make(state)) return -1;
    fixture_base("flow.safetensors", k, 13);
    return 0;
}

static dt_settings flow_settings(const char *output)
{
    dt_settings s = fixture_settings(output);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("flow.safetensors"));
    return s;
}

static void a_batch_holds_the_path_and_its_velocity(void **state)
{
    (void)state;
    open_inside(flow_settings("batch"));
    batch b;
    assert_true(batch_new(&run.c, &b, &run.t.model, 4));
    fixture_feed(&run.t, &b, 0);
    const int64_t values = sample_values(run.t.model.shape);
    for (int64_t i = 0; i < 4; i++) {
        assert_int_equal(flow_level((double)b.time[i]), b.t[i]);
        for (int64_t j = i * values; j < (i + 1) * values; j++) {
            const double t = (double)b.time[i], x0 = (double)b.x0->data[j], noise = (double)b.noise->data[j];
            assert_near((double)b.xt->data[j], t * x0 + (1 - t) * noise, 1e-6);
            assert_near((double)b.target->data[j], x0 - noise, 1e-6);
        }
    }
    close_inside();
}

/* Where nothing says the time, as in a measurement, it is the middle of the level. */
static void a_time_that_is_not_said_is_the_middle_of_its_level(void **state)
{
    (void)state;
    open_inside(flow_settings("middle"));
    batch b;
    assert_true(batch_new(&run.c, &b, &run.t.model, 3));
    for (int i = 0; i < 3; i++) {
        b.t[i] = 499 * i;
        b.label[i] = 0;
    }
    memset(b.x0_values, 0, tensor_bytes(b.x0));
    memset(b.noise_values, 0, tensor_bytes(b.noise));
    batch_diffuse(&run.c, &b, &run.t.model, &run.t.schedule);
    for (int i = 0; i < 3; i++) assert_near((double)b.time[i], 1 - (499 * i + 0.5) / 1000, 1e-7);
    close_inside();
}

/* Times of 4000 samples of each half: the level's share by psi or xi, and the place in the level even. */
static void check_times(dt_settings s, double target_mean, double bank_mean)
{
    double sum[2] = {0}, within = 0, low = 1, high = 0;
    s.train_batch_size = 40;
    open_inside(s);
    for (run.t.step = 0; run.t.step < 200; run.t.step++) {
        batch b;
        const arena_place mark = arena_mark(&run.c.step);
        assert_true(batch_new(&run.c, &b, &run.t.model, 40));
        fixture_feed(&run.t, &b, 0);
        for (int64_t i = 0; i < 40; i++) {
            const double n = 1 - (double)b.time[i], place = n * 1000 - floor(n * 1000);
            assert_true(n >= 0 && n <= 1);
            sum[i >= b.target_count] += n / (double)(i >= b.target_count ? 40 - b.target_count : b.target_count);
            within += place / 40;
            low = fmin(low, place);
            high = fmax(high, place);
        }
        arena_release(&run.c.step, mark);
    }
    close_inside();
    assert_near(sum[0] / 200, target_mean, 0.02);
    if (bank_mean > 0) assert_near(sum[1] / 200, bank_mean, 0.02);
    assert_near(within / 200, 0.5, 0.02);
    assert_true(low < 0.01 && high > 0.99);
}

/* Of psi = n^tau the mean of n is (tau + 1) / (tau + 2); of xi = 1 - n it is 1 / 3, of an even n 1 / 2. */
static void noise_is_drawn_by_psi_and_xi(void **state)
{
    (void)state;
    dt_settings s = flow_settings("times");
    check_times(s, 2 / 3.0, 1 / 3.0);
    s.tau = 3;
    s.xi = DT_XI_MIRROR;
    check_times(s, 4 / 5.0, 1 / 5.0);
    s = flow_settings("times");
    s.method = DT_METHOD_FINETUNE;
    check_times(s, 0.5, 0);
}

static void the_line_of_the_method_speaks_of_the_noise(void **state)
{
    (void)state;
    dt_settings s = flow_settings("line");
    open_inside(s);
    assert_says(run.t.method.line, "psi n^tau");
    close_inside();
    s.psi = DT_PSI_SNR;
    open_inside(s);
    const double n = 0.3;
    assert_near(run.t.method.psi.value[299], n * n / (n * n + (1 - n) * (1 - n)), 1e-12);
    close_inside();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_level_is_a_thousandth_of_the_noise),
        cmocka_unit_test(its_table_has_the_ratios_of_the_path),
        cmocka_unit_test(euler_asks_at_the_start_of_each_step_and_heun_at_both_ends),
        cmocka_unit_test(each_solver_has_its_order),
        cmocka_unit_test(guidance_acts_at_the_levels_of_its_interval),
        cmocka_unit_test(clipped_samples_stay_in_range),
        cmocka_unit_test(a_batch_holds_the_path_and_its_velocity),
        cmocka_unit_test(a_time_that_is_not_said_is_the_middle_of_its_level),
        cmocka_unit_test(noise_is_drawn_by_psi_and_xi),
        cmocka_unit_test(the_line_of_the_method_speaks_of_the_noise),
    };
    return cmocka_run_group_tests_name("flow", tests, make, temp_folder_remove);
}
