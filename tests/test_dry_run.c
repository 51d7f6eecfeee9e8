/* The dry run: it tells what a run would take and writes nothing, for new runs, for such as would go on, and for models of
 * latents whose pictures are not encoded. A run tells its forecast too. */
#include "latent_fixture.h"

#include "run/forecast.h"

static dt_settings dry(dt_settings s)
{
    s.dry_run = true;
    s.max_train_steps = 2000;
    s.sample_steps = 100;
    s.validation_steps = 100;
    return s;
}

static void must_tell(const dt_settings *s, const char *part)
{
    fixture_must(dt_train, s);
    assert_says(fixture_log, part);
    assert_says(fixture_log, "forecast: ");
    assert_says(fixture_log, "disk: up to");
    assert_says(fixture_log, "memory: ");
    assert_says(fixture_log, "nothing was written");
}

static void nothing_is_written(void **state)
{
    (void)state;
    const dt_settings s = dry(fixture_settings("deep/below/run"));
    const file_hash before = fixture_tree("");
    must_tell(&s, "12 images of 3 classes");
    assert_string_equal(fixture_tree("").hex, before.hex);
    assert_says(fixture_log, "2000 steps take about");
    assert_says(fixture_log, "the run begins");
}

static void the_bits_of_the_run_stay(void **state)
{
    (void)state;
    const dt_settings real_run = fixture_settings("run");
    const file_hash alone = fixture_bits(real_run);
    const dt_settings s = dry(fixture_settings("run"));
    must_tell(&s, "training: ");
    fixture_train_to_the_end(&real_run);
    assert_string_equal(fixture_result("run").hex, alone.hex);
    fixture_remove("run");
}

static void a_run_that_goes_on_is_looked_at(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("run");
    fixture_train_to_the_end(&s);
    const file_hash before = fixture_tree("");
    const dt_settings longer = dry(s);
    must_tell(&longer, "resuming from");
    assert_says(fixture_log, "1994 steps take about");
    assert_says(fixture_log, "goes on from its checkpoint");

    dt_settings done = s;
    done.dry_run = true;
    fixture_must(dt_train, &done);
    assert_says(fixture_log, "the run has made its 6 steps");

    dt_settings other = dry(s);
    other.learning_rate = 2e-3;
    assert_int_equal(fixture_train(&other, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "learning_rate");
    assert_string_equal(fixture_tree("").hex, before.hex);
    fixture_remove("run");
}

static void a_stop_ends_it(void **state)
{
    (void)state;
    const dt_settings s = dry(fixture_settings("run"));
    assert_int_equal(fixture_train(&s, 2), DT_ERR_INTERRUPTED);
    assert_says(fixture_message, "nothing was written");
    assert_false(file_exists(temp_path("run")));
}

static void pictures_that_are_not_encoded_stay_so(void **state)
{
    (void)state;
    dt_settings s = latent_fixture_settings("run");
    const dt_settings trial = dry(s);
    const file_hash before = fixture_tree("");
    must_tell(&trial, "12 pictures would be encoded first, about ");
    assert_says(fixture_log, "9 pictures would be encoded first, about ");
    assert_string_equal(fixture_tree("").hex, before.hex);

    fixture_train_to_the_end(&s); /* the cache has all of them from here on */
    fixture_remove("run");
    const file_hash encoded = fixture_tree("");
    must_tell(&trial, "12 images of 3 classes");
    assert_null(strstr(fixture_log, "would be encoded"));

    dt_settings held = trial; /* two of its six are the bank's too */
    snprintf(held.validation_data, sizeof held.validation_data, "%s", temp_path("held"));
    must_tell(&held, "held: 4 pictures would be encoded first");
    assert_string_equal(fixture_tree("").hex, encoded.hex);
    fixture_remove("latents");
}

static void a_run_tells_its_forecast_once(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("run");
    s.max_train_steps = 200;
    s.logging_steps = 0;
    fixture_train_to_the_end(&s);
    char *told = strstr(fixture_log, "forecast: ");
    assert_non_null(told);
    assert_null(strstr(told + 1, "forecast: "));
    fixture_remove("run");
}

static void measurements_are_reckoned_by_those_that_were_made(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("run");
    s.max_train_steps = 60; /* more than are timed */
    s.logging_steps = 0;
    s.validation_steps = 60;
    s.validation_count = 2;
    fixture_train_to_the_end(&s); /* validates before the first step */
    assert_says(fixture_log, "forecast: ");
    assert_null(strstr(fixture_log, "an estimate"));
    fixture_remove("run");
    const dt_settings trial = dry(s);
    must_tell(&trial, "an estimate: not all of them have been made yet");
}

static void steps_are_timed_without_the_first_one(void **state)
{
    (void)state;
    step_times slow = {0};
    assert_false(step_times_add(&slow, 100));
    for (int i = 0; i < 2; i++) assert_false(step_times_add(&slow, 30));
    assert_true(step_times_add(&slow, 30)); /* three are enough of slow ones */
    assert_false(step_times_add(&slow, 30));
    assert_int_equal(slow.steps, 3);
    assert_true(slow.seconds > 89 && slow.seconds < 91);

    step_times quick = {0};
    int made = 0;
    while (!step_times_add(&quick, 0.001)) made++;
    assert_int_equal(made, quick.steps);
    assert_in_range(quick.steps, 10, 100);
}

static void an_experiment_has_no_dry_run(void **state)
{
    (void)state;
    dt_settings s = dry(fixture_settings("experiment"));
    snprintf(s.reference, sizeof s.reference, "%s", temp_path("held"));
    assert_int_equal(fixture_call_until(dt_run, &s, -1), DT_ERR_ARG);
    assert_says(fixture_message, "dry_run");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_written),
        cmocka_unit_test(the_bits_of_the_run_stay),
        cmocka_unit_test(a_run_that_goes_on_is_looked_at),
        cmocka_unit_test(a_stop_ends_it),
        cmocka_unit_test(pictures_that_are_not_encoded_stay_so),
        cmocka_unit_test(a_run_tells_its_forecast_once),
        cmocka_unit_test(measurements_are_reckoned_by_those_that_were_made),
        cmocka_unit_test(steps_are_timed_without_the_first_one),
        cmocka_unit_test(an_experiment_has_no_dry_run),
    };
    return cmocka_run_group_tests(tests, latent_fixture_make, temp_folder_remove);
}
