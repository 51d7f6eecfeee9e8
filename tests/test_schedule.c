/* The noise schedule: against figures taken from the official DiT code (vectors/schedule.json) and against laws. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "diffusion/schedule.h"

static json_t *vectors;

static int load_vectors(void **state)
{
    (void)state;
    json_error_t error;
    vectors = json_load_file("vectors/schedule.json", 0, &error);
    return vectors ? 0 : -1;
}

static int free_vectors(void **state)
{
    (void)state;
    json_decref(vectors);
    return 0;
}

static void assert_close(double found, double expected, double tolerance, const char *what, int64_t i)
{
    if (!(fabs(found - expected) <= tolerance * fabs(expected)))
        fail_msg("%s[%lld]: expected %.17g, found %.17g", what, (long long)i, expected, found);
}

/* "ddim50" and "50" as the official code writes them. */
static schedule respaced(const char *text)
{
    const bool ddim = strncmp(text, "ddim", 4) == 0;
    schedule s;
    dt_error err = {0};
    schedule_respaced(&s, NOISE_LINEAR, ddim ? DT_SPACING_DDIM : DT_SPACING_SECTIONS, atoll(text + (ddim ? 4 : 0)),
                      &err);
    if (err.status != DT_OK) fail_msg("%s: %s", text, err.message);
    return s;
}

static void check_tables(const schedule *s, json_t *expected, double tolerance)
{
    const struct {
        const char *name;
        const double *table;
    } tables[] = {{"beta", s->beta},
                  {"abar", s->abar},
                  {"abar_prev", s->abar_prev},
                  {"posterior_variance", s->posterior_variance},
                  {"posterior_log_variance", s->posterior_log_variance},
                  {"posterior_mean_x0", s->posterior_mean_x0},
                  {"posterior_mean_xt", s->posterior_mean_xt}};
    json_t *at = json_object_get(expected, "at"), *value;
    size_t i;
    for (size_t k = 0; k < sizeof tables / sizeof tables[0]; k++)
        json_array_foreach(json_object_get(expected, tables[k].name), i, value)
        {
            const int64_t step = json_integer_value(json_array_get(at, i));
            assert_close(tables[k].table[step], json_real_value(value), tolerance, tables[k].name, step);
        }
}

static void the_full_tables_are_the_official_ones(void **state)
{
    (void)state;
    schedule s;
    schedule_full(&s, NOISE_LINEAR);
    assert_int_equal(s.count, 1000);
    check_tables(&s, json_object_get(vectors, "full"), 1e-12);
}

static void published_figures_of_the_schedule_hold(void **state)
{
    (void)state;
    schedule s;
    schedule_full(&s, NOISE_LINEAR);
    const struct {
        int t;
        double abar;
    } figures[] = {{0, 0.9999},       {1, 0.99978009},   {20, 0.99373543},    {41, 0.97886876},    {99, 0.89701815},
                   {250, 0.52142303}, {499, 0.07858724}, {980, 5.9037514e-5}, {999, 4.03582977e-5}};
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        assert_close(s.abar[figures[i].t], figures[i].abar, 1e-7, "abar", figures[i].t);
    assert_close(s.posterior_variance[1], 5.45318766e-5, 1e-8, "posterior_variance", 1);
    assert_close(s.posterior_log_variance[0], -9.81672514, 1e-8, "posterior_log_variance", 0);
    assert_true(s.posterior_variance[0] == 0 && s.abar_prev[0] == 1 && s.ddim_final_abar == 1);
}

static void the_kept_steps_are_the_official_ones(void **state)
{
    (void)state;
    const char *text;
    json_t *expected, *t;
    size_t i;
    json_object_foreach(json_object_get(vectors, "timesteps"), text, expected)
    {
        const schedule s = respaced(text);
        assert_int_equal(s.count, json_array_size(expected));
        json_array_foreach(expected, i, t) assert_int_equal(s.original[i], json_integer_value(t));
    }
}

static void respaced_tables_are_the_official_ones(void **state)
{
    (void)state;
    const char *text;
    json_t *expected;
    json_object_foreach(json_object_get(vectors, "respaced"), text, expected)
    {
        const schedule s = respaced(text);
        check_tables(&s, expected, 1e-10);
    }
    assert_close(respaced("50").beta[49], 0.32980907, 1e-7, "beta of \"50\"", 49);
    assert_close(respaced("ddim50").beta[49], 0.32461447, 1e-7, "beta of \"ddim50\"", 49);
}

static void a_respaced_schedule_keeps_the_noise_level_of_its_steps(void **state)
{
    (void)state;
    schedule full, s;
    dt_error err = {0};
    schedule_full(&full, NOISE_LINEAR);
    for (int spacing = DT_SPACING_DDIM; spacing <= DT_SPACING_LEADING; spacing++) {
        assert_int_equal(schedule_respaced(&s, NOISE_LINEAR, (dt_spacing)spacing, 50, &err), DT_OK);
        for (int64_t i = 0; i < s.count; i++) assert_close(s.abar[i], full.abar[s.original[i]], 1e-12, "abar", i);
    }
}

static void leading_spacing_is_stable_diffusions(void **state)
{
    (void)state;
    schedule s;
    dt_error err = {0};
    assert_int_equal(schedule_respaced(&s, NOISE_LINEAR, DT_SPACING_LEADING, 50, &err), DT_OK);
    for (int64_t i = 0; i < 50; i++) assert_int_equal(s.original[i], 20 * i + 1);
    assert_close(s.ddim_final_abar, 0.9999, 1e-12, "ddim_final_abar", 0);
    assert_int_equal(schedule_respaced(&s, NOISE_LINEAR, DT_SPACING_LEADING, 30, &err), DT_OK); /* 1000/30 = 33 */
    assert_int_equal(s.original[29], 29 * 33 + 1);
    assert_int_equal(schedule_respaced(&s, NOISE_LINEAR, DT_SPACING_LEADING, 999, &err), DT_OK);
    assert_int_equal(s.original[998], 999);
}

/* Steps and sigma / alpha of 12 steps as diffusers 0.42.1 lays them, from the cleanest on. Its tables are in float32, which is 8e-5
 * off at t = 0. */
static const struct {
    dt_spacing spacing;
    bool multistep;
    int32_t t[12];
    double sigma[12];
} laid[] = {
    {DT_SPACING_LINSPACE,
     true,
     {83, 166, 250, 333, 416, 500, 583, 666, 749, 832, 916, 999},
     {0.2846058, 0.5836406, 0.9580338, 1.462357, 2.212923, 3.442967, 5.560045, 9.488921, 17.24698, 33.52193, 70.45046,
      157.4072}},
    {DT_SPACING_LEADING,
     true,
     {77, 153, 229, 305, 381, 457, 533, 609, 685, 761, 837, 913},
     {0.2645717, 0.5333505, 0.8547291, 1.271738, 1.855887, 2.733940, 4.141119, 6.531580, 10.81734, 18.90660, 34.96762,
      68.52229}},
    {DT_SPACING_TRAILING,
     true,
     {82, 166, 249, 332, 416, 499, 582, 666, 749, 832, 916, 999},
     {0.2812563, 0.5836406, 0.9529356, 1.455114, 2.212923, 3.424137, 5.526326, 9.488921, 17.24698, 33.52193, 70.45046,
      157.4072}},
    {DT_SPACING_KARRAS,
     true,
     {0, 12, 59, 180, 363, 527, 651, 747, 826, 892, 949, 999},
     {0.01000133, 0.05348461, 0.2066573, 0.6412970, 1.699313, 3.996741, 8.563638, 17.02523, 31.82968, 56.52783,
      96.11030, 157.4072}},
    {DT_SPACING_LINSPACE, /* between the steps; the network is told the nearest */
     false,
     {0, 91, 182, 272, 363, 454, 545, 636, 727, 817, 908, 999},
     {0.01000133, 0.3109477, 0.6463730, 1.077756, 1.699264, 2.692584, 4.434618, 7.753850, 14.57778, 29.66741, 65.54829,
      157.4072}},
};

static void spacings_are_those_of_diffusers(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof laid / sizeof *laid; k++) {
        schedule s;
        dt_error err = {0};
        assert_int_equal((laid[k].multistep ? schedule_respaced_multistep
                                            : schedule_respaced)(&s, NOISE_LINEAR, laid[k].spacing, 12, &err),
                         DT_OK);
        for (int64_t i = 0; i < 12; i++) {
            const noise_level at = schedule_level(&s, i);
            assert_int_equal(s.original[i], laid[k].t[i]);
            assert_true(fabs(at.sigma / at.alpha / laid[k].sigma[i] - 1) < 1e-4);
            assert_close(at.alpha * at.alpha + at.sigma * at.sigma, 1, 1e-12, "alpha^2 + sigma^2", i);
        }
    }
}

/* Also where Karras' levels lie closer than the steps. */
static void levels_between_the_steps_fall_to_the_end(void **state)
{
    (void)state;
    for (int64_t count = 2; count <= 1000; count += count < 20 ? 1 : 49)
        for (int spacing = DT_SPACING_LINSPACE; spacing <= DT_SPACING_KARRAS; spacing++) {
            schedule s;
            dt_error err = {0};
            assert_int_equal(schedule_respaced(&s, NOISE_LINEAR, (dt_spacing)spacing, count, &err), DT_OK);
            for (int64_t i = 0; i < count; i++) {
                assert_in_range(s.original[i], i ? s.original[i - 1] : 0, 999);
                assert_true(s.beta[i] > 0 && s.beta[i] < 1 && isfinite(s.posterior_log_variance[i]));
            }
            assert_close(s.abar[count - 1], 4.03582977e-5, 1e-7, "abar", count - 1);
        }
}

static void a_count_that_cannot_be_kept_is_refused_with_the_nearest(void **state)
{
    (void)state;
    const struct {
        dt_spacing spacing;
        int64_t count;
        const char *mentions;
    } cases[] = {
        {DT_SPACING_DDIM, 51, "nearest are 50 and 53"}, /* strides 20 and 19 */
        {DT_SPACING_DDIM, 501, "nearest are 500 and 1000"},
        {DT_SPACING_DDIM, 1, "fewest are 2"},
        {DT_SPACING_LEADING, 1000, "expected 1 to 999 steps, found 1000"},
        {DT_SPACING_SECTIONS, 0, "expected 1 to 1000, found 0"},
        {DT_SPACING_SECTIONS, 1001, "expected 1 to 1000, found 1001"},
        {DT_SPACING_DDIM, -7, "found -7"},
        {DT_SPACING_LINSPACE, 1, "expected 2 to 1000 steps of this sampler, found 1"},
        {DT_SPACING_AUTO, 50, "number 6"},
        {(dt_spacing)9, 50, "number 9"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        schedule s;
        schedule_full(&s, NOISE_LINEAR);
        const schedule before = s;
        dt_error err = {0};
        assert_int_equal(schedule_respaced(&s, NOISE_LINEAR, cases[i].spacing, cases[i].count, &err), DT_ERR_ARG);
        if (!strstr(err.message, cases[i].mentions))
            fail_msg("'%s' does not mention '%s'", err.message, cases[i].mentions);
        assert_memory_equal(&s, &before, sizeof s);
    }
}

static void every_count_gives_ascending_steps_in_range_and_finite_tables(void **state)
{
    (void)state;
    for (int64_t count = 1; count < 1000; count++)
        for (int spacing = DT_SPACING_DDIM; spacing <= DT_SPACING_TRAILING; spacing++) {
            schedule s;
            dt_error err = {0};
            if (schedule_respaced(&s, NOISE_LINEAR, (dt_spacing)spacing, count, &err) != DT_OK) {
                assert_true(spacing == DT_SPACING_DDIM || (spacing == DT_SPACING_LINSPACE && count == 1));
                continue;
            }
            assert_int_equal(s.count, count);
            for (int64_t i = 0; i < count; i++) {
                assert_in_range(s.original[i], i ? s.original[i - 1] + 1 : 0, 999);
                assert_true(s.beta[i] > 0 && s.beta[i] < 1 && isfinite(s.posterior_log_variance[i]));
            }
        }
}

static void loss_coefficients_undo_the_noising(void **state)
{
    (void)state;
    schedule s;
    schedule_full(&s, NOISE_LINEAR);
    for (int64_t t = 0; t < 1000; t++) {
        const real x0 = 0.5, eps = -1.25;
        real xt;
        schedule_add_noise(&xt, &x0, &eps, 1, &s, t);
        const loss_coefficients k = schedule_loss_coefficients(&s, t);
        const double scale = fabs(k.sqrt_recip_abar * xt) + fabs(k.sqrt_recipm1_abar * eps);
        assert_true(fabs(k.sqrt_recip_abar * xt - k.sqrt_recipm1_abar * eps - x0) < 4e-7 * scale);
        assert_int_equal(k.at_zero, t == 0);
        assert_true(k.posterior_log_variance < k.log_beta); /* the two ends of the learned range */
    }
    assert_close(schedule_loss_coefficients(&s, 999).log_beta, log(0.02), 1e-6, "log_beta", 999);
}

static void loss_coefficients_are_the_official_ones(void **state)
{
    (void)state;
    schedule s;
    schedule_full(&s, NOISE_LINEAR);
    json_t *full = json_object_get(vectors, "full"), *at = json_object_get(full, "at"), *t;
    size_t i;
    json_array_foreach(at, i, t)
    {
        const loss_coefficients k = schedule_loss_coefficients(&s, json_integer_value(t));
        const struct {
            const char *name;
            real value;
        } entries[] = {{"sqrt_recip_abar", k.sqrt_recip_abar},
                       {"sqrt_recipm1_abar", k.sqrt_recipm1_abar},
                       {"posterior_mean_x0", k.posterior_mean_x0},
                       {"posterior_mean_xt", k.posterior_mean_xt},
                       {"posterior_log_variance", k.posterior_log_variance}};
        for (size_t e = 0; e < sizeof entries / sizeof entries[0]; e++)
            assert_close(entries[e].value, json_real_value(json_array_get(json_object_get(full, entries[e].name), i)),
                         1e-7, entries[e].name, json_integer_value(t));
    }
}

/* ---- sampler steps ---- */

enum { STEP_COUNT = 6 }; /* numbers in each array of the vectors' steps */

static void read_numbers(real out[STEP_COUNT], json_t *step, const char *name)
{
    for (size_t i = 0; i < STEP_COUNT; i++)
        out[i] = (real)json_real_value(json_array_get(json_object_get(step, name), i));
}

static void check_step(const real found[STEP_COUNT], json_t *step, const char *name)
{
    real expected[STEP_COUNT], largest = 0;
    read_numbers(expected, step, name);
    for (int i = 0; i < STEP_COUNT; i++) largest = fmaxf(largest, fabsf(expected[i]));
    for (int i = 0; i < STEP_COUNT; i++)
        if (!(fabsf(found[i] - expected[i]) <= 1e-5f * largest))
            fail_msg("%s, step %lld, entry %d: expected %.9g, found %.9g", name,
                     (long long)json_integer_value(json_object_get(step, "index")), i, expected[i], found[i]);
}

static void sampler_steps_are_the_official_ones(void **state)
{
    (void)state;
    const schedule s = respaced("ddim50");
    json_t *step;
    size_t k;
    json_array_foreach(json_object_get(vectors, "steps"), k, step)
    {
        const int64_t i = json_integer_value(json_object_get(step, "index"));
        const bool learned = json_is_true(json_object_get(step, "learned"));
        real x[STEP_COUNT], eps[STEP_COUNT], v[STEP_COUNT], noise[STEP_COUNT], out[STEP_COUNT];
        read_numbers(x, step, "x");
        read_numbers(eps, step, "eps");
        read_numbers(v, step, "v");
        read_numbers(noise, step, "noise");
        schedule_ddim_step(out, x, eps, NULL, STEP_COUNT, &s, i, 0);
        check_step(out, step, "ddim");
        schedule_ddim_step(out, x, eps, noise, STEP_COUNT, &s, i, json_real_value(json_object_get(step, "eta")));
        check_step(out, step, "ddim_eta");
        schedule_ancestral_step(x, x, eps, learned ? v : NULL, noise, STEP_COUNT, &s, i); /* in place */
        check_step(x, step, "ancestral");
    }
    assert_int_equal(k, 8);
}

static void ddim_with_the_true_noise_follows_the_noising(void **state)
{
    (void)state;
    schedule s;
    dt_error err = {0};
    const real x0[3] = {-1, 0.25, 1}, eps[3] = {0.5, -2, 1.5};
    for (int spacing = DT_SPACING_DDIM; spacing <= DT_SPACING_LEADING; spacing++) {
        assert_int_equal(schedule_respaced(&s, NOISE_LINEAR, (dt_spacing)spacing, 50, &err), DT_OK);
        real x[3], expected[3];
        schedule_add_noise(x, x0, eps, 3, &s, 49);
        for (int64_t i = 49; i > 0; i--) {
            schedule_ddim_step(x, x, eps, NULL, 3, &s, i, 0);
            schedule_add_noise(expected, x0, eps, 3, &s, i - 1);
            for (int j = 0; j < 3; j++) assert_true(fabsf(x[j] - expected[j]) < 2e-4f);
        }
        schedule_ddim_step(x, x, eps, NULL, 3, &s, 0, 0);
        for (int j = 0; j < 3; j++) {
            const double level = s.ddim_final_abar; /* 1: x0 itself; else still a little noise */
            assert_true(fabs(x[j] - (sqrt(level) * x0[j] + sqrt(1 - level) * eps[j])) < 2e-4);
        }
    }
}

/* x0 beyond the edge comes to lie on it, x0 inside keeps its bits. */
static void clipping_moves_only_what_leaves_the_range(void **state)
{
    (void)state;
    schedule s;
    schedule_full(&s, NOISE_LINEAR);
    for (int64_t i = 0; i < 900; i += 111) {
        const real x0[4] = {(real)-3, (real)-0.5, (real)0.25, (real)1.75};
        real eps[4] = {(real)0.3, (real)-1.1, (real)0.7, (real)0.2}, kept[4], x[4];
        for (int j = 0; j < 4; j++) {
            x[j] = (real)(sqrt(s.abar[i]) * x0[j] + sqrt(1 - s.abar[i]) * eps[j]);
            kept[j] = eps[j];
        }
        schedule_clip_x0(eps, x, 4, &s, i);
        for (int j = 0; j < 4; j++) {
            double found = (x[j] - sqrt(1 - s.abar[i]) * eps[j]) / sqrt(s.abar[i]);
            if (x0[j] > -1 && x0[j] < 1)
                assert_true(eps[j] == kept[j]);
            else
                assert_close(found, x0[j] < 0 ? -1 : 1, 1e-4, "clipped x0", i);
        }
    }
}

static void the_last_step_reads_no_noise(void **state)
{
    (void)state;
    schedule s;
    dt_error err = {0};
    const real x[2] = {0.5, -0.5}, eps[2] = {1, 2}, v[2] = {0, 1};
    real ddim[2], ancestral[2];
    for (int spacing = DT_SPACING_DDIM; spacing <= DT_SPACING_LEADING; spacing++) {
        assert_int_equal(schedule_respaced(&s, NOISE_LINEAR, (dt_spacing)spacing, 10, &err), DT_OK);
        schedule_ddim_step(ddim, x, eps, NULL, 2, &s, 0, spacing == DT_SPACING_LEADING ? 0 : 1);
        schedule_ancestral_step(ancestral, x, eps, v, NULL, 2, &s, 0);
        assert_true(isfinite(ddim[0]) && isfinite(ancestral[0]));
    }
}

/* diffusers' DDIMScheduler with set_alpha_to_one false: the step from t = 1 goes to alphas_cumprod[0], with the variance that every
 * step has. */
static void the_last_step_of_leading_is_noisy_as_in_diffusers(void **state)
{
    (void)state;
    schedule s;
    dt_error err = {0};
    const double a1 = (1 - 1e-4) * (1 - (1e-4 + (0.02 - 1e-4) / 999)), a0 = 1 - 1e-4;
    const double variance = (1 - a0) / (1 - a1) * (1 - a1 / a0);
    const real x[1] = {0.5}, eps[1] = {0.25}, noise[1] = {-2};
    assert_int_equal(schedule_respaced(&s, NOISE_LINEAR, DT_SPACING_LEADING, 10, &err), DT_OK);
    for (double eta = 0.5; eta <= 1; eta += 0.5) {
        real out[1];
        const double sigma = eta * sqrt(variance), x0 = (0.5 - sqrt(1 - a1) * 0.25) / sqrt(a1);
        assert_close(schedule_ddim_sigma(&s, 0, eta), sigma, 1e-9, "sigma of the last step", 0);
        schedule_ddim_step(out, x, eps, noise, 1, &s, 0, eta);
        assert_close(out[0], sqrt(a0) * x0 + sqrt(1 - a0 - sigma * sigma) * 0.25 - 2 * sigma, 1e-6, "last step", 0);
    }
    assert_int_equal(schedule_respaced(&s, NOISE_LINEAR, DT_SPACING_SECTIONS, 10, &err), DT_OK);
    assert_true(schedule_ddim_sigma(&s, 0, 1) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_full_tables_are_the_official_ones),
        cmocka_unit_test(published_figures_of_the_schedule_hold),
        cmocka_unit_test(the_kept_steps_are_the_official_ones),
        cmocka_unit_test(respaced_tables_are_the_official_ones),
        cmocka_unit_test(a_respaced_schedule_keeps_the_noise_level_of_its_steps),
        cmocka_unit_test(leading_spacing_is_stable_diffusions),
        cmocka_unit_test(spacings_are_those_of_diffusers),
        cmocka_unit_test(levels_between_the_steps_fall_to_the_end),
        cmocka_unit_test(a_count_that_cannot_be_kept_is_refused_with_the_nearest),
        cmocka_unit_test(every_count_gives_ascending_steps_in_range_and_finite_tables),
        cmocka_unit_test(loss_coefficients_undo_the_noising),
        cmocka_unit_test(loss_coefficients_are_the_official_ones),
        cmocka_unit_test(sampler_steps_are_the_official_ones),
        cmocka_unit_test(ddim_with_the_true_noise_follows_the_noising),
        cmocka_unit_test(clipping_moves_only_what_leaves_the_range),
        cmocka_unit_test(the_last_step_reads_no_noise),
        cmocka_unit_test(the_last_step_of_leading_is_noisy_as_in_diffusers),
    };
    return cmocka_run_group_tests(tests, load_vectors, free_vectors);
}
