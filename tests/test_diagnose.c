/* The diagnosis: intervals against direct arithmetic, cases whose answer is known, and its files, which train takes. */
#include "run_fixture.h"

#include "api/diagnose.h"
#include "api/settings_check.h"
#include "base/student.h"
#include "file/json_file.h"
#include "gaussian_denoiser.h"
#include "settings/settings.h"

/* ---- intervals ---- */

static void student_quantiles_are_the_tables(void **state)
{
    (void)state;
    static const struct {
        int freedom;
        double quantile;
    } table[] = {{1, 12.7062}, {2, 4.3027},  {4, 2.7764},  {5, 2.5706},
                 {9, 2.2622},  {10, 2.2281}, {30, 2.0423}, {127, 1.9788}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        assert_float_equal(student_95(table[i].freedom), table[i].quantile, 2e-4);
    assert_true(isinf(student_95(0)));
}

enum { PAIRS = 7 };

static void fill_losses(real *x, uint32_t number, double scale)
{
    for (int i = 0; i < PAIRS * GAP_BANDS; i++)
        x[i] = (real)(scale * (1 + rng_uniform((rng_key){1, RNG_NOISE, number, (uint32_t)i}, 0)));
}

/* Leaving out a pair at a time (the jackknife) gives the same standard error but for terms of higher order. */
static void intervals_are_those_of_the_jackknife(void **state)
{
    (void)state;
    real a[PAIRS * GAP_BANDS], b[PAIRS * GAP_BANDS];
    gap g;
    fill_losses(a, 1, 2);
    fill_losses(b, 2, 1);
    gap_measure(&g, a, b, PAIRS);
    for (int band = 0; band < GAP_BANDS; band++) {
        double sum_a = 0, sum_b = 0, left[PAIRS], mean = 0, squares = 0;
        for (int i = 0; i < PAIRS; i++)
            sum_a += (double)a[i * GAP_BANDS + band], sum_b += (double)b[i * GAP_BANDS + band];
        for (int i = 0; i < PAIRS; i++) {
            left[i] = log((sum_a - (double)a[i * GAP_BANDS + band]) / (sum_b - (double)b[i * GAP_BANDS + band]));
            mean += left[i] / PAIRS;
        }
        for (int i = 0; i < PAIRS; i++) squares += (left[i] - mean) * (left[i] - mean);
        const double error = sqrt(squares * (PAIRS - 1) / PAIRS);
        assert_float_equal(g.relative[band].value, sum_a / sum_b - 1, 1e-12);
        assert_float_equal(g.absolute[band].value, (sum_a - sum_b) / PAIRS, 1e-12);
        assert_float_equal(log1p(g.relative[band].high) - log1p(g.relative[band].value), student_95(PAIRS - 1) * error,
                           0.06 * student_95(PAIRS - 1) * error);
    }
}

static void what_two_sets_share_leaves_no_uncertainty(void **state)
{
    (void)state;
    real a[PAIRS * GAP_BANDS], b[PAIRS * GAP_BANDS];
    gap g;
    fill_losses(a, 1, 1);
    for (int i = 0; i < PAIRS * GAP_BANDS; i++) b[i] = a[i] / (i % GAP_BANDS < GAP_CLEAN_BANDS ? 1 : (real)1.5);
    gap_measure(&g, a, b, PAIRS);
    assert_float_equal(g.clean.value, 0, 1e-6);
    assert_float_equal(g.noisy.value, 0.5, 1e-6);
    assert_float_equal(g.rise.low, 0.5, 1e-5);
    assert_float_equal(g.rise.high, 0.5, 1e-5);
}

static void one_picture_has_no_interval(void **state)
{
    (void)state;
    real a[GAP_BANDS], b[GAP_BANDS];
    gap g;
    for (int i = 0; i < GAP_BANDS; i++) a[i] = 2, b[i] = 1;
    gap_measure(&g, a, b, 1);
    assert_float_equal(g.whole.value, 1, 1e-12);
    assert_true(g.whole.low == -1 && isinf(g.whole.high));
}

/* ---- what follows ---- */

static gap_interval around(double value, double half)
{
    return (gap_interval){value, value - half, value + half};
}

static gap made_gap(double clean, double noisy, double half)
{
    gap g = {.pictures = 128,
             .clean = around(clean, half),
             .noisy = around(noisy, half),
             .whole = around((clean + noisy) / 2, half),
             .rise = around((1 + noisy) / (1 + clean) - 1, 1.5 * half)};
    g.relative[0] = g.clean;
    return g;
}

static void rules_follow_the_facts(void **state)
{
    (void)state;
    static const struct {
        double clean, noisy, half, own;
        bool has_source, takes_difffit;
        int64_t pictures;
        double passes;
        advice_premise premise;
        dt_method method;
        dt_retention retention;
        dt_adapter adapter;
    } cases[] = {
#define DISTIL(kind) DT_METHOD_DIFF_TUNING, DT_RETENTION_##kind##_DISTIL, DT_ADAPTER_NONE
#define PLAIN        DT_METHOD_FINETUNE, DT_RETENTION_NONE, DT_ADAPTER_NONE
#define DIFFFIT      DT_METHOD_FINETUNE, DT_RETENTION_NONE, DT_ADAPTER_DIFFFIT
        {0.03, 0.30, 0.05, 0, false, true, 210, 300, PREMISE_HOLDS, DIFFFIT},
        {0.03, 0.30, 0.05, 0, false, true, 210, 76, PREMISE_HOLDS, DIFFFIT},
        {0.03, 0.30, 0.05, 0, false, false, 210, 300, PREMISE_HOLDS, DISTIL(TARGET)},
        {0.03, 0.30, 0.05, 0, false, true, 210, 10, PREMISE_HOLDS, PLAIN},
        {0.03, 0.30, 0.05, 0, false, true, 210, 49, PREMISE_HOLDS, PLAIN},
        {0.03, 0.30, 0.05, 0, false, true, 8144, 94, PREMISE_HOLDS, PLAIN},
        {0.03, 0.30, 0.05, 0, false, true, 8144, 100, PREMISE_HOLDS, DISTIL(TARGET)},
        {0.03, 0.30, 0.90, 0, true, true, 8144, 300, PREMISE_UNKNOWN, PLAIN},
        {0.03, 0.30, 0.05, 0, true, true, 210, 10, PREMISE_HOLDS, DISTIL(BANK)},
        {0.03, 0.30, 0.05, 0, true, true, 210, 300, PREMISE_HOLDS, DISTIL(BANK)},
        {0.03, 0.30, 0.05, -0.12, true, true, 210, 300, PREMISE_HOLDS, DIFFFIT},
        {0.03, 0.30, 0.05, -0.12, true, false, 210, 300, PREMISE_HOLDS, DISTIL(TARGET)},
        {0.03, 0.30, 0.05, -0.12, true, true, 210, 10, PREMISE_HOLDS, PLAIN},
        {0.80, 0.30, 0.10, 0, true, true, 210, 300, PREMISE_FAILS, PLAIN},
        {0.25, 0.60, 0.10, 0, true, true, 210, 300, PREMISE_FAILS, PLAIN},
        {0.00, 0.01, 0.08, 0, true, true, 210, 300, PREMISE_NO_GAP, PLAIN},
        {0.03, 0.30, 0.90, 0, true, true, 210, 300, PREMISE_UNKNOWN, DIFFFIT},
        {0.03, 0.30, 0.90, 0, true, false, 210, 300, PREMISE_UNKNOWN, PLAIN},
        {0.03, 0.30, 0.90, 0, true, true, 210, 10, PREMISE_UNKNOWN, PLAIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        diagnosis d = {.has_source = cases[i].has_source,
                       .pictures = cases[i].pictures,
                       .trained = 100,
                       .passes = cases[i].passes,
                       .takes_difffit = cases[i].takes_difffit};
        d.of_own = d.of_source = made_gap(cases[i].clean, cases[i].noisy, cases[i].half);
        d.own = made_gap(cases[i].own, 0, 0.05);
        const advice a = advice_of(&d);
        if (a.premise != cases[i].premise || a.method != cases[i].method || a.retention != cases[i].retention ||
            a.adapter != cases[i].adapter)
            fail_msg("case %d: %s, method %d, retention %d, adapter %d", (int)i, advice_premise_word(a.premise),
                     a.method, a.retention, a.adapter);
        assert_int_equal(a.psi, a.method == DT_METHOD_FINETUNE ? ADVICE_PSI_FLAT : ADVICE_PSI_POWER);
    }
}

static void one_picture_is_told_as_one(void **state)
{
    (void)state;
    diagnosis d = {.pictures = 1, .trained = 100, .passes = 10};
    d.of_own = made_gap(0.03, 0.30, 0.9);
    d.of_own.pictures = 1;
    const advice a = advice_of(&d);
    assert_says(a.line[0], "1 picture).");
    assert_says(a.line[2], "over 1 picture, ");
}

static void tau_is_found_again(void **state)
{
    (void)state;
    double psi[SCHEDULE_STEPS];
    for (int t = 0; t < SCHEDULE_STEPS; t++) psi[t] = pow((t + 1.0) / SCHEDULE_STEPS, 1.7);
    assert_float_equal(advice_tau(psi), 1.7, 1e-12);
}

/* ---- cases whose answer is known ---- */

static dt_settings made_settings(const char *target, const char *output)
{
    dt_settings s;
    dt_settings_init(&s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("gaussian.safetensors"));
    snprintf(s.train_data, sizeof s.train_data, "%s", temp_path(target));
    snprintf(s.source_data, sizeof s.source_data, "%s", temp_path("source"));
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path(output));
    s.threads = 1;
    s.validation_count = 128;
    return s;
}

static advice diagnose_kinds(const dt_settings *s, diagnosis *d, model_kinds kinds)
{
    ctx c;
    advice a;
    const dt_observer observer = {.log = fixture_collect};
    fixture_log[0] = '\0';
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    if (diagnose(&c, d, &a, s, &observer, kinds) != DT_OK) fail_msg("%s", c.error.message);
    ctx_close(&c);
    return a;
}

static void make_law(void)
{
    const gaussian g = gaussian_of_pictures();
    gaussian_save(&g, temp_path("gaussian.safetensors"));
    gaussian_pictures(&g, temp_path("source"), 128, 1, NULL);
}

/* Of `count` pictures of this law, damaged or not (NULL). */
static advice diagnose_target(diagnosis *d, const gaussian *g, int count, gaussian_damage *damage)
{
    make_law();
    gaussian_pictures(g, temp_path("target"), count, 2, damage);
    const dt_settings s = made_settings("target", "out");
    return diagnose_kinds(&s, d, gaussian_kinds);
}

/* What the pictures show is another, but not how sharp they are: the lowest frequencies vary more. */
static void a_target_with_the_same_low_level_statistics_holds(void **state)
{
    (void)state;
    diagnosis d;
    gaussian g = gaussian_of_pictures();
    for (int k = 0; k < GAUSSIAN_PIXELS; k++)
        if (k / GAUSSIAN_SIDE + k % GAUSSIAN_SIDE < 2) g.variance[k] *= 3;
    const advice a = diagnose_target(&d, &g, 128, NULL);
    assert_int_equal(a.premise, PREMISE_HOLDS);
    assert_true(d.of_source.clean.value < 0.1 && d.of_source.noisy.value > 0.2);
    assert_true(d.psi_fits && d.psi[100] < 0.3 && d.psi[900] > 0.7);
    assert_says(fixture_log, "holds: the gap rises with t");
    assert_int_equal(a.length, LENGTH_FEW);
    assert_int_equal(d.trained, 2 * GAUSSIAN_PIXELS);
    assert_float_equal(d.passes, 24000.0 * 32 / 128, 1e-9);
}

/* Each coefficient on a coarse grid, as a strong JPEG has it, dithered. */
static void quantise(double y[GAUSSIAN_PIXELS], rng_key key)
{
    const double grid = 0.4;
    key.purpose = RNG_FLIP;
    for (int k = 1; k < GAUSSIAN_PIXELS; k++) y[k] = grid * floor(y[k] / grid + rng_uniform(key, (uint32_t)k));
}

static void a_damaged_target_fails_at_small_t(void **state)
{
    (void)state;
    diagnosis d;
    const gaussian g = gaussian_of_pictures();
    const advice a = diagnose_target(&d, &g, 128, quantise);
    assert_int_equal(a.premise, PREMISE_FAILS);
    assert_int_equal(a.method, DT_METHOD_FINETUNE);
    assert_true(d.of_source.rise.high < 0);
    assert_says(fixture_log, "fails at small t");
}

static void the_source_itself_as_target_has_no_gap(void **state)
{
    (void)state;
    diagnosis d;
    const gaussian g = gaussian_of_pictures();
    const advice a = diagnose_target(&d, &g, 128, NULL);
    assert_int_equal(a.premise, PREMISE_NO_GAP);
    assert_true(d.of_source.whole.low < 0 && d.of_source.whole.high > 0);
    assert_says(fixture_log, "There is no gap to speak of");
}

static void three_pictures_are_not_enough_to_say(void **state)
{
    (void)state;
    diagnosis d;
    gaussian g = gaussian_of_pictures();
    g.variance[0] *= 3;
    const advice a = diagnose_target(&d, &g, 3, NULL);
    assert_int_equal(a.premise, PREMISE_UNKNOWN);
    assert_int_equal(d.of_source.pictures, 3);
    assert_true(d.of_source.noisy.high - d.of_source.noisy.low > 0.5);
    assert_says(fixture_log, "not enough to say");
    assert_says(fixture_log, "3 pictures");
}

/* ---- files, with a DiT ---- */

static dt_settings dit_settings(void)
{
    dt_settings s = fixture_settings("out");
    s.bank[0] = '\0';
    s.validation_count = 9;
    s.max_train_steps = 2;
    return s;
}

static void what_it_writes_train_takes(void **state)
{
    (void)state;
    dt_error err = {0};
    char path[DT_PATH_MAX];
    dt_settings s = dit_settings(), train;
    snprintf(s.validation_data, sizeof s.validation_data, "%s", temp_path("held"));
    fixture_must(dt_diagnose, &s);
    assert_says(fixture_log, "train.yaml");
    file_join(path, s.output_dir, "train.yaml");
    dt_settings_init(&train);
    if (settings_load(&train, path, &err) != DT_OK) fail_msg("%s", err.message);
    assert_string_equal(train.train_data, s.train_data);
    assert_string_equal(train.diagnosis, s.output_dir);
    assert_int_equal(train.max_train_steps, 2);
    assert_true(train.clip_sample && !train.output_dir[0]);
    snprintf(train.output_dir, sizeof train.output_dir, "%s", temp_path("run"));
    fixture_train_to_the_end(&train);
    assert_true(file_exists(temp_path("run/diagnosis.json")));
}

/* A part is recommended of networks that have one, unless the plan names it. */
static void a_part_that_is_recommended_is_written(void **state)
{
    (void)state;
    const dt_adapter plans[] = {DT_ADAPTER_NONE, DT_ADAPTER_BITFIT};
    for (int i = 0; i < 2; i++) {
        diagnosis d;
        dt_settings s = dit_settings(), train;
        char path[DT_PATH_MAX];
        dt_error err = {0};
        s.adapter = plans[i];
        diagnose_kinds(&s, &d, model_kinds_all);
        assert_int_equal(d.takes_difffit, plans[i] == DT_ADAPTER_NONE);
        d.of_own = made_gap(0.03, 0.30, 0.9);
        d.passes = 300;
        const advice a = advice_of(&d);
        assert_int_equal(file_make_dirs(s.output_dir, &err), DT_OK);
        assert_int_equal(diagnosis_write(&d, &a, &(diagnosis_origin){.base_sha256 = "", .data_sha256 = ""}, &s, &err),
                         DT_OK);
        file_join(path, s.output_dir, "train.yaml");
        dt_settings_init(&train);
        if (settings_load(&train, path, &err) != DT_OK) fail_msg("%s", err.message);
        assert_int_equal(train.adapter, d.takes_difffit ? DT_ADAPTER_DIFFFIT : DT_ADAPTER_BITFIT);
        assert_float_equal(train.adapter_lr_factor, d.takes_difffit ? 10 : 1, 0);
        snprintf(train.output_dir, sizeof train.output_dir, "%s", temp_path("run"));
        if (settings_check(&train, SETTINGS_TRAIN, &err) != DT_OK) fail_msg("%s", err.message);
    }
}

static void the_same_bits_come_out_again_over_an_earlier_diagnosis(void **state)
{
    (void)state;
    dt_settings s = dit_settings();
    snprintf(s.source_data, sizeof s.source_data, "%s", temp_path("bank_images"));
    fixture_must(dt_diagnose, &s);
    const file_hash first = fixture_tree("out");
    s.threads = 2;
    fixture_must(dt_diagnose, &s);
    const file_hash second = fixture_tree("out");
    assert_same_bits(first, second);
    json_t *found = json_file_read(temp_path("out/diagnosis.json"), &(dt_error){0});
    assert_int_equal(json_integer_value(json_object_get(found, "pictures")), 12);
    assert_true(json_is_real(json_object_get(found, "own_kernel_distance")));
    assert_int_equal(json_array_size(json_object_get(json_object_get(found, "own_against_source"), "bands")),
                     GAP_BANDS);
    json_decref(found);
}

/* Files that cannot be read are no pictures of the plan; where not all are tried, the others are taken to be alike. */
static void what_cannot_be_read_is_not_counted(void **state)
{
    (void)state;
    fixture_images("broken", 1, 12, FIXTURE_SIZE, 4);
    for (int i = 0; i < 12; i++) {
        char name[64];
        snprintf(name, sizeof name, "broken/c0/%03d-.png", i);
        temp_write(name, "x", 1);
    }
    for (int tried = 8; tried <= 64; tried *= 8) {
        dt_settings s = dit_settings();
        s.validation_count = tried;
        snprintf(s.train_data, sizeof s.train_data, "%s", temp_path("broken"));
        fixture_must(dt_diagnose, &s);
        json_t *found = json_file_read(temp_path("out/diagnosis.json"), &(dt_error){0});
        assert_int_equal(json_integer_value(json_object_get(found, "pictures")), 12);
        json_decref(found);
    }
    dt_settings s = dit_settings();
    snprintf(s.train_data, sizeof s.train_data, "%s", temp_path("broken"));
    snprintf(s.validation_data, sizeof s.validation_data, "%s", temp_path("held"));
    fixture_must(dt_diagnose, &s);
    assert_says(fixture_log, "24 files; none is opened");
}

static void a_bank_is_measured_in_place_of_samples(void **state)
{
    (void)state;
    dt_settings s = dit_settings();
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank_images"));
    fixture_must(dt_diagnose, &s);
    json_t *found = json_file_read(temp_path("out/diagnosis.json"), &(dt_error){0});
    assert_true(json_is_false(json_object_get(found, "drew_samples")));
    json_decref(found);
}

static void a_stop_leaves_nothing(void **state)
{
    (void)state;
    dt_settings s = dit_settings();
    fixture_ask_every = 0;
    assert_int_equal(fixture_call_until(dt_diagnose, &s, 12), DT_ERR_INTERRUPTED);
    assert_false(file_exists(s.output_dir));
    fixture_ask_every = -1;
}

static void bad_input_is_one_line(void **state)
{
    (void)state;
    dt_settings s = dit_settings();
    s.train_data[0] = '\0';
    assert_int_equal(fixture_call(dt_diagnose, &s, NULL), DT_ERR_ARG);
    assert_string_equal(fixture_message, "diagnose needs train_data");
    s = dit_settings();
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("held"));
    assert_int_equal(fixture_call(dt_diagnose, &s, NULL), DT_ERR_CONFLICT);
    s = dit_settings();
    snprintf(s.source_data, sizeof s.source_data, "%s", temp_path("nowhere"));
    assert_int_equal(fixture_call(dt_diagnose, &s, NULL), DT_ERR_IO);
    assert_says(fixture_message, "nowhere");
    assert_false(file_exists(s.output_dir));
    s = fixture_settings("run");
    snprintf(s.diagnosis, sizeof s.diagnosis, "%s", temp_path("held"));
    assert_int_equal(fixture_call(dt_train, &s, NULL), DT_ERR_ARG);
    assert_says(fixture_message, "diagnosis");
}

#define MADE(test)   cmocka_unit_test_setup_teardown(test, temp_folder_make, temp_folder_remove)
#define OF_DIT(test) cmocka_unit_test_setup_teardown(test, fixture_make, temp_folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(student_quantiles_are_the_tables),
        cmocka_unit_test(intervals_are_those_of_the_jackknife),
        cmocka_unit_test(what_two_sets_share_leaves_no_uncertainty),
        cmocka_unit_test(one_picture_has_no_interval),
        cmocka_unit_test(rules_follow_the_facts),
        cmocka_unit_test(one_picture_is_told_as_one),
        cmocka_unit_test(tau_is_found_again),
        MADE(a_target_with_the_same_low_level_statistics_holds),
        MADE(a_damaged_target_fails_at_small_t),
        MADE(the_source_itself_as_target_has_no_gap),
        MADE(three_pictures_are_not_enough_to_say),
        OF_DIT(what_it_writes_train_takes),
        OF_DIT(a_part_that_is_recommended_is_written),
        OF_DIT(the_same_bits_come_out_again_over_an_earlier_diagnosis),
        OF_DIT(a_bank_is_measured_in_place_of_samples),
        OF_DIT(what_cannot_be_read_is_not_counted),
        OF_DIT(a_stop_leaves_nothing),
        OF_DIT(bad_input_is_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
