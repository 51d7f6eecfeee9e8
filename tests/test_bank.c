/* The memory bank: the same bits however it was made, and whatever is not this bank is refused by name. */
#include "file/folder.h"
#include "run_fixture.h"

#include <unistd.h>

#include "data/bank.h"
#include "file/json_file.h"
#include "diffusion/sampler.h"
#include "train/trainer.h"

static dt_settings settings_of(const char *folder, int64_t size)
{
    dt_settings s;
    dt_settings_init(&s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("base.safetensors"));
    snprintf(s.bank, sizeof s.bank, "%s", temp_path(folder));
    s.threads = 1;
    s.seed = 4;
    s.bank_size = size;
    s.bank_shard_size = 4;
    s.sample_batch_size = 3;
    s.num_inference_steps = 3;
    return s;
}

/* Makes the bank; stops at the n-th question (< 0: never). */
static dt_status make_bank(const dt_settings *s, int64_t stop_at)
{
    return fixture_call_until(dt_bank, s, stop_at);
}

static void make_whole_bank(const dt_settings *s)
{
    fixture_must(dt_bank, s);
}

/* ---- reading it ---- */

static ctx context;
static dit model;
static denoiser drawn_from; /* the same */
static model_info info;

static void open_model(const char *name)
{
    assert_int_equal(ctx_open(&context, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    if (fixture_load(&context, &model, &info, temp_path(name)) != DT_OK) fail_msg("%s", context.error.message);
    drawn_from = fixture_denoiser(&model);
}

static void close_model(void)
{
    model_info_free(&info);
    ctx_close(&context);
}

static codec pixels;

static dt_status open_bank_of(examples *b, const dt_settings *s, const char *base_sha256)
{
    pixels = codec_of_pixels(3);
    const examples_options options = {.codec = &pixels,
                                      .resolution = model.config.input_size,
                                      .background = s->background,
                                      .watch.log = fixture_collect};
    error_clear(&context.error);
    fixture_log[0] = '\0';
    return bank_open(&context, b, s->bank, &drawn_from, base_sha256, &options);
}

static dt_status open_bank(examples *b, const dt_settings *s)
{
    return open_bank_of(b, s, info.sha256);
}

/* The images of a bank as one hash, and how many they are. */
static file_hash images_of(const char *folder, int64_t count)
{
    examples b;
    file_hash hash;
    dt_settings s = settings_of(folder, count);
    open_model("base.safetensors");
    if (open_bank(&b, &s) != DT_OK) fail_msg("%s", context.error.message);
    assert_true(b.count >= count);
    file_sha256_bytes(&hash, b.x, (size_t)(count * sample_values(b.shape)) * sizeof *b.x);
    for (int64_t i = 0; i < b.count * sample_values(b.shape); i++) assert_true(isfinite(b.x[i]));
    examples_close(&b);
    close_model();
    return hash;
}

static file_hash whole; /* the images of a bank of ten, made in one go */

static int make(void **state)
{
    if (fixture_make(state)) return -1;
    dt_settings s = settings_of("bank", 10);
    make_whole_bank(&s);
    whole = images_of("bank", 10);
    return 0;
}

static void refuse_to_open(const char *folder, dt_status status, const char *says)
{
    examples b;
    dt_settings s = settings_of(folder, 10);
    open_model("base.safetensors");
    assert_int_equal(open_bank(&b, &s), status);
    assert_says(context.error.message, folder);
    assert_says(context.error.message, says);
    assert_null(b.x);
    close_model();
}

/* ---- the same bits ---- */

static void a_bank_stopped_anywhere_has_the_same_bits(void **state)
{
    (void)state;
    for (int64_t stop = 0; stop < 5; stop++) {
        dt_settings s = settings_of("stopped", 10);
        dt_status status = make_bank(&s, stop);
        assert_int_equal(status, stop < 4 ? DT_ERR_INTERRUPTED : DT_OK); /* with its last image drawn it is whole */
        if (stop < 4) assert_says(fixture_message, "stopped");
        make_whole_bank(&s);
        assert_same_bits(images_of("stopped", 10), whole);
        assert_same_bits(fixture_tensors(temp_path("stopped/shard-00001.safetensors")),
                         fixture_tensors(temp_path("bank/shard-00001.safetensors")));
        fixture_remove("stopped");
    }
}

static void a_bank_stopped_again_and_again_has_the_same_bits(void **state)
{
    (void)state;
    dt_settings s = settings_of("again", 10);
    int64_t calls = 0;
    s.sample_batch_size = 2;
    while (make_bank(&s, 1) == DT_ERR_INTERRUPTED) assert_true(++calls < 10);
    assert_true(calls >= 2);
    assert_same_bits(images_of("again", 10), whole);
    fixture_remove("again");
}

/* A request that comes with the last image of a shard keeps that shard. */
static void a_finished_shard_is_kept_when_stopping(void **state)
{
    (void)state;
    dt_settings s = settings_of("kept", 10);
    s.sample_batch_size = 4;
    assert_int_equal(make_bank(&s, 0), DT_ERR_INTERRUPTED);
    assert_says(fixture_message, "1 finished shard");
    assert_true(file_exists(temp_path("kept/shard-00000.safetensors")));
    assert_false(file_exists(temp_path("kept/shard-00001.safetensors")));
    fixture_remove("kept");
}

static void batches_and_threads_do_not_touch_the_bits(void **state)
{
    (void)state;
    static const int64_t batches[] = {1, 2, 4, 256};
    for (int i = 0; i < 4; i++) {
        dt_settings s = settings_of("otherwise", 10);
        s.sample_batch_size = batches[i];
        s.threads = 1 + i % 3;
        make_whole_bank(&s);
        assert_same_bits(images_of("otherwise", 10), whole);
        fixture_remove("otherwise");
    }
    dt_settings s = settings_of("otherwise", 10);
    s.bank_shard_size = 1000000; /* of which ten are wanted */
    make_whole_bank(&s);
    assert_same_bits(images_of("otherwise", 10), whole);
    fixture_remove("otherwise");
}

static void a_larger_bank_keeps_the_images_of_the_smaller(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 3, 4, 5, 8, 10, 2, 10};
    for (int i = 0; i < 8; i++) {
        dt_settings s = settings_of("growing", sizes[i]);
        make_whole_bank(&s);
    }
    assert_same_bits(images_of("growing", 10), whole);
    fixture_remove("growing");
}

static void a_missing_or_damaged_shard_is_drawn_again(void **state)
{
    (void)state;
    dt_settings s = settings_of("repaired", 10);
    make_whole_bank(&s);
    assert_int_equal(unlink(temp_path("repaired/shard-00000.safetensors")), 0);
    assert_int_equal(truncate(temp_path("repaired/shard-00002.safetensors"), 100), 0);
    make_whole_bank(&s);
    assert_same_bits(images_of("repaired", 10), whole);
    fixture_remove("repaired");
}

/* The unconditional branch: of whatever classes the model has. */
static void images_are_drawn_without_a_class_or_of_all_in_turn(void **state)
{
    (void)state;
    dt_settings s = settings_of("classes", 10);
    s.bank_labels = DT_BANK_CLASSES;
    make_whole_bank(&s);
    assert_string_not_equal(images_of("classes", 10).hex, whole.hex);
    fixture_remove("classes");
    s = settings_of("classes", 10);
    s.guidance_scale = 7; /* has no meaning without a class */
    make_whole_bank(&s);
    assert_same_bits(images_of("classes", 10), whole);
    fixture_remove("classes");
}

/* Image i is the sampler's image i under the bank's own keys, with the null class. */
static void images_are_the_sampler_s_under_the_bank_s_own_keys(void **state)
{
    (void)state;
    examples b;
    sampler p;
    static float x[10 * 3 * FIXTURE_SIZE * FIXTURE_SIZE];
    int32_t y[10];
    uint32_t index[10];
    dt_settings s = settings_of("bank", 10);
    for (uint32_t i = 0; i < 10; i++) index[i] = i, y[i] = FIXTURE_CLASSES;
    s.guidance_scale = 1;
    open_model("base.safetensors");
    if (open_bank(&b, &s) != DT_OK) fail_msg("%s", context.error.message);
    for (int of_samples = 0; of_samples < 2; of_samples++) {
        assert_int_equal(sampler_open(&p, &drawn_from, &s, &context.error), DT_OK);
        if (!of_samples) p.start = RNG_BANK_START, p.step = RNG_BANK_STEP;
        assert_int_equal(sampler_draw(&context, &p, x, &(condition){.label = y}, index, 10), DT_OK);
        assert_int_equal(memcmp(x, b.x, sizeof x) == 0, !of_samples);
    }
    examples_close(&b);
    close_model();
}

/* ---- what is refused ---- */

static void another_way_of_drawing_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const changes[][2] = {
        {"seed", "5"},  {"num_inference_steps", "4"}, {"sampler", "ddpm"},        {"timestep_spacing", "leading"},
        {"eta", "0.5"}, {"bank_shard_size", "5"},     {"bank_labels", "classes"}, {"mixed_precision", "bf16"}};
    file_hash before = fixture_tree("bank");
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        dt_settings s = settings_of("bank", 12);
        assert_int_equal(dt_settings_set(&s, changes[i][0], changes[i][1], NULL, 0), DT_OK);
        assert_int_equal(make_bank(&s, -1), DT_ERR_CONFLICT);
        assert_says(fixture_message, "bank drawn with");
        assert_says(fixture_message, strncmp(changes[i][0], "bank_", 5) ? changes[i][0] : changes[i][0] + 5);
    }
    dt_settings s = settings_of("bank", 12);
    fixture_base("other.safetensors", fixture_config(), 12);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("other.safetensors"));
    assert_int_equal(make_bank(&s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "holds a bank drawn with another base model (pretrained_model)");
    assert_same_bits(fixture_tree("bank"), before);
}

static void a_folder_of_other_things_is_refused_and_left_alone(void **state)
{
    (void)state;
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path("diary"), &err), DT_OK);
    temp_write("diary/monday.txt", "dear diary", 10);
    file_hash before = fixture_tree("diary");
    dt_settings s = settings_of("diary", 10);
    assert_int_equal(make_bank(&s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "monday.txt");
    assert_same_bits(fixture_tree("diary"), before);
    fixture_remove("diary");
}

/* What a process that was killed leaves of its first file. */
static void the_leftover_of_a_dead_process_is_no_other_thing(void **state)
{
    (void)state;
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path("dead"), &err), DT_OK);
    temp_write("dead/manifest.json.tmp-12345", "{", 1);
    dt_settings s = settings_of("dead", 10);
    make_whole_bank(&s);
    assert_same_bits(images_of("dead", 10), whole);
    fixture_remove("dead");
}

static void a_bank_of_another_model_is_refused(void **state)
{
    (void)state;
    examples b;
    dt_settings s = settings_of("bank", 10);
    fixture_base("other.safetensors", fixture_config(), 12);
    open_model("other.safetensors");
    assert_int_equal(open_bank(&b, &s), DT_ERR_CONFLICT);
    assert_says(context.error.message, "another base model");
    close_model();
    dit_config small = fixture_config();
    small.input_size = 8;
    fixture_base("small.safetensors", small, 12);
    open_model("small.safetensors");
    assert_int_equal(open_bank_of(&b, &s, NULL), DT_ERR_SHAPE);
    assert_says(context.error.message, "[n,3,8,8]");
    close_model();
}

static void damaged_shards_are_refused_by_name(void **state)
{
    (void)state;
    dt_settings s = settings_of("damaged", 10);
    make_whole_bank(&s);
    char shard[512];
    snprintf(shard, sizeof shard, "%s", temp_path("damaged/shard-00001.safetensors"));
    FILE *f = fopen(shard, "r+b");
    fseek(f, -5, SEEK_END);
    putc(0x55, f);
    fclose(f);
    refuse_to_open("damaged", DT_ERR_FORMAT, "shard-00001");
    assert_int_equal(truncate(shard, 1000), 0);
    refuse_to_open("damaged", DT_ERR_FORMAT, "shard-00001");
    assert_int_equal(truncate(shard, 0), 0);
    refuse_to_open("damaged", DT_ERR_FORMAT, "shard-00001");
    assert_int_equal(unlink(shard), 0);
    refuse_to_open("damaged", DT_ERR_IO, "shard-00001");
    fixture_remove("damaged");
}

static void a_shard_that_is_named_twice_is_refused(void **state)
{
    (void)state;
    dt_settings s = settings_of("twice", 3);
    dt_error err = {0};
    assert_int_equal(make_bank(&s, -1), DT_OK);
    json_t *manifest = json_file_read_sealed(temp_path("twice/manifest.json"), &err);
    json_t *shards = json_object_get(manifest, "shards");
    assert_int_equal(json_array_append(shards, json_array_get(shards, 0)), 0);
    assert_int_equal(json_file_write(temp_path("twice/manifest.json"), manifest, NULL, &err), DT_OK);
    refuse_to_open("twice", DT_ERR_FORMAT, "shard-00000.safetensors is there twice");
    fixture_remove("twice");
}

static void hostile_manifests_are_refused(void **state)
{
    (void)state;
    static const char *const manifests[] = {"",
                                            "[]",
                                            "{}",
                                            "{\"format\": \"difftune bank 1\"}",
                                            "{\"format\": \"difftune bank 1\", \"shards\": []}",
                                            "{\"format\": 1, \"shards\": [], \"drawing\": {}}",
                                            "{\"format\": \"difftune bank 2\", \"shards\": [], \"drawing\": {}}",
                                            "[[[[[[[[[[[[[[[[[[[["};
    static const char *const shards[] = {"1",
                                         "\"x\"",
                                         "{}",
                                         "{\"file\": \"shard\"}",
                                         "{\"file\": \"../bank/shard-00000.safetensors\", \"sha256\": \"\"}",
                                         "{\"file\": \"/etc/passwd\", \"sha256\": \"\"}",
                                         "{\"file\": 3, \"sha256\": 4, \"count\": \"many\"}"};
    dt_error err = {0};
    char text[512];
    assert_int_equal(file_make_dirs(temp_path("hostile"), &err), DT_OK);
    for (size_t i = 0; i < sizeof manifests / sizeof manifests[0]; i++) {
        temp_write("hostile/manifest.json", manifests[i], strlen(manifests[i]));
        refuse_to_open("hostile", DT_ERR_FORMAT, "manifest.json");
        dt_settings s = settings_of("hostile", 10);
        assert_int_equal(make_bank(&s, -1), DT_ERR_FORMAT);
    }
    open_model("base.safetensors");
    char base[65];
    memcpy(base, info.sha256, sizeof base);
    close_model();
    for (size_t i = 0; i < sizeof shards / sizeof shards[0]; i++) {
        snprintf(text, sizeof text,
                 "{\"format\": \"difftune bank 1\", \"shards\": [%s], \"drawing\": {\"base_sha256\": \"%s\"}}",
                 shards[i], base);
        temp_write("hostile/manifest.json", text, strlen(text));
        refuse_to_open("hostile", DT_ERR_FORMAT, "manifest.json");
    }
    snprintf(text, sizeof text,
             "{\"format\": \"difftune bank 1\", \"shards\": [], \"drawing\": {\"base_sha256\": \"%s\"}}", base);
    temp_write("hostile/manifest.json", text, strlen(text));
    refuse_to_open("hostile", DT_ERR_FORMAT, "empty");
    fixture_remove("hostile");
}

static void a_full_disk_keeps_the_finished_shards(void **state)
{
    (void)state;
    for (rlim_t bytes = 0; bytes < 12000; bytes = bytes * 2 + 300) {
        dt_settings s = settings_of("full", 10);
        limit_file_size(bytes);
        dt_status status = make_bank(&s, -1);
        limit_file_size(RLIM_INFINITY);
        assert_int_equal(status, DT_ERR_IO);
        assert_says(fixture_message, "full/");
        make_whole_bank(&s);
        assert_same_bits(images_of("full", 10), whole);
        fixture_remove("full");
    }
}

/* ---- folders of images ---- */

static void a_folder_of_images_is_a_bank(void **state)
{
    (void)state;
    examples b;
    dataset d;
    dt_error err = {0};
    static float x[3 * FIXTURE_SIZE * FIXTURE_SIZE], shown[3 * FIXTURE_SIZE * FIXTURE_SIZE];
    dt_settings s = settings_of("bank_images", 10);
    dataset_options options = {.resolution = FIXTURE_SIZE, .background = "#ffffff"};
    open_model("base.safetensors");
    if (open_bank(&b, &s) != DT_OK) fail_msg("%s", context.error.message);
    assert_int_equal(dataset_open(&d, s.bank, &options, &err), DT_OK);
    assert_int_equal(b.count, 9);
    assert_int_equal(d.count, 9);
    for (int64_t i = 0; i < 9; i++) {
        dataset_image(x, &d, i, false);
        examples_get(shown, &b, i, false, NULL);
        assert_memory_equal(shown, x, sizeof x);
    }
    assert_string_equal(b.sha256, d.sha256);
    dataset_close(&d);
    examples_close(&b);
    close_model();
    assert_int_equal(make_bank(&s, -1), DT_ERR_CONFLICT); /* and never drawn into */
}

static void images_are_no_bank_for_a_model_of_other_channels(void **state)
{
    (void)state;
    examples b;
    dt_settings s = settings_of("bank_images", 10);
    dit_config config = fixture_config();
    config.channels = 4;
    fixture_base("latent.safetensors", config, 3);
    open_model("latent.safetensors");
    assert_int_equal(open_bank(&b, &s), DT_ERR_SHAPE);
    assert_says(context.error.message, "3 channels");
    close_model();
}

/* ---- training on it ---- */

static void training_takes_a_drawn_bank(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("trained");
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank"));
    fixture_train_to_the_end(&s);
    assert_says(fixture_log, "10 images");
    fixture_remove("trained");
    fixture_base("other.safetensors", fixture_config(), 12);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("other.safetensors"));
    assert_int_equal(fixture_train(&s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "another base model");
    assert_false(file_exists(temp_path("trained")));
}

static file_hash manifest_of(const char *folder)
{
    char name[64];
    file_hash hash;
    dt_error err = {0};
    snprintf(name, sizeof name, "%s/manifest.json", folder);
    if (file_sha256(&hash, temp_path(name), &err) != DT_OK) fail_msg("%s", err.message);
    return hash;
}

/* How many were wanted is told of an unfinished bank, and is no part of a finished one. */
static void fewer_and_more_images_than_are_asked_for_are_told(void **state)
{
    (void)state;
    dt_settings s = settings_of("part", 10);
    s.sample_batch_size = 2;
    while (!file_exists(temp_path("part/shard-00000.safetensors")))
        assert_int_equal(make_bank(&s, 1), DT_ERR_INTERRUPTED);
    images_of("part", 4);
    assert_says(fixture_log, "part is unfinished: 4 of 10 images; the same 'bank' command goes on");
    make_whole_bank(&s);
    images_of("part", 10);
    assert_null(strstr(fixture_log, "unfinished"));
    assert_same_bits(manifest_of("part"), manifest_of("bank"));
    s.bank_size = 6;
    make_whole_bank(&s);
    assert_says(fixture_log, "part holds 10 images, bank_size is 6: those beyond stay");
    s.bank_size = 12; /* stopped before anything is drawn */
    assert_int_equal(make_bank(&s, 0), DT_ERR_INTERRUPTED);
    images_of("part", 10);
    assert_says(fixture_log, "part is unfinished: 10 of 12 images");
    s.bank_size = 10;
    make_whole_bank(&s);
    assert_same_bits(manifest_of("part"), manifest_of("bank"));
    fixture_remove("part");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bank_stopped_anywhere_has_the_same_bits),
        cmocka_unit_test(a_bank_stopped_again_and_again_has_the_same_bits),
        cmocka_unit_test(a_finished_shard_is_kept_when_stopping),
        cmocka_unit_test(fewer_and_more_images_than_are_asked_for_are_told),
        cmocka_unit_test(batches_and_threads_do_not_touch_the_bits),
        cmocka_unit_test(a_larger_bank_keeps_the_images_of_the_smaller),
        cmocka_unit_test(a_missing_or_damaged_shard_is_drawn_again),
        cmocka_unit_test(images_are_drawn_without_a_class_or_of_all_in_turn),
        cmocka_unit_test(images_are_the_sampler_s_under_the_bank_s_own_keys),
        cmocka_unit_test(another_way_of_drawing_is_refused_by_name),
        cmocka_unit_test(a_folder_of_other_things_is_refused_and_left_alone),
        cmocka_unit_test(the_leftover_of_a_dead_process_is_no_other_thing),
        cmocka_unit_test(a_bank_of_another_model_is_refused),
        cmocka_unit_test(damaged_shards_are_refused_by_name),
        cmocka_unit_test(a_shard_that_is_named_twice_is_refused),
        cmocka_unit_test(hostile_manifests_are_refused),
        cmocka_unit_test(a_full_disk_keeps_the_finished_shards),
        cmocka_unit_test(a_folder_of_images_is_a_bank),
        cmocka_unit_test(images_are_no_bank_for_a_model_of_other_channels),
        cmocka_unit_test(training_takes_a_drawn_bank),
    };
    return cmocka_run_group_tests(tests, make, temp_folder_remove);
}
