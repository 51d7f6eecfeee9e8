/* The verb sample: pictures that do not depend on batches or threads, in a folder that belongs to them. */
#include "run_fixture.h"

static dt_settings settings_of(const char *folder)
{
    dt_settings s;
    dt_settings_init(&s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("base.safetensors"));
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path(folder));
    s.threads = 1;
    s.num_samples = 7;
    s.num_inference_steps = 3;
    return s;
}

static dt_status draw(const dt_settings *s, int64_t stop_at)
{
    dt_context *c = NULL;
    fixture_watch watch = {.stop_before = stop_at};
    dt_observer observer = {.user = &watch, .should_stop = fixture_stop};
    dt_status status = dt_open(&c, s);
    if (status == DT_OK) status = dt_sample(c, s, &observer);
    snprintf(fixture_message, sizeof fixture_message, "%s", dt_message(c));
    dt_close(c);
    return status;
}

/* Hash of one picture of a folder. */
static file_hash picture(const char *folder, int number)
{
    char name[64];
    dt_error err = {0};
    file_hash hash;
    snprintf(name, sizeof name, "%s/images/%06d.png", folder, number);
    if (file_sha256(&hash, temp_path(name), &err) != DT_OK) fail_msg("%s", err.message);
    return hash;
}

static void must_draw(const dt_settings *s)
{
    if (draw(s, -1) != DT_OK) fail_msg("%s", fixture_message);
}

static int make(void **state)
{
    if (fixture_make(state)) return -1;
    dt_settings s = settings_of("all");
    must_draw(&s);
    return 0;
}

static void pictures_do_not_depend_on_batches_and_threads(void **state)
{
    (void)state;
    for (int64_t batch = 1; batch < 8; batch += 3) {
        dt_settings s = settings_of("batches");
        s.sample_batch_size = batch;
        s.threads = batch;
        must_draw(&s);
        for (int i = 0; i < 7; i++) assert_same_bits(picture("batches", i), picture("all", i));
        fixture_remove("batches");
    }
    assert_true(file_exists(temp_path("all/grid.png")));
    assert_string_not_equal(picture("all", 0).hex, picture("all", 3).hex);
}

static void classes_are_named_or_numbered(void **state)
{
    (void)state;
    dt_settings s = settings_of("named"), t = settings_of("numbered");
    snprintf(s.classes, sizeof s.classes, "c2,c0");
    snprintf(t.classes, sizeof t.classes, "2,0");
    must_draw(&s);
    must_draw(&t);
    fixture_remove("named");
    fixture_remove("numbered");
    static const char *const no_classes[] = {
        "3", "-1", "c3", "c0,", ",", "c0,,c1", "0x1", "1 ", "99999999999999999999"};
    for (size_t i = 0; i < sizeof no_classes / sizeof no_classes[0]; i++) {
        snprintf(s.classes, sizeof s.classes, "%s", no_classes[i]);
        assert_int_equal(draw(&s, -1), DT_ERR_ARG);
        assert_says(fixture_message, "classes");
        assert_false(file_exists(temp_path("named")));
    }
}

static void a_folder_of_other_samples_is_refused_and_left_alone(void **state)
{
    (void)state;
    static const char *const changes[][2] = {{"seed", "1"},
                                             {"num_inference_steps", "4"},
                                             {"sampler", "ddpm"},
                                             {"guidance_scale", "2"},
                                             {"eta", "0.5"},
                                             {"guidance_channels", "all"},
                                             {"classes", "1"},
                                             {"timestep_spacing", "leading"},
                                             {"mixed_precision", "bf16"}};
    file_hash before = fixture_tree("all");
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        dt_settings s = settings_of("all");
        assert_int_equal(dt_settings_set(&s, changes[i][0], changes[i][1], NULL, 0), DT_OK);
        assert_int_equal(draw(&s, -1), DT_ERR_CONFLICT);
        assert_says(fixture_message, "samples drawn otherwise");
    }
    fixture_base("other.safetensors", fixture_config(), 12);
    dt_settings s = settings_of("all");
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("other.safetensors"));
    assert_int_equal(draw(&s, -1), DT_ERR_CONFLICT);
    s = settings_of("data");
    file_hash data = fixture_tree("data");
    assert_int_equal(draw(&s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "c0");
    assert_same_bits(fixture_tree("data"), data);
    assert_same_bits(fixture_tree("all"), before);
    s = settings_of("all");
    must_draw(&s); /* the same again */
    assert_same_bits(fixture_tree("all"), before);
}

static void what_was_stopped_or_failed_can_be_drawn_again(void **state)
{
    (void)state;
    dt_settings s = settings_of("stopped");
    s.sample_batch_size = 2;
    assert_int_equal(draw(&s, 1), DT_ERR_INTERRUPTED);
    assert_false(file_exists(temp_path("stopped/grid.png")));
    for (rlim_t bytes = 0; bytes < 600; bytes += 150) {
        limit_file_size(bytes);
        dt_status status = draw(&s, -1);
        limit_file_size(RLIM_INFINITY);
        assert_int_equal(status, DT_ERR_IO);
    }
    must_draw(&s);
    for (int i = 0; i < 7; i++) assert_same_bits(picture("stopped", i), picture("all", i));
    fixture_remove("stopped");
    limit_file_size(0);
    assert_int_equal(draw(&s, -1), DT_ERR_IO); /* before anything is in the folder */
    limit_file_size(RLIM_INFINITY);
    must_draw(&s);
    fixture_remove("stopped");
}

static void latents_are_not_pictures(void **state)
{
    (void)state;
    dt_settings s = settings_of("latent");
    dit_config config = fixture_config();
    config.channels = 4;
    fixture_base("latent.safetensors", config, 3);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("latent.safetensors"));
    assert_int_equal(draw(&s, -1), DT_ERR_ARG);
    assert_says(fixture_message, "4 channels");
    assert_says(fixture_message, "vae is needed");
    assert_false(file_exists(temp_path("latent")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_do_not_depend_on_batches_and_threads),
        cmocka_unit_test(classes_are_named_or_numbered),
        cmocka_unit_test(a_folder_of_other_samples_is_refused_and_left_alone),
        cmocka_unit_test(what_was_stopped_or_failed_can_be_drawn_again),
        cmocka_unit_test(latents_are_not_pictures),
    };
    return cmocka_run_group_tests(tests, make, temp_folder_remove);
}
