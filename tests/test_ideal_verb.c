/* The verb ideal: its numbers against the denoiser itself and against losses of runs, its files, sets on disk, bad input. */
#include "latent_fixture.h"

#include "data/picture_file.h"
#include "file/json_file.h"

static dt_ideal_result result;

static dt_status ideal(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    return dt_ideal(c, s, observer, &result);
}

static void set_path(char path[DT_PATH_MAX], const char *name)
{
    snprintf(path, DT_PATH_MAX, "%s", temp_path(name));
}

static dt_settings settings_of(const char *folder)
{
    dt_settings s;
    dt_settings_init(&s);
    set_path(s.train_data, "data");
    set_path(s.output_dir, folder);
    set_path(s.cache_dir, "latents");
    s.resolution = FIXTURE_SIZE;
    s.threads = 1;
    s.validation_count = 5;
    s.sample_batch_size = 4;
    return s;
}

static dt_settings with_model(const char *folder)
{
    dt_settings s = settings_of(folder);
    set_path(s.pretrained_model, "base.safetensors");
    set_path(s.validation_data, "held");
    s.resolution = 0;
    return s;
}

/* Twelve pictures far from each other: at t 0 a noised one is told from all others, at t 999 none is. */
static void both_limits_are_met(void **state)
{
    (void)state;
    dt_settings s = settings_of("out");
    fixture_must(ideal, &s);
    assert_int_equal(result.count, 12);
    assert_false(result.has_model || result.has_other);
    assert_true(result.nearest_at_first < 1e-12);
    assert_true(result.mean_at_last < 0.05 && result.mean_at_last > 0);
    assert_true(result.known[DT_IDEAL_BANDS - 1].mean < 0.1 * result.known[0].mean);
    for (int i = 0; i < DT_IDEAL_BANDS; i++) {
        assert_true(result.known[i].mean <= result.known[0].mean * 1.01);
        assert_true(result.known[i].ideal_loss >= 0 && result.known[i].ideal_loss < 1);
    }
    fixture_remove("out");
}

/* Of all denoisers the ideal has the lowest loss on what it knows; how far another one is from it is what that loses more, but for
 * chance, which is 0 where the ideal itself loses nothing. */
static void no_model_has_a_lower_loss_on_what_the_ideal_knows(void **state)
{
    (void)state;
    dt_settings s = with_model("out");
    fixture_must(ideal, &s);
    assert_true(result.has_model && result.has_other);
    for (int i = 0; i < DT_IDEAL_BANDS; i++) {
        const dt_ideal_band *b = &result.known[i];
        assert_true(b->model_loss > b->ideal_loss);
        if (b->ideal_loss < 1e-9) assert_true(fabs(b->apart - b->model_loss) < 1e-3 * b->model_loss);
        assert_true(b->apart_x0 > 0 && result.other[i].apart > 0);
    }
    assert_true(result.other[0].ideal_loss > 100 * result.known[0].ideal_loss); /* it knows no other pictures */
    fixture_remove("out");
}

/* A run's losses on a bank are of the unconditional branch too, at the same t and noise. */
static void losses_of_the_model_are_those_of_a_run(void **state)
{
    (void)state;
    dt_settings s = with_model("out"), t = fixture_settings("run");
    char *text;
    size_t size;
    dt_error err = {0};
    s.seed = t.seed;
    s.validation_count = t.validation_count = 6; /* all of held, in order */
    fixture_must(ideal, &s);
    set_path(t.bank, "held");
    t.max_train_steps = 0;
    t.validation_steps = 1;
    fixture_train_to_the_end(&t);
    assert_int_equal(file_read_all(&text, &size, temp_path("run/metrics.jsonl"), 1 << 20, &err), DT_OK);
    const char *at = strstr(text, "\"set\":\"bank\"");
    if (!at) at = strstr(text, "\"set\": \"bank\"");
    assert_non_null(at);
    for (int i = 0; i < DT_IDEAL_BANDS; i++) {
        at = strstr(at, "\"mse\":");
        assert_non_null(at);
        at += strlen("\"mse\":");
        assert_true(fabs(atof(at) / result.other[i].model_loss - 1) < 1e-5);
    }
    free(text);
    fixture_remove("out");
    fixture_remove("run");
}

static void the_bits_do_not_depend_on_batches_and_threads(void **state)
{
    (void)state;
    dt_settings s = with_model("out");
    fixture_must(ideal, &s);
    const file_hash grid = fixture_tree("out");
    const dt_ideal_result first = result;
    s.sample_batch_size = 7;
    s.threads = 2;
    fixture_must(ideal, &s); /* in the same folder again */
    assert_memory_equal(&first, &result, sizeof first);
    assert_same_bits(grid, fixture_tree("out"));
    fixture_remove("out");
}

static void files_say_what_was_measured(void **state)
{
    (void)state;
    dt_settings s = with_model("out");
    dt_error err = {0};
    char *csv;
    size_t size;
    int lines = 0;
    fixture_must(ideal, &s);
    json_t *all = json_file_read(temp_path("out/ideal.json"), &err);
    const json_t *bands = json_object_get(all, "other_bands");
    assert_int_equal(json_array_size(bands), DT_IDEAL_BANDS);
    assert_int_equal(json_integer_value(json_object_get(all, "pictures")), 12);
    assert_true(json_real_value(json_object_get(json_array_get(bands, 3), "apart")) == result.other[3].apart);
    json_decref(all);
    assert_int_equal(file_read_all(&csv, &size, temp_path("out/ideal.csv"), 1 << 16, &err), DT_OK);
    for (size_t i = 0; i < size; i++) lines += csv[i] == '\n';
    assert_int_equal(lines, 1 + 2 * DT_IDEAL_BANDS);
    assert_true(file_exists(temp_path("out/grid.png")));
    free(csv);
    fixture_remove("out");
}

static void flows_and_latents_have_an_ideal_too(void **state)
{
    (void)state;
    dit_config k = fixture_config();
    k.flow = true;
    fixture_base("sit.safetensors", k, 13);
    dt_settings s = with_model("out");
    set_path(s.pretrained_model, "sit.safetensors");
    fixture_must(ideal, &s);
    assert_true(result.nearest_at_first < 1e-9 && result.known[0].model_loss > result.known[0].ideal_loss);
    fixture_remove("out");
    s = with_model("out");
    set_path(s.pretrained_model, "latent.safetensors");
    snprintf(s.vae, sizeof s.vae, "%s", tiny_codec);
    fixture_must(ideal, &s);
    assert_true(result.nearest_at_first < 1e-9 && result.count == 12);
    fixture_remove("out");
}

/* ---- sets on disk ---- */

static void pictures_on_disk_are_those_in_memory(void **state)
{
    (void)state;
    ctx c;
    examples e;
    picture_file f;
    const codec pixels = codec_of_pixels(3);
    const examples_options o = {.codec = &pixels, .resolution = FIXTURE_SIZE, .background = "#ffffff"};
    float a[3 * FIXTURE_SIZE * FIXTURE_SIZE], b[3 * FIXTURE_SIZE * FIXTURE_SIZE];
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(examples_open(&c, &e, temp_path("data"), &o), DT_OK);
    assert_int_equal(picture_file_open(&c, &f, temp_path("data"), temp_path("not/yet/there"), &o), DT_OK);
    assert_int_equal(f.count, e.count);
    for (int64_t i = 0; i < e.count; i++) {
        examples_get(a, &e, i, false, NULL);
        picture_file_get(b, &f, i);
        assert_memory_equal(a, b, sizeof a);
    }
    picture_file_close(&f);
    examples_close(&e);
    assert_false(file_exists(temp_path("not")));
    limit_file_size(2000);
    assert_int_equal(picture_file_open(&c, &f, temp_path("data"), temp_path("x"), &o), DT_ERR_IO);
    limit_file_size(RLIM_INFINITY);
    assert_says(c.error.message, "cannot keep the pictures there");
    ctx_close(&c);
}

/* ---- what is refused, and stops ---- */

static void what_cannot_be_is_refused_and_leaves_nothing(void **state)
{
    (void)state;
    dt_settings s = settings_of("refused");
    s.resolution = 0;
    assert_int_equal(fixture_call_until(ideal, &s, -1), DT_ERR_ARG);
    assert_says(fixture_message, "ideal needs resolution, or a pretrained_model");
    s = with_model("refused");
    s.resolution = 8;
    assert_int_equal(fixture_call_until(ideal, &s, -1), DT_ERR_ARG);
    assert_says(fixture_message, "resolution 8");
    s = settings_of("refused");
    set_path(s.train_data, "nowhere");
    assert_int_not_equal(fixture_call_until(ideal, &s, -1), DT_OK);
    assert_says(fixture_message, "nowhere");
    assert_false(file_exists(temp_path("refused")));
    s = settings_of("held");
    assert_int_equal(fixture_call_until(ideal, &s, -1), DT_ERR_CONFLICT);
}

static void a_stop_is_served_and_leaves_nothing(void **state)
{
    (void)state;
    dt_settings s = with_model("stopped");
    fixture_ask_every = 0;
    for (int64_t at = 0; at < 1000; at += 1 + at / 2) {
        const dt_status status = fixture_call_until(ideal, &s, at);
        if (status == DT_OK) break;
        assert_int_equal(status, DT_ERR_INTERRUPTED);
        assert_false(file_exists(temp_path("stopped/ideal.json")));
    }
    fixture_ask_every = -1;
    fixture_must(ideal, &s);
    assert_true(file_exists(temp_path("stopped/ideal.json")));
    fixture_remove("stopped");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_limits_are_met),
        cmocka_unit_test(no_model_has_a_lower_loss_on_what_the_ideal_knows),
        cmocka_unit_test(losses_of_the_model_are_those_of_a_run),
        cmocka_unit_test(the_bits_do_not_depend_on_batches_and_threads),
        cmocka_unit_test(files_say_what_was_measured),
        cmocka_unit_test(flows_and_latents_have_an_ideal_too),
        cmocka_unit_test(pictures_on_disk_are_those_in_memory),
        cmocka_unit_test(what_cannot_be_is_refused_and_leaves_nothing),
        cmocka_unit_test(a_stop_is_served_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, latent_fixture_make, temp_folder_remove);
}
