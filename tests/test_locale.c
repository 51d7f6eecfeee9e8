/* Calls in a locale with decimal commas make what they make in C's, to the byte. */
#include "run_fixture.h"
#include "comma_locale.h"

static bool made;

static int make(void **state)
{
    if (fixture_make(state)) return -1;
    made = comma_locale_make();
    return 0;
}

static void in_commas(fixture_verb *verb, const dt_settings *s)
{
    comma_locale_begin();
    const dt_status status = fixture_call(verb, s, NULL);
    comma_locale_end();
    if (status != DT_OK) fail_msg("%s", fixture_message);
}

static void assert_same_file(const char *name, const char *other)
{
    char *a = temp_read(name), *b = temp_read(other);
    assert_string_equal(a, b);
    free(a);
    free(b);
}

static void assert_same_bytes(const char *name, const char *other)
{
    file_hash a, b;
    dt_error err = {0};
    assert_int_equal(file_sha256(&a, temp_path(name), &err), DT_OK);
    assert_int_equal(file_sha256(&b, temp_path(other), &err), DT_OK);
    assert_string_equal(a.hex, b.hex);
}

/* A table of psi, an adapter with a scale that its file states, averages called after their lengths. */
static dt_settings run_settings(const char *output)
{
    dt_settings s = fixture_settings(output);
    s.adapter = DT_ADAPTER_ADAPTFORMER;
    s.adaptformer_scale = 0.5;
    s.psi = DT_PSI_TABLE;
    snprintf(s.psi_table, sizeof s.psi_table, "%s", temp_path("psi.txt"));
    snprintf(s.ema_power, sizeof s.ema_power, "0.05");
    return s;
}

static void a_run_is_the_same(void **state)
{
    (void)state;
    if (!made) skip();
    char psi[8 * 1000 + 1];
    for (int t = 0; t < 1000; t++) sprintf(psi + 8 * t, "%.5f\n", (t + 1) / 1000.0);
    temp_write("psi.txt", psi, strlen(psi));
    const dt_settings plain = run_settings("plain"), comma = run_settings("comma");
    fixture_must(dt_train, &plain);
    in_commas(dt_train, &comma);
    assert_same_bytes("plain/final/adapter_model.safetensors", "comma/final/adapter_model.safetensors");
    assert_same_bytes("plain/averages/step-00000006-0.05.safetensors", "comma/averages/step-00000006-0.05.safetensors");
    in_commas(dt_train, &plain);
}

static dt_settings sample_settings(const char *output)
{
    dt_settings s;
    dt_settings_init(&s);
    s.threads = 1;
    s.num_samples = 2;
    s.num_inference_steps = 2;
    s.guidance_scale = 1.5;
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("base.safetensors"));
    snprintf(s.adapter_weights, sizeof s.adapter_weights, "%s:0.5", temp_path("plain"));
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path(output));
    return s;
}

static void samples_are_the_same(void **state)
{
    (void)state;
    if (!made) skip();
    const dt_settings plain = sample_settings("plain-samples"), comma = sample_settings("comma-samples");
    fixture_must(dt_sample, &plain);
    in_commas(dt_sample, &comma);
    assert_same_file("plain-samples/samples.txt", "comma-samples/samples.txt");
    assert_same_bytes("plain-samples/images/000001.png", "comma-samples/images/000001.png");
    in_commas(dt_sample, &plain);
}

static dt_status write_report(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    (void)observer;
    return dt_report(c, s);
}

static void a_report_is_the_same(void **state)
{
    (void)state;
    if (!made) skip();
    dt_settings s;
    dt_settings_init(&s);
    snprintf(s.runs, sizeof s.runs, "%s", temp_path("plain"));
    snprintf(s.output, sizeof s.output, "%s", temp_path("plain.html"));
    fixture_must(write_report, &s);
    snprintf(s.output, sizeof s.output, "%s", temp_path("comma.html"));
    in_commas(write_report, &s);
    assert_same_file("plain.html", "comma.html");
}

static dt_status describe(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    char *json;
    (void)observer;
    if (dt_inspect(c, s->pretrained_model, &json) != DT_OK) return DT_ERR_ARG;
    dt_free(json);
    return dt_inspect(c, temp_path("absent"), &json) == DT_OK ? DT_ERR_ARG : DT_OK;
}

/* Also where it fails. */
static void every_call_leaves_the_locale_as_it_was(void **state)
{
    (void)state;
    if (!made) skip();
    dt_settings s = sample_settings("none");
    in_commas(describe, &s);
    comma_locale_begin();
    s.num_samples = -1;
    assert_int_equal(fixture_call(dt_sample, &s, NULL), DT_ERR_ARG);
    comma_locale_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_is_the_same),
        cmocka_unit_test(samples_are_the_same),
        cmocka_unit_test(a_report_is_the_same),
        cmocka_unit_test(every_call_leaves_the_locale_as_it_was),
    };
    return cmocka_run_group_tests(tests, make, temp_folder_remove);
}
