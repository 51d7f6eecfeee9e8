/* psi from the data: the fit against isotonic regression by another formula, and runs whose psi is measured. */
#include "run_fixture.h"

#include "file/numbers_file.h"
#include "measure/psi.h"

enum { T = SCHEDULE_STEPS, WIDTH = T / PSI_BANDS };

/* ---- the fit ---- */

/* Isotonic regression by its max-min formula: v_i = max over a <= i of min over b >= i of the mean of x_a .. x_b. */
static void isotonic(double v[PSI_BANDS], const double x[PSI_BANDS])
{
    for (int i = 0; i < PSI_BANDS; i++) {
        v[i] = -INFINITY;
        for (int a = 0; a <= i; a++) {
            double least = INFINITY;
            for (int b = i; b < PSI_BANDS; b++) {
                double sum = 0;
                for (int k = a; k <= b; k++) sum += x[k];
                least = fmin(least, sum / (b - a + 1));
            }
            v[i] = fmax(v[i], least);
        }
    }
}

/* psi as the header says it, by direct sums. */
static void expected_psi(double psi[T], const double target[PSI_BANDS], const double own[PSI_BANDS])
{
    static double line[T + 2 * WIDTH];
    double x[PSI_BANDS], v[PSI_BANDS];
    for (int i = 0; i < PSI_BANDS; i++) x[i] = (target[i] - own[i]) / own[i];
    isotonic(v, x);
    for (int k = 0; k < T + 2 * WIDTH; k++) {
        const double t = k - WIDTH, first = (WIDTH - 1) / 2.0; /* the middle of band 0 */
        int band = 0;
        while (band < PSI_BANDS - 1 && first + (band + 1) * WIDTH <= t) band++;
        const double share = (t - first - band * WIDTH) / WIDTH;
        line[k] = t <= first ? v[0] : band == PSI_BANDS - 1 ? v[band] : v[band] + share * (v[band + 1] - v[band]);
    }
    for (int t = 0; t < T; t++) {
        psi[t] = 0;
        for (int k = t; k <= t + 2 * WIDTH; k++) psi[t] += line[k] / (2 * WIDTH + 1);
    }
    const double low = psi[0], high = psi[T - 1];
    for (int t = 0; t < T; t++) psi[t] = (psi[t] - low) / (high - low);
}

static void losses_of(double target[PSI_BANDS], double own[PSI_BANDS], uint32_t number, double slope)
{
    for (int i = 0; i < PSI_BANDS; i++) {
        const rng_key key = {.seed = 3, .purpose = RNG_INIT, .step = number, .sample = (uint32_t)i};
        own[i] = exp(-0.3 * i) * (0.5 + rng_uniform(key, 0));
        target[i] = own[i] * (1 + slope * i + rng_uniform(key, 1));
    }
}

static void the_fit_is_isotonic_regression_smoothed(void **state)
{
    (void)state;
    static double psi[T], expected[T];
    double target[PSI_BANDS], own[PSI_BANDS];
    for (uint32_t number = 0; number < 40; number++) {
        losses_of(target, own, number, (1 + number % 4) * 0.03);
        assert_true(psi_fit(psi, target, own));
        expected_psi(expected, target, own);
        for (int t = 0; t < T; t++) {
            assert_true(fabs(psi[t] - expected[t]) < 1e-9);
            assert_true(psi[t] >= 0 && psi[t] <= 1 && (t == 0 || psi[t] >= psi[t - 1] - 1e-12));
        }
        assert_true(psi[0] == 0 && psi[T - 1] == 1);
    }
}

/* A straight excess gives a straight psi away from the ends. */
static void a_straight_excess_stays_straight(void **state)
{
    (void)state;
    static double psi[T];
    double target[PSI_BANDS], own[PSI_BANDS];
    for (int i = 0; i < PSI_BANDS; i++) {
        own[i] = 0.1 + 0.01 * (i % 3);
        target[i] = own[i] * (2 + 0.1 * i);
    }
    assert_true(psi_fit(psi, target, own));
    const double step = psi[500] - psi[499];
    for (int t = 2 * WIDTH; t < T - 2 * WIDTH; t++) assert_true(fabs(psi[t] - psi[t - 1] - step) < 1e-12);
    assert_true(fabs(step - 0.00104) < 5e-5);
}

static void what_rises_nowhere_is_no_psi(void **state)
{
    (void)state;
    static double psi[T];
    double target[PSI_BANDS], own[PSI_BANDS];
    for (int i = 0; i < PSI_BANDS; i++) {
        own[i] = 0.5;
        target[i] = 2 - 0.01 * i;
    }
    assert_false(psi_fit(psi, target, own));
    for (int i = 0; i < PSI_BANDS; i++) target[i] = 1;
    assert_false(psi_fit(psi, target, own));
    own[3] = 0;
    assert_false(psi_fit(psi, target, own));
    own[3] = NAN;
    assert_false(psi_fit(psi, target, own));
}

/* ---- runs ---- */

static dt_settings measured(const char *output)
{
    dt_settings s = fixture_settings(output);
    s.psi = DT_PSI_MEASURED;
    snprintf(s.validation_data, sizeof s.validation_data, "%s", temp_path("held"));
    return s;
}

static const char *table_of(const char *output)
{
    char name[128];
    snprintf(name, sizeof name, "%s/psi.txt", output);
    return temp_path(name);
}

static void a_run_keeps_its_psi_and_trains_on_it(void **state)
{
    (void)state;
    static double psi[T];
    dt_error err = {0};
    dt_settings s = measured("measured"), fed = fixture_settings("fed");
    fixture_train_to_the_end(&s);
    assert_says(fixture_log, "psi measured, tau 1, xi 1-psi");
    assert_says(fixture_log, "psi measured on 6 pictures");
    if (numbers_file_read(psi, T, 1, table_of("measured"), &err) != DT_OK) fail_msg("%s", err.message);
    assert_true(psi[0] == 0 && psi[T - 1] == 1);
    fed.psi = DT_PSI_TABLE;
    snprintf(fed.psi_table, sizeof fed.psi_table, "%s", table_of("measured"));
    fixture_train_to_the_end(&fed);
    assert_same_bits(fixture_result("fed"), fixture_result("measured"));
    fixture_remove("fed");
}

/* Depends on the base and the pictures alone: not on threads, and not on how many are looked at together. */
static void it_is_measured_to_the_same_bits(void **state)
{
    (void)state;
    dt_error err = {0};
    dt_settings s = measured("again");
    file_hash first, second;
    assert_int_equal(file_sha256(&first, table_of("measured"), &err), DT_OK);
    s.threads = 3;
    s.sample_batch_size = 7;
    s.learning_rate = 1e-4;
    fixture_train_to_the_end(&s);
    assert_int_equal(file_sha256(&second, table_of("again"), &err), DT_OK);
    assert_same_bits(first, second);
    fixture_remove("again");
}

/* Of the run in the folder `stopped`: whether it has begun and has no psi yet. */
static bool is_measuring(void *user)
{
    (void)user;
    char begun[600];
    snprintf(begun, sizeof begun, "%s", temp_path("stopped/run.json"));
    return file_exists(begun) && !file_exists(table_of("stopped"));
}

/* The third question once it has one. */
static bool is_behind(void *user)
{
    int *asked = user;
    return file_exists(table_of("stopped")) && (*asked)++ == 2;
}

/* Stopped while it is measured the call leaves no table; stopped later the run goes on with the one it has. */
static void a_stopped_run_ends_in_the_same_bits(void **state)
{
    (void)state;
    int asked = 0;
    dt_settings s = measured("stopped");
    const dt_observer early = {.log = fixture_collect, .should_stop = is_measuring};
    const dt_observer late = {.user = &asked, .log = fixture_collect, .should_stop = is_behind};
    fixture_ask_every = 0;
    assert_int_equal(fixture_call(dt_train, &s, &early), DT_ERR_INTERRUPTED);
    assert_string_equal(fixture_message, "stopped while psi was measured; the same command begins it again");
    assert_false(file_exists(table_of("stopped")));
    assert_int_equal(fixture_call(dt_train, &s, &late), DT_ERR_INTERRUPTED);
    fixture_ask_every = -1;
    assert_true(file_exists(table_of("stopped")));
    fixture_train_to_the_end(&s);
    assert_null(strstr(fixture_log, "psi measured on"));
    assert_same_bits(fixture_result("stopped"), fixture_result("measured"));
    fixture_remove("stopped");
}

static void a_damaged_table_is_refused(void **state)
{
    (void)state;
    dt_settings s = measured("damaged");
    fixture_train_to_the_end(&s);
    temp_write("damaged/psi.txt", "0 0.5 1\n", 8);
    assert_int_equal(fixture_train(&s, -1), DT_ERR_FORMAT);
    assert_says(fixture_message, "damaged/psi.txt: 1000 numbers");
    fixture_remove("damaged");
}

static void a_dry_run_measures_nothing(void **state)
{
    (void)state;
    dt_settings s = measured("dry");
    s.dry_run = true;
    fixture_must(dt_train, &s);
    assert_says(fixture_log, "psi would be measured first");
    assert_false(file_exists(temp_path("dry")));
    s = measured("measured");
    s.dry_run = true;
    fixture_must(dt_train, &s);
    assert_null(strstr(fixture_log, "would be measured"));
}

/* What is kept may be anything. */
static void it_goes_with_other_retention(void **state)
{
    (void)state;
    dt_settings s = measured("other");
    s.retention = DT_RETENTION_TARGET_DISTIL;
    fixture_train_to_the_end(&s);
    assert_says(fixture_log, "nothing is trained on it; it is only measured on");
    assert_true(file_exists(table_of("other")));
    fixture_remove("other");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fit_is_isotonic_regression_smoothed),
        cmocka_unit_test(a_straight_excess_stays_straight),
        cmocka_unit_test(what_rises_nowhere_is_no_psi),
        cmocka_unit_test(a_run_keeps_its_psi_and_trains_on_it),
        cmocka_unit_test(it_is_measured_to_the_same_bits),
        cmocka_unit_test(a_stopped_run_ends_in_the_same_bits),
        cmocka_unit_test(a_damaged_table_is_refused),
        cmocka_unit_test(a_dry_run_measures_nothing),
        cmocka_unit_test(it_goes_with_other_retention),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
