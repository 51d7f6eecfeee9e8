/* The verb sample: pictures that do not depend on batches or threads, in a folder that belongs to them. */
#include <sys/stat.h>

#include "data/class_list.h"
#include "eval/feature_rows.h"
#include "data/sample_stack.h"
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
    return fixture_call_until(dt_sample, s, stop_at);
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

/* The pixels alone: the text of a PNG says how it was drawn. */
static void assert_same_pixels(const char *folder, const char *other, int number)
{
    image picture[2];
    const image_options options = {0};
    dt_error err = {0};
    for (int i = 0; i < 2; i++) {
        char name[64], *data;
        size_t size;
        snprintf(name, sizeof name, "%s/images/%06d.png", i ? other : folder, number);
        assert_int_equal(file_read_all(&data, &size, temp_path(name), 1 << 20, &err), DT_OK);
        assert_int_equal(image_decode(&picture[i], NULL, (uint8_t *)data, size, name, &options, &err), DT_OK);
        free(data);
    }
    assert_memory_equal(picture[0].rgb, picture[1].rgb, 3 * FIXTURE_SIZE * FIXTURE_SIZE);
    image_close(&picture[0]);
    image_close(&picture[1]);
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
    for (int64_t size = 1; size < 8; size += 3) {
        dt_settings s = settings_of("batches");
        s.sample_batch_size = size;
        s.threads = size;
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
    snprintf(s.classes, sizeof s.classes, "0-1,c2");
    must_draw(&s);
    for (int i = 0; i < 7; i++) assert_same_pixels("named", "all", i); /* the same three in turn */
    fixture_remove("named");
    static const char *const no_classes[] = {"0-3", "2-1", "0-", "-",      "0-1-2", "3",  "-1",
                                             "c3",  "c0,", ",",  "c0,,c1", "0x1",   "1 ", "99999999999999999999"};
    for (size_t i = 0; i < sizeof no_classes / sizeof no_classes[0]; i++) {
        snprintf(s.classes, sizeof s.classes, "%s", no_classes[i]);
        assert_int_equal(draw(&s, -1), DT_ERR_ARG);
        assert_says(fixture_message, "classes");
        assert_false(file_exists(temp_path("named")));
    }
}

static void prompts_are_not_for_models_of_classes(void **state)
{
    (void)state;
    dt_settings s = settings_of("prompted");
    snprintf(s.prompt, sizeof s.prompt, "a cat");
    assert_int_equal(draw(&s, -1), DT_ERR_ARG);
    assert_says(fixture_message, "prompt is for models that are told prompts");
    assert_false(file_exists(temp_path("prompted")));
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
    s.timestep_spacing = DT_SPACING_SECTIONS; /* what auto means to ddim */
    must_draw(&s);
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

/* ---- going on ---- */

static struct timespec written(const char *folder, int number)
{
    char name[64];
    struct stat st;
    snprintf(name, sizeof name, "%s/images/%06d.png", folder, number);
    assert_int_equal(stat(temp_path(name), &st), 0);
    return st.st_mtim;
}

static void images_that_are_there_are_not_drawn_again(void **state)
{
    (void)state;
    dt_settings s = settings_of("goes_on");
    s.sample_batch_size = 2;
    assert_int_equal(draw(&s, 1), DT_ERR_INTERRUPTED);
    struct timespec before = written("goes_on", 2);
    assert_int_equal(remove(temp_path("goes_on/images/000003.png")), 0);
    s.sample_batch_size = 3;
    must_draw(&s);
    struct timespec after = written("goes_on", 2);
    assert_memory_equal(&before, &after, sizeof before);
    for (int i = 0; i < 7; i++) assert_same_bits(picture("goes_on", i), picture("all", i));
    s.num_samples = 9; /* more of the same */
    must_draw(&s);
    after = written("goes_on", 2);
    assert_memory_equal(&before, &after, sizeof before);
    assert_true(file_exists(temp_path("goes_on/images/000008.png")));
    s.num_samples = 7;
    must_draw(&s);
    assert_says(fixture_log, "holds 9 images, num_samples is 7");
    file_hash grid, whole;
    dt_error err = {0};
    assert_int_equal(file_sha256(&grid, temp_path("goes_on/grid.png"), &err), DT_OK);
    assert_int_equal(file_sha256(&whole, temp_path("all/grid.png"), &err), DT_OK);
    assert_same_bits(grid, whole);
    fixture_remove("goes_on");
}

/* ---- classes drawn evenly ---- */

static void classes_are_drawn_evenly_by_seed_and_number(void **state)
{
    (void)state;
    enum { CLASSES = 5, DRAWN = 20000 };
    int32_t class[CLASSES] = {4, 8, 15, 16, 23};
    class_list l = {class, CLASSES, DT_CLASSES_RANDOM, 7}, other = {class, CLASSES, DT_CLASSES_RANDOM, 8};
    int64_t count[24] = {0}, same = 0, repeated = 0;
    for (int64_t i = 0; i < DRAWN; i++) {
        count[class_list_at(&l, i)]++;
        same += class_list_at(&l, i) == class_list_at(&other, i);
        repeated += class_list_at(&l, i) == class_list_at(&l, i + 1);
    }
    double chi = 0, expected = (double)DRAWN / CLASSES;
    for (int k = 0; k < CLASSES; k++) chi += pow((double)count[class[k]] - expected, 2) / expected;
    assert_true(chi < 18.5); /* 4 degrees of freedom, 1 in 1000 */
    assert_true(fabs((double)same / DRAWN - 0.2) < 0.012 && fabs((double)repeated / DRAWN - 0.2) < 0.012);
    dt_settings s = settings_of("random");
    s.class_order = DT_CLASSES_RANDOM;
    must_draw(&s);
    l = (class_list){class, 3, DT_CLASSES_RANDOM, 0};
    class[0] = 0, class[1] = 1, class[2] = 2;
    for (int i = 0; i < 7; i++) /* an image of the class that it has in turn as well is the same image */
        if (class_list_at(&l, i) == i % 3) assert_same_pixels("random", "all", i);
    assert_int_equal(draw(&(dt_settings){0}, -1), DT_ERR_ARG);
    s.class_order = DT_CLASSES_IN_TURN;
    assert_int_equal(draw(&s, -1), DT_ERR_CONFLICT);
    fixture_remove("random");
}

/* ---- statistics ---- */

static dt_settings statistics_of(const char *folder, const char *file)
{
    dt_settings s = settings_of(folder);
    snprintf(s.save_statistics, sizeof s.save_statistics, "%s", temp_path(file));
    snprintf(s.feature_weights, sizeof s.feature_weights, "%s", temp_path("base.safetensors"));
    s.save_images = 0;
    return s;
}

static file_hash file_bits(const char *name)
{
    file_hash hash;
    dt_error err = {0};
    if (file_sha256(&hash, temp_path(name), &err) != DT_OK) fail_msg("%s", err.message);
    return hash;
}

/* What eval makes of the files of the same images. */
static void measure_files(const char *images, const char *file)
{
    dt_context *c = NULL;
    dt_settings s;
    dt_eval_result result;
    dt_settings_init(&s);
    s.threads = 1;
    snprintf(s.reference, sizeof s.reference, "%s", temp_path(images));
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("base.safetensors"));
    snprintf(s.save_statistics, sizeof s.save_statistics, "%s", temp_path(file));
    assert_int_equal(dt_open(&c, &s), DT_OK);
    if (dt_eval(c, &s, NULL, &result) != DT_OK) fail_msg("%s", dt_message(c));
    dt_close(c);
}

static void statistics_without_files_are_those_of_the_files(void **state)
{
    (void)state;
    dt_settings s = statistics_of("no_files", "drawn.npz");
    must_draw(&s);
    assert_false(file_exists(temp_path("no_files/images")));
    assert_false(file_exists(temp_path("no_files/grid.png")));
    measure_files("all/images", "measured.npz");
    assert_same_bits(file_bits("drawn.npz"), file_bits("measured.npz"));
    fixture_remove("no_files");
}

static void a_stack_holds_all_pictures_and_their_classes(void **state)
{
    (void)state;
    dt_error err = {0};
    dt_settings s = settings_of("all");
    sample_stack stack;
    npz z;
    snprintf(s.save_stack, sizeof s.save_stack, "%s", temp_path("samples.npz"));
    must_draw(&s);
    if (sample_stack_open(&stack, s.save_stack, &err) != DT_OK) fail_msg("%s", err.message);
    assert_int_equal(stack.count, s.num_samples);
    for (int i = 0; i < s.num_samples; i++) {
        image stacked, filed;
        char name[64], *data;
        size_t size;
        snprintf(name, sizeof name, "all/images/%06d.png", i);
        assert_int_equal(sample_stack_next(&stack, &stacked, &err), DT_OK);
        assert_int_equal(file_read_all(&data, &size, temp_path(name), 1 << 20, &err), DT_OK);
        assert_int_equal(image_decode(&filed, NULL, (uint8_t *)data, size, name, &(image_options){0}, &err), DT_OK);
        assert_memory_equal(stacked.rgb, filed.rgb, 3 * FIXTURE_SIZE * FIXTURE_SIZE);
        free(data);
        image_close(&stacked);
        image_close(&filed);
    }
    sample_stack_close(&stack);
    assert_int_equal(npz_read(&z, s.save_stack, INT64_MAX, &err), DT_OK);
    const npz_array *classes = npz_find(&z, "arr_1");
    assert_non_null(classes);
    for (int64_t i = 0; i < s.num_samples; i++) {
        int64_t y;
        memcpy(&y, (const char *)classes->data + i * (int64_t)sizeof y, sizeof y);
        assert_int_equal(y, i % FIXTURE_CLASSES);
    }
    npz_free(&z);
    s.save_images = 3;
    assert_int_equal(draw(&s, -1), DT_ERR_ARG);
    assert_non_null(strstr(fixture_message, "save_stack"));
}

static void interrupted_statistics_have_the_same_bits(void **state)
{
    (void)state;
    measure_files("all/images", "measured.npz");
    dt_settings s = statistics_of("rows", "rows.npz");
    s.sample_batch_size = 2;
    s.save_images = 3;
    assert_int_equal(draw(&s, 1), DT_ERR_INTERRUPTED);
    assert_false(file_exists(temp_path("rows.npz")));
    FILE *f = fopen(temp_path("rows/features.f32"), "ab"); /* as if a write had been cut off by a crash */
    assert_non_null(f);
    fputs("torn", f);
    fclose(f);
    s.sample_batch_size = 5;
    must_draw(&s);
    assert_same_bits(file_bits("rows.npz"), file_bits("measured.npz"));
    assert_true(file_exists(temp_path("rows/images/000002.png")) && !file_exists(temp_path("rows/images/000003.png")));
    for (int i = 0; i < 3; i++) assert_same_bits(picture("rows", i), picture("all", i));
    assert_int_equal(remove(temp_path("rows/images/000001.png")),
                     0); /* found missing, and drawn again with what follows */
    assert_int_equal(remove(temp_path("rows.npz")), 0);
    must_draw(&s);
    assert_same_bits(picture("rows", 1), picture("all", 1));
    assert_same_bits(file_bits("rows.npz"), file_bits("measured.npz"));
    fixture_base("other_base.safetensors", fixture_config(), 13);
    snprintf(s.feature_weights, sizeof s.feature_weights, "%s", temp_path("other_base.safetensors"));
    assert_int_equal(draw(&s, -1), DT_ERR_CONFLICT); /* rows of other features */
    fixture_remove("rows");
}

static void rows_of_features_survive_and_are_cut(void **state)
{
    (void)state;
    enum { DIM = 3, COUNT = 1000 };
    static float rows[COUNT * DIM];
    feature_rows r;
    statistics direct, kept;
    const statistics_kind kind = {.measure = "m", .dim = DIM};
    ctx c = {0};
    dt_error err = {0};
    for (int i = 0; i < COUNT * DIM; i++) rows[i] = sinf((float)i);
    assert_int_equal(feature_rows_open(&r, temp_path("some.f32"), DIM, &err), DT_OK);
    for (int i = 0; i < COUNT; i += 100) assert_int_equal(feature_rows_append(&r, rows + i * DIM, 100, &err), DT_OK);
    assert_int_equal(feature_rows_cut(&r, 700, &err), DT_OK);
    feature_rows_close(&r);
    assert_int_equal(feature_rows_open(&r, temp_path("some.f32"), DIM, &err), DT_OK);
    assert_int_equal(r.count, 700);
    assert_int_equal(statistics_open(&direct, &kind, false, &err), DT_OK);
    assert_int_equal(statistics_open(&kept, &kind, false, &err), DT_OK);
    assert_int_equal(statistics_add(&direct, rows, 650, &err), DT_OK);
    assert_int_equal(feature_rows_add_to(&c, &kept, &r, 650), DT_OK);
    assert_int_equal(statistics_finish(&direct, &err) || statistics_finish(&kept, &err), 0);
    assert_memory_equal(direct.features.covariance, kept.features.covariance, sizeof(double) * DIM * DIM);
    assert_int_equal(feature_rows_add_to(&c, &kept, &r, 701), DT_ERR_IO); /* more than there are */
    statistics_close(&direct);
    statistics_close(&kept);
    feature_rows_close(&r);
    err = (dt_error){0};
    assert_int_equal(feature_rows_open(&r, temp_folder, DIM, &err), DT_ERR_IO);
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

/* The base with its last `count` values, those of the table of classes, made `value`. */
static void spoil_base(int64_t count, float value)
{
    char *data;
    size_t size;
    dt_error err = {0};
    assert_int_equal(file_read_all(&data, &size, temp_path("base.safetensors"), 1 << 24, &err), DT_OK);
    for (int64_t i = 1; i <= count; i++) memcpy(data + size - (size_t)i * sizeof value, &value, sizeof value);
    temp_write("spoilt.safetensors", data, size);
    free(data);
}

static void numbers_that_are_not_finite_are_no_pictures(void **state)
{
    (void)state;
    dt_settings s = settings_of("spoilt");
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("spoilt.safetensors"));
    spoil_base(1, NAN);
    assert_int_equal(draw(&s, -1), DT_ERR_FORMAT);
    assert_says(fixture_message, "spoilt.safetensors: tensor ");
    assert_says(fixture_message, "nan");
    spoil_base(64, 3e38F);
    assert_int_equal(draw(&s, -1), DT_ERR_NUMERIC);
    assert_says(fixture_message, "sample 0: a value is");
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("spoilt_bank"));
    s.bank_size = 4;
    assert_int_equal(fixture_call_until(dt_bank, &s, -1), DT_ERR_NUMERIC);
    assert_says(fixture_message, "a value is");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_do_not_depend_on_batches_and_threads),
        cmocka_unit_test(classes_are_named_or_numbered),
        cmocka_unit_test(prompts_are_not_for_models_of_classes),
        cmocka_unit_test(a_folder_of_other_samples_is_refused_and_left_alone),
        cmocka_unit_test(what_was_stopped_or_failed_can_be_drawn_again),
        cmocka_unit_test(images_that_are_there_are_not_drawn_again),
        cmocka_unit_test(classes_are_drawn_evenly_by_seed_and_number),
        cmocka_unit_test(statistics_without_files_are_those_of_the_files),
        cmocka_unit_test(a_stack_holds_all_pictures_and_their_classes),
        cmocka_unit_test(interrupted_statistics_have_the_same_bits),
        cmocka_unit_test(rows_of_features_survive_and_are_cut),
        cmocka_unit_test(latents_are_not_pictures),
        cmocka_unit_test(numbers_that_are_not_finite_are_no_pictures),
    };
    return cmocka_run_group_tests(tests, make, temp_folder_remove);
}
