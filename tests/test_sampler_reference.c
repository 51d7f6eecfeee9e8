/* Samplers against diffusers' schedulers: the same network (a formula), the same noise, 10, 25 and 50 steps
 * (vectors/make_sampler_vectors.py); and what the papers promise of them. */
#include "context_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "container/safetensors.h"
#include "diffusion/sampler.h"
#include "settings/settings.h"

enum { CHANNELS = 2, SIDE = 2, IMAGE = CHANNELS * SIDE * SIDE, SAMPLES = 2, VALUES = SAMPLES * IMAGE };
static const int64_t step_counts[] = {10, 25, 50};
enum { COUNTS = 3 };

/* ---- the network ---- */

typedef struct exact {
    prediction_type predicts;
    bool learned_variance;
    double abar[SCHEDULE_STEPS];
    int calls;
} exact;

/* The exact answer for data that are +m or -m, each with a deviation, independently at every value. */
static double exact_noise(const exact *e, double x, int32_t t, int64_t channel, int32_t label)
{
    const double deviation = 0.3, alpha = sqrt(e->abar[t]), sigma = sqrt(1 - e->abar[t]);
    const double m = 0.5 + 0.2 * (double)channel + 0.1 * label;
    const double variance = alpha * alpha * deviation * deviation + sigma * sigma;
    return sigma * (x - alpha * m * tanh(alpha * m * x / variance)) / variance;
}

static tensor *answer(ctx *c, const denoiser *d, tensor *x, const real t[], const condition *told)
{
    exact *e = d->self;
    const int64_t n = x->dim[0], pixels = SIDE * SIDE, out_channels = CHANNELS * (e->learned_variance ? 2 : 1);
    tensor *out = tensor_new(c, &c->step, 4, (int64_t[]){n, out_channels, SIDE, SIDE});
    e->calls++;
    for (int64_t i = 0; out && i < n; i++) {
        const int32_t at = (int32_t)t[i];
        const double alpha = sqrt(e->abar[at]), sigma = sqrt(1 - e->abar[at]);
        real *y = out->data + i * out_channels * pixels;
        for (int64_t j = 0; j < IMAGE; j++) {
            const double value = (double)x->data[i * IMAGE + j];
            const double eps = exact_noise(e, value, at, j / pixels, told->label[i]);
            const double velocity = alpha * eps - sigma * (value - sigma * eps) / alpha;
            y[j] = (real)(e->predicts == PREDICTS_VELOCITY ? velocity : eps);
            if (e->learned_variance) y[IMAGE + j] = (real)(1.5 * sin(3 * value + 0.01 * at));
        }
    }
    return out;
}

static void exact_open(exact *e, prediction_type predicts, bool learned_variance)
{
    static schedule full;
    schedule_full(&full, NOISE_LINEAR);
    *e = (exact){.predicts = predicts, .learned_variance = learned_variance};
    memcpy(e->abar, full.abar, sizeof e->abar);
}

static denoiser denoiser_of(exact *e)
{
    static const denoiser_ops ops = {.kind = "exact", .forward = answer};
    return (denoiser){.ops = &ops,
                      .self = e,
                      .shape = {CHANNELS, SIDE, SIDE},
                      .process = {NOISE_LINEAR, e->predicts, e->learned_variance},
                      .class_count = 9};
}

/* x[SAMPLES][IMAGE] as these settings draw it. */
static void draw(float x[VALUES], exact *e, const dt_settings *s)
{
    static const int32_t labels[SAMPLES] = {0, 3};
    static const uint32_t index[SAMPLES] = {0, 1};
    sampler p;
    const denoiser d = denoiser_of(e);
    e->calls = 0;
    if (sampler_open(&p, &d, s, &context.error) != DT_OK ||
        sampler_draw(&context, &p, x, &(condition){.label = labels}, index, SAMPLES) != DT_OK)
        fail_msg("%s, %s, %d steps: %s", settings_word(s, "sampler"), settings_word(s, "timestep_spacing"),
                 (int)s->num_inference_steps, context.error.message);
    assert_int_equal(e->calls, sampler_evaluations(&p));
    assert_int_equal(context.step.used, 0);
}

static dt_settings settings_of(dt_sampler kind, dt_spacing spacing, int64_t steps)
{
    dt_settings s;
    dt_settings_init(&s);
    s.sampler = kind;
    s.timestep_spacing = spacing;
    s.num_inference_steps = steps;
    s.guidance_scale = 1;
    s.seed = 11;
    return s;
}

static double farthest(const float a[VALUES], const float b[VALUES])
{
    double worst = 0;
    for (int j = 0; j < VALUES; j++) worst = fmax(worst, fabs((double)a[j] - (double)b[j]));
    return worst;
}

static const dt_sampler kinds[] = {DT_SAMPLER_DDIM,  DT_SAMPLER_DDPM, DT_SAMPLER_DPM_2M,
                                   DT_SAMPLER_UNIPC, DT_SAMPLER_HEUN, DT_SAMPLER_EULER};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* ---- against diffusers ---- */

static int word_of(const char *key, const char *word)
{
    const int number = settings_word_number(key, word);
    if (number < 0) fail_msg("%s has no %s", key, word);
    return number;
}

/* "dpm++2m.karras.noise", [steps][SAMPLES][IMAGE] */
static double check_vectors(const tensor_entry *v)
{
    char name[64];
    float expected[COUNTS * VALUES], x[VALUES];
    double worst = 0;
    assert_int_equal(v->count, COUNTS * VALUES);
    assert_int_equal(tensor_read_f32(expected, v, &context.error), DT_OK);
    snprintf(name, sizeof name, "%s", v->name);
    char *spacing = strchr(name, '.'), *predicts = strrchr(name, '.');
    *spacing++ = *predicts++ = '\0';
    const bool eta1 = !strcmp(name, "ddim_eta1"), learned = !strcmp(name, "ddpm_learned");
    if (eta1 || learned) *strchr(name, '_') = '\0';
    exact e;
    exact_open(&e, strcmp(predicts, "velocity") ? PREDICTS_NOISE : PREDICTS_VELOCITY, learned);
    dt_settings s =
        settings_of((dt_sampler)word_of("sampler", name), (dt_spacing)word_of("timestep_spacing", spacing), 0);
    s.eta = eta1;
    for (int k = 0; k < COUNTS; k++) {
        s.num_inference_steps = step_counts[k];
        draw(x, &e, &s);
        const double error = farthest(x, expected + k * VALUES);
        if (!(error < 1e-4)) fail_msg("%s, %d steps: off by %g", v->name, (int)step_counts[k], error);
        worst = fmax(worst, error);
    }
    return worst;
}

static void samples_are_those_of_diffusers(void **state)
{
    (void)state;
    tensor_file f;
    assert_int_equal(safetensors_open(&f, "vectors/samplers.safetensors", &context.error), DT_OK);
    assert_int_equal(f.count, 43);
    for (int64_t i = 0; i < (int64_t)f.count; i++) {
        const double worst = check_vectors(&f.entries[i]);
        if (getenv("DT_SAMPLER_ERRORS")) print_message("%-28s %.1e\n", f.entries[i].name, worst);
    }
    tensor_file_close(&f);
}

/* ---- what is true of each ---- */

/* The first half of a learned variance's output is the noise, and only ancestral sampling reads the other. */
static void only_ancestral_sampling_reads_the_variance(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        exact plain, learned;
        float a[VALUES], b[VALUES];
        const dt_settings s = settings_of(kinds[i], DT_SPACING_AUTO, 5);
        exact_open(&plain, PREDICTS_NOISE, false);
        exact_open(&learned, PREDICTS_NOISE, true);
        draw(a, &plain, &s);
        draw(b, &learned, &s);
        assert_int_equal(memcmp(a, b, sizeof a) != 0, kinds[i] == DT_SAMPLER_DDPM);
    }
}

static void a_step_is_one_evaluation_and_of_heun_two(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        exact e;
        float x[VALUES];
        const dt_settings s = settings_of(kinds[i], DT_SPACING_AUTO, 7);
        exact_open(&e, PREDICTS_NOISE, false);
        draw(x, &e, &s);
        assert_int_equal(e.calls, kinds[i] == DT_SAMPLER_HEUN ? 13 : 7);
    }
}

/* Where the last step leads to no noise, it ends on the predicted x0. */
static void a_clipped_sample_ends_in_its_range(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++)
        for (int spacing = DT_SPACING_SECTIONS; spacing <= DT_SPACING_AUTO; spacing++) {
            if (spacing == DT_SPACING_LEADING && kinds[i] == DT_SAMPLER_DDIM) continue; /* it goes to abar at t = 0 */
            exact e;
            float free[VALUES], clipped[VALUES];
            dt_settings s = settings_of(kinds[i], (dt_spacing)spacing, 8);
            exact_open(&e, PREDICTS_NOISE, false);
            draw(free, &e, &s);
            s.clip_sample = true;
            draw(clipped, &e, &s);
            assert_memory_not_equal(free, clipped, sizeof free);
            for (int j = 0; j < VALUES; j++) assert_true(fabsf(clipped[j]) <= 1 + 1e-6f);
        }
}

/* One step and two, where a solver has no earlier prediction yet or no later level. */
static void the_fewest_steps_give_finite_samples(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++)
        for (int64_t steps = 1; steps <= 3; steps++) {
            const bool fraction = steps == 1 && (kinds[i] == DT_SAMPLER_HEUN || kinds[i] == DT_SAMPLER_EULER);
            exact e;
            float x[VALUES];
            const dt_settings s = settings_of(kinds[i], fraction ? DT_SPACING_TRAILING : DT_SPACING_AUTO, steps);
            exact_open(&e, PREDICTS_NOISE, false);
            draw(x, &e, &s);
            for (int j = 0; j < VALUES; j++) assert_true(isfinite(x[j]));
        }
}

/* Euler's step on sigma / alpha and DDIM's without noise are one. */
static void euler_is_ddim(void **state)
{
    (void)state;
    exact e;
    float a[VALUES], b[VALUES];
    const dt_settings ddim = settings_of(DT_SAMPLER_DDIM, DT_SPACING_SECTIONS, 20);
    const dt_settings euler = settings_of(DT_SAMPLER_EULER, DT_SPACING_SECTIONS, 20);
    exact_open(&e, PREDICTS_NOISE, false);
    draw(a, &e, &ddim);
    draw(b, &e, &euler);
    assert_true(farthest(a, b) < 1e-5);
}

/* How far from where the exact way ends, which a thousand steps of Heun come close to. */
static double error_of(dt_sampler kind, dt_spacing spacing, int64_t steps)
{
    exact e;
    float x[VALUES], end[VALUES];
    const dt_settings s = settings_of(kind, spacing, steps),
                      many = settings_of(DT_SAMPLER_HEUN, DT_SPACING_SECTIONS, 1000);
    exact_open(&e, PREDICTS_NOISE, false);
    draw(x, &e, &s);
    draw(end, &e, &many);
    return farthest(x, end);
}

/* The order that the papers promise: with twice the steps the error of order 1 halves, that of order 2 falls to a quarter. Heun
 * stays a little behind: the network is told whole steps. */
static void errors_fall_as_the_order_says(void **state)
{
    (void)state;
    const dt_sampler second[] = {DT_SAMPLER_DPM_2M, DT_SAMPLER_UNIPC, DT_SAMPLER_HEUN};
    const double first = error_of(DT_SAMPLER_DDIM, DT_SPACING_TRAILING, 50);
    const double fall = first / error_of(DT_SAMPLER_DDIM, DT_SPACING_TRAILING, 100);
    assert_true(fall > 1.8 && fall < 2.2);
    for (int i = 0; i < 3; i++) {
        const double error = error_of(second[i], DT_SPACING_TRAILING, 50);
        assert_true(error < first / 2);
        assert_true(error / error_of(second[i], DT_SPACING_TRAILING, 100) > 2.7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(samples_are_those_of_diffusers, context_make, context_remove),
        cmocka_unit_test_setup_teardown(only_ancestral_sampling_reads_the_variance, context_make, context_remove),
        cmocka_unit_test_setup_teardown(a_step_is_one_evaluation_and_of_heun_two, context_make, context_remove),
        cmocka_unit_test_setup_teardown(a_clipped_sample_ends_in_its_range, context_make, context_remove),
        cmocka_unit_test_setup_teardown(the_fewest_steps_give_finite_samples, context_make, context_remove),
        cmocka_unit_test_setup_teardown(euler_is_ddim, context_make, context_remove),
        cmocka_unit_test_setup_teardown(errors_fall_as_the_order_says, context_make, context_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
