/* Models of latents end to end: what training is fed is what the codec makes by hand; runs have the same bits whoever filled
 * the cache; bank, samples and distances go through the codec; what does not fit is refused in one line. */
#include "file/folder.h"
#include "latent_fixture.h"
#include "shared_data.h"

#include <archive.h>
#include <archive_entry.h>
#include <unistd.h>

#include "eval/statistics.h"
#include "model/feature/features.h"
#include "train/trainer.h"

/* ---- what a step is fed ---- */

typedef struct feed {
    ctx c;
    trainer t;
    dt_settings s;
} feed;

static feed fed;

static void open_feed(dt_settings s)
{
    static const dt_observer nobody = {0};
    fed.s = s;
    assert_int_equal(ctx_open(&fed.c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    if (trainer_open(&fed.t, &fed.c, &fed.s, &nobody, model_kinds_all) != DT_OK) fail_msg("%s", fed.c.error.message);
}

static void close_feed(void)
{
    trainer_close(&fed.t);
    ctx_close(&fed.c);
}

/* Whether x0 is a latent of a picture of `set` (opened with pixels), drawn with the noise of this sample. */
static bool is_latent_of(const real *x0, const dataset *set, int64_t sample, bool *mirrored)
{
    enum { PIXELS_MAX = 3 * 32 * 32, VALUES_MAX = 5 * 16 };
    static float x[PIXELS_MAX], moments[2 * VALUES_MAX], noise[VALUES_MAX], z[VALUES_MAX];
    int64_t values = sample_values(fed.t.train.shape);
    rng_normal(noise, values, (rng_key){(uint64_t)fed.s.seed, RNG_LATENT, (uint32_t)fed.t.step, (uint32_t)sample});
    for (int64_t i = 0; i < set->count; i++)
        for (int flip = 0; flip < 2; flip++) {
            dataset_image(x, set, i, flip);
            codec_encode(&fed.c, &fed.t.codec, moments, x, 1, set->resolution, set->resolution);
            codec_latent(z, &fed.t.codec, moments, noise, values);
            *mirrored = flip;
            if (!memcmp(z, x0, (size_t)values * sizeof *z)) return true;
        }
    return false;
}

static void expect_feed_by_hand(dt_settings s, int64_t side)
{
    dataset data, bank;
    dt_error err = {0};
    const dataset_options options = {.resolution = side, .background = "#ffffff"};
    assert_int_equal(dataset_open(&data, s.train_data, &options, &err), DT_OK);
    assert_int_equal(dataset_open(&bank, s.bank, &options, &err), DT_OK);
    open_feed(s);
    int mirrored_count = 0;
    for (fed.t.step = 0; fed.t.step < 12; fed.t.step++) {
        const arena_place mark = arena_mark(&fed.c.step);
        batch b;
        assert_true(batch_new(&fed.c, &b, &fed.t.model, s.train_batch_size));
        fixture_feed(&fed.t, &b, 0);
        for (int64_t i = 0; i < b.count; i++) {
            bool mirrored = false;
            const real *x0 = b.x0->data + i * sample_values(fed.t.train.shape);
            assert_true(is_latent_of(x0, i < b.target_count ? &data : &bank, i, &mirrored));
            mirrored_count += mirrored;
        }
        arena_release(&fed.c.step, mark);
    }
    assert_in_range(mirrored_count, 10, 38); /* of 48 */
    close_feed();
    dataset_close(&data);
    dataset_close(&bank);
}

static dt_settings kl_settings(const char *output)
{
    dt_settings s = latent_fixture_settings(output);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("kl_base.safetensors"));
    snprintf(s.vae, sizeof s.vae, "%s", temp_path("kl"));
    return s;
}

static void a_step_is_fed_latents_encoded_by_hand(void **state)
{
    (void)state;
    expect_feed_by_hand(latent_fixture_settings(""), 32);
    expect_feed_by_hand(kl_settings(""), 16);
}

/* ---- whole runs ---- */

/* The cache verb encodes for the resolution that the run takes from its base. */
static dt_settings cache_settings(const char *folder)
{
    dt_settings s = latent_fixture_settings("");
    snprintf(s.cache_dir, sizeof s.cache_dir, "%s", temp_path(folder));
    s.resolution = LATENT_PICTURE;
    return s;
}

static void the_same_bits_whoever_filled_the_cache(void **state)
{
    (void)state;
    file_hash first = fixture_bits(latent_fixture_settings(""));
    assert_same_bits(fixture_bits(latent_fixture_settings("")), first); /* from what the first run left */
    dt_settings cache = cache_settings("beforehand"), s = latent_fixture_settings("");
    assert_int_equal(fixture_call_until(dt_cache, &cache, 5), DT_ERR_INTERRUPTED);
    fixture_must(dt_cache, &cache);
    memcpy(s.cache_dir, cache.cache_dir, sizeof s.cache_dir);
    s.threads = 3;
    assert_same_bits(fixture_bits(s), first);
    assert_non_null(strstr(fixture_log, "12 images of 3 classes at 32x32"));
    fixture_remove("beforehand");
}

static void a_run_that_is_stopped_while_it_encodes_goes_on(void **state)
{
    (void)state;
    file_hash first = fixture_bits(latent_fixture_settings(""));
    dt_settings s = latent_fixture_settings("stopped");
    snprintf(s.cache_dir, sizeof s.cache_dir, "%s", temp_path("fresh"));
    int calls = 0;
    dt_status status;
    while ((status = fixture_call_until(dt_train, &s, 7)) == DT_ERR_INTERRUPTED) calls++;
    if (status != DT_OK) fail_msg("%s", fixture_message);
    assert_in_range(calls, 2, 20);
    assert_same_bits(fixture_result("stopped"), first);
    fixture_remove("stopped");
    fixture_remove("fresh");
}

static void pre_training_takes_channels_and_size_from_the_codec(void **state)
{
    (void)state;
    dt_settings s = latent_fixture_settings("new");
    s.method = DT_METHOD_PRETRAIN;
    s.pretrained_model[0] = s.bank[0] = '\0';
    s.resolution = LATENT_PICTURE;
    s.patch_size = 2;
    s.hidden_size = 32;
    s.depth = s.num_heads = 2;
    fixture_must(dt_train, &s);
    model_file f;
    dt_error err = {0};
    assert_int_equal(model_file_open(&f, temp_path("new"), model_kinds_all, &err), DT_OK);
    assert_int_equal(f.shape.channels, LATENT_CHANNELS);
    assert_int_equal(f.shape.height, LATENT_SIZE);
    assert_int_equal(strlen(tensor_file_metadata(&f.tensors, "difftune.vae_sha256")), 64);
    model_file_close(&f);
    fixture_remove("new");
    s.resolution = 36;
    assert_int_equal(fixture_call_until(dt_train, &s, -1), DT_ERR_ARG);
    assert_says(fixture_message, "not divisible by 8");
    s.resolution = LATENT_PICTURE;
    s.patch_size = 8;
    assert_int_equal(fixture_call_until(dt_train, &s, -1), DT_ERR_ARG);
    assert_says(fixture_message, "patches of 8");
    assert_false(file_exists(temp_path("new")));
}

/* ---- bank, samples, distances ---- */

/* As a pipeline's folder has it. */
static void put_codec_beside(const char *model)
{
    char folder[64], name[128], *bytes;
    size_t size;
    dt_error err = {0};
    snprintf(folder, sizeof folder, "%s/vae", model);
    snprintf(name, sizeof name, "%s/diffusion_pytorch_model.safetensors", folder);
    assert_int_equal(file_make_dirs(temp_path(folder), &err), DT_OK);
    assert_int_equal(file_read_all(&bytes, &size, tiny_codec, 1 << 24, &err), DT_OK);
    temp_write(name, bytes, size);
    free(bytes);
}

static const char *image_size_of(const char *path)
{
    static char text[32];
    char *data;
    size_t size;
    image picture;
    dt_error err = {0};
    const image_options options = {0};
    assert_int_equal(file_read_all(&data, &size, path, 1 << 24, &err), DT_OK);
    assert_int_equal(image_decode(&picture, NULL, (uint8_t *)data, size, path, &options, &err), DT_OK);
    snprintf(text, sizeof text, "%dx%d", (int)picture.width, (int)picture.height);
    image_close(&picture);
    free(data);
    return text;
}

static void bank_run_and_samples_end_to_end(void **state)
{
    (void)state;
    dt_settings s = latent_fixture_settings("whole");
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank"));
    snprintf(s.validation_data, sizeof s.validation_data, "%s", temp_path("held"));
    s.bank_size = 6;
    s.num_inference_steps = 2;
    s.num_samples = 3;
    s.sample_steps = s.eval_steps = s.validation_steps = 3;
    s.validation_count = 4;
    s.eval_count = 8;
    fixture_must(dt_bank, &s);
    fixture_must(dt_train, &s);
    assert_says(fixture_log, "FD-base");
    assert_says(fixture_log, "validation loss on the bank");
    assert_true(file_exists(temp_path("whole/samples/step_00000006.png")));

    dt_settings draw = s;
    snprintf(draw.pretrained_model, sizeof draw.pretrained_model, "%s", temp_path("whole"));
    snprintf(draw.output_dir, sizeof draw.output_dir, "%s", temp_path("drawn"));
    fixture_must(dt_sample, &draw);
    assert_string_equal(image_size_of(temp_path("drawn/images/000002.png")), "32x32");
    draw.vae[0] = '\0';
    assert_int_equal(fixture_call_until(dt_sample, &draw, -1), DT_ERR_ARG);
    assert_says(fixture_message, "vae is needed");
    assert_null(strstr(fixture_message, "one is in"));
    put_codec_beside("whole");
    assert_int_equal(fixture_call_until(dt_sample, &draw, -1), DT_ERR_ARG);
    assert_says(fixture_message, "pictures of them; one is in ");
    fixture_remove("whole/vae");
    snprintf(draw.vae, sizeof draw.vae, "%s", temp_path("kl"));
    assert_int_equal(fixture_call_until(dt_sample, &draw, -1), DT_ERR_SHAPE);
    assert_says(fixture_message, "the model takes 5 channels");
    assert_says(fixture_message, "latents of 3");
}

/* The bank's latents are fed as they stand, mirrored never. */
static void latents_of_a_bank_are_not_mirrored(void **state)
{
    (void)state;
    dt_settings s = latent_fixture_settings("");
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank"));
    open_feed(s);
    const examples *bank = &fed.t.bank;
    int64_t values = sample_values(bank->shape);
    assert_int_equal(bank->kind, EXAMPLES_VALUES);
    assert_int_equal(bank->count, 6);
    for (fed.t.step = 0; fed.t.step < 10; fed.t.step++) {
        batch b;
        assert_true(batch_new(&fed.c, &b, &fed.t.model, s.train_batch_size));
        fixture_feed(&fed.t, &b, 0);
        for (int64_t i = b.target_count; i < b.count; i++) {
            bool found = false;
            for (int64_t j = 0; j < bank->count; j++)
                found |= !memcmp(bank->x + j * values, b.x0->data + i * values, (size_t)values * sizeof(float));
            assert_true(found);
        }
    }
    close_feed();
}

static dt_status measure(const dt_settings *s, dt_eval_result *result)
{
    dt_context *c = NULL;
    dt_status status = dt_open(&c, s);
    if (status == DT_OK) status = dt_eval(c, s, NULL, result);
    snprintf(fixture_message, sizeof fixture_message, "%s", dt_message(c));
    dt_close(c);
    return status;
}

/* Mean of the features of the pictures' modes, encoded by hand. */
static void expect_mean_by_hand(const statistics *saved, const dt_settings *s)
{
    static float x[3 * 32 * 32], z[LATENT_CHANNELS * 16];
    dataset d;
    dit base;
    features f;
    model_info info;
    statistics mine;
    dt_error *err = &fed.c.error;
    assert_int_equal(ctx_open(&fed.c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    codec vae;
    assert_int_equal(codec_open(&fed.c, &vae, s->vae), DT_OK);
    assert_int_equal(fixture_load(&fed.c, &base, &info, s->pretrained_model), DT_OK);
    const denoiser seen_by = fixture_denoiser(&base);
    features_of_base(&f, &seen_by, info.sha256);
    const dataset_options options = {.resolution = LATENT_PICTURE, .background = "#ffffff"};
    assert_int_equal(dataset_open(&d, s->reference, &options, err), DT_OK);
    assert_int_equal(statistics_open(&mine, &(statistics_kind){f.identity, f.dim, 0, false}, false, err), DT_OK);
    for (int64_t i = 0; i < d.count; i++) {
        float row[64];
        dataset_image(x, &d, i, false);
        codec_encode(&fed.c, &vae, z, x, 1, LATENT_PICTURE, LATENT_PICTURE);
        assert_int_equal(features_rows(&fed.c, &f, row, z, seen_by.shape, i, 1), DT_OK);
        statistics_add(&mine, row, 1, err);
    }
    assert_int_equal(statistics_finish(&mine, err), DT_OK);
    assert_int_equal(mine.features.dim, saved->features.dim);
    for (int64_t i = 0; i < mine.features.dim; i++)
        assert_true(fabs(mine.features.mean[i] - saved->features.mean[i]) < 1e-12);
    statistics_close(&mine);
    dataset_close(&d);
    model_info_free(&info);
    ctx_close(&fed.c);
}

static void distances_in_a_latent_base_are_of_latents(void **state)
{
    (void)state;
    dt_eval_result same, other;
    dt_settings s = latent_fixture_settings("");
    snprintf(s.reference, sizeof s.reference, "%s", temp_path("held"));
    snprintf(s.candidate, sizeof s.candidate, "%s", temp_path("held"));
    snprintf(s.save_statistics, sizeof s.save_statistics, "%s", temp_path("held.npz"));
    if (measure(&s, &same) != DT_OK) fail_msg("%s", fixture_message);
    assert_true(fabs(same.frechet_distance) < 1e-6);
    statistics saved;
    dt_error err = {0};
    char identity[80];
    file_hash base;
    assert_int_equal(file_sha256(&base, s.pretrained_model, &err), DT_OK);
    snprintf(identity, sizeof identity, "FD-base %.12s", base.hex);
    assert_int_equal(statistics_load(&saved, s.save_statistics, &(statistics_kind){identity, 32, 0, false}, NULL, &err),
                     DT_OK);
    expect_mean_by_hand(&saved, &s);
    statistics_close(&saved);
    s.save_statistics[0] = '\0';
    snprintf(s.reference, sizeof s.reference, "%s", temp_path("held.npz"));
    snprintf(s.candidate, sizeof s.candidate, "%s", temp_path("data"));
    if (measure(&s, &other) != DT_OK) fail_msg("%s", fixture_message);
    assert_true(other.frechet_distance > 1e-3);
    s.vae[0] = '\0';
    assert_int_equal(measure(&s, &other), DT_ERR_ARG);
    assert_says(fixture_message, "vae is needed");
}

/* ---- what does not fit ---- */

static void models_and_codecs_that_do_not_fit_are_named(void **state)
{
    (void)state;
    dt_settings s = latent_fixture_settings("unfit");
    s.vae[0] = '\0';
    assert_int_equal(fixture_train(&s, -1), DT_ERR_ARG);
    assert_says(fixture_message, "latent.safetensors: the model takes 5 channels");
    assert_says(fixture_message, "vae is needed");
    s = latent_fixture_settings("unfit");
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("base.safetensors")); /* of pixels */
    assert_int_equal(fixture_train(&s, -1), DT_ERR_SHAPE);
    assert_says(fixture_message, "base.safetensors: the model takes 3 channels");
    assert_says(fixture_message, tiny_codec);
    s = latent_fixture_settings("unfit");
    s.resolution = 16;
    assert_int_equal(fixture_train(&s, -1), DT_ERR_SHAPE);
    assert_says(fixture_message, "pictures are 32x32");
    assert_false(file_exists(temp_path("unfit")));
}

static void another_codec_is_another_run(void **state)
{
    (void)state;
    dt_settings s = latent_fixture_settings("twice");
    fixture_train_to_the_end(&s);
    tensor_file f;
    dt_error err = {0};
    static tensor_source sources[512];
    static float first[4096];
    assert_int_equal(tensor_file_open(&f, tiny_codec, &err), DT_OK);
    for (size_t i = 0; i < f.count; i++) {
        const tensor_entry *e = &f.entries[i];
        sources[i] = (tensor_source){
            .name = e->name, .dtype = e->dtype, .dim_count = e->dim_count, .dims = e->dims, .data = e->data};
        if (strcmp(e->name, "encoder.0.weight")) continue;
        assert_int_equal(tensor_read_f32(first, e, &err), DT_OK);
        first[0] += 1;
        sources[i].values = first;
        sources[i].data = NULL;
    }
    assert_int_equal(safetensors_write(temp_path("changed.safetensors"), sources, f.count, NULL, 0, NULL, &err), DT_OK);
    tensor_file_close(&f);
    snprintf(s.vae, sizeof s.vae, "%s", temp_path("changed.safetensors"));
    assert_int_equal(fixture_train(&s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "a run with another autoencoder than this call's (vae)");
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("twice"));
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("on"));
    fixture_train_to_the_end(&s);
    assert_says(fixture_log, "another codec");
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("on_drawn"));
    s.num_samples = s.num_inference_steps = 1;
    fixture_must(dt_sample, &s);
    assert_says(fixture_log, "another codec");
    memcpy(s.reference, s.train_data, sizeof s.reference);
    memcpy(s.candidate, s.train_data, sizeof s.candidate);
    fixture_must(fixture_eval, &s);
    assert_says(fixture_log, "another codec");
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("on_judged"));
    fixture_must(dt_diagnose, &s);
    assert_says(fixture_log, "another codec");
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("on_ideal"));
    fixture_must(fixture_ideal, &s);
    assert_says(fixture_log, "another codec");
    fixture_remove("twice");
    fixture_remove("on");
}

static void inspect_describes_encoded_pictures(void **state)
{
    (void)state;
    dt_settings s = cache_settings("looked");
    dt_context *c = NULL;
    char *json = NULL;
    fixture_must(dt_cache, &s);
    assert_says(fixture_log, "12 pictures encoded");
    assert_int_equal(dt_open(&c, &s), DT_OK);
    assert_int_equal(dt_inspect(c, temp_path("looked"), &json), DT_OK);
    assert_says(json, "\"caches\"");
    assert_says(json, "\"pictures\": 12");
    dt_free(json);
    assert_int_equal(dt_inspect(c, temp_path("data"), &json), DT_ERR_FORMAT);
    dt_close(c);
    fixture_remove("looked");
}

/* ---- the real small codec on real pictures, where the shared data is ---- */

/* The first pictures of a tar, in food_pictures/a/. */
static void extract_pictures(const char *path, int count)
{
    struct archive *tar = archive_read_new();
    struct archive_entry *entry;
    dt_error err = {0};
    archive_read_support_filter_all(tar);
    archive_read_support_format_tar(tar);
    assert_int_equal(archive_read_open_filename(tar, path, 1 << 16), ARCHIVE_OK);
    assert_int_equal(file_make_dirs(temp_path("food_pictures/a"), &err), DT_OK);
    for (int i = 0; i < count && archive_read_next_header(tar, &entry) == ARCHIVE_OK;) {
        static char data[1 << 20];
        char name[64];
        la_ssize_t size = archive_entry_filetype(entry) == AE_IFREG ? archive_read_data(tar, data, sizeof data) : 0;
        if (size <= 0) continue;
        snprintf(name, sizeof name, "food_pictures/a/%d.jpg", i++);
        temp_write(name, data, (size_t)size);
    }
    archive_read_free(tar);
}

/* What a run measures of itself is what its samples measure as files: decoded pictures of 8 bits against the pictures. */
static void squeezenet_sees_decoded_pictures(void **state)
{
    (void)state;
    dt_eval_result result;
    char expected[64];
    dt_settings s = latent_fixture_settings("watched");
    shared_path(s.feature_weights, "weights/squeezenet/squeezenet_v1_1.safetensors");
    s.feature = DT_FEATURE_SQUEEZENET;
    snprintf(s.validation_data, sizeof s.validation_data, "%s", temp_path("held"));
    s.num_inference_steps = 2;
    s.num_samples = s.eval_count = 4;
    s.eval_steps = 6;
    fixture_must(dt_train, &s);
    char *last = strstr(fixture_log, "step 6: FD-squeezenet");
    assert_non_null(last);
    char *told = strdup(last);
    dt_settings draw = s;
    snprintf(draw.pretrained_model, sizeof draw.pretrained_model, "%s", temp_path("watched"));
    snprintf(draw.output_dir, sizeof draw.output_dir, "%s", temp_path("watched_samples"));
    fixture_must(dt_sample, &draw);
    snprintf(draw.reference, sizeof draw.reference, "%s", temp_path("held"));
    snprintf(draw.candidate, sizeof draw.candidate, "%s", temp_path("watched_samples/images"));
    draw.resolution = LATENT_PICTURE;
    if (measure(&draw, &result) != DT_OK) fail_msg("%s", fixture_message);
    snprintf(expected, sizeof expected, "FD-squeezenet %.4f, kernel distance %.5f", result.frechet_distance,
             result.kernel_distance);
    assert_says(told, expected);
    free(told);
    fixture_remove("watched");
    fixture_remove("watched_samples");
}

/* Encoded into the cache, read back, decoded: the picture is there again, near enough to be seen. */
static void food_survives_taef2(void **state)
{
    (void)state;
    enum { SIDE = 64, VALUES = 32 * 8 * 8, PIXELS = 3 * SIDE * SIDE };
    static float z[VALUES], x[PIXELS], decoded[PIXELS];
    char weights[DT_PATH_MAX], archive[DT_PATH_MAX];
    shared_path(weights, "weights/taef2");
    shared_path(archive, "data/food10_256.tar.gz");
    extract_pictures(archive, 3);
    ctx c;
    codec vae;
    latent_cache cache;
    examples e;
    dataset d;
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 2, DT_ISA_AUTO), DT_OK);
    ctx_enter(&c);
    assert_int_equal(codec_open(&c, &vae, weights), DT_OK);
    const examples_options o = {.codec = &vae, .cache = &cache, .resolution = SIDE, .background = "#ffffff"};
    const dataset_options pixels = {.resolution = SIDE, .background = "#ffffff"};
    assert_int_equal(latent_cache_open(&cache, temp_path("food"), &vae, SIDE, "#ffffff", &o.watch, &c.error), DT_OK);
    if (examples_open(&c, &e, temp_path("food_pictures"), &o) != DT_OK) fail_msg("%s", c.error.message);
    assert_int_equal(latent_cache_finish(&cache, &c.error), DT_OK);
    assert_int_equal(dataset_open(&d, temp_path("food_pictures"), &pixels, &c.error), DT_OK);
    assert_int_equal(d.count, 3);
    assert_int_equal(e.count, 3);
    for (int64_t i = 0; i < 3; i++) {
        double squares = 0;
        bool mirrored = i % 2;
        examples_get(z, &e, i, mirrored, NULL);
        assert_int_equal(codec_decode(&c, &vae, decoded, z, 1, 8, 8), DT_OK);
        dataset_image(x, &d, i, mirrored);
        for (int j = 0; j < PIXELS; j++) squares += pow((double)decoded[j] - (double)x[j], 2) / PIXELS;
        assert_true(10 * log10(4 / squares) > 22); /* dB of PSNR */
    }
    dataset_close(&d);
    examples_close(&e);
    latent_cache_close(&cache);
    ctx_close(&c);
}

static int make(void **state)
{
    if (latent_fixture_make(state)) return -1;
    dit_config config = fixture_config();
    config.input_size = LATENT_SIZE;
    config.patch = 2;
    fixture_base("kl_base.safetensors", config, 13);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_is_fed_latents_encoded_by_hand),
        cmocka_unit_test(the_same_bits_whoever_filled_the_cache),
        cmocka_unit_test(a_run_that_is_stopped_while_it_encodes_goes_on),
        cmocka_unit_test(pre_training_takes_channels_and_size_from_the_codec),
        cmocka_unit_test(bank_run_and_samples_end_to_end),
        cmocka_unit_test(latents_of_a_bank_are_not_mirrored),
        cmocka_unit_test(distances_in_a_latent_base_are_of_latents),
        cmocka_unit_test(models_and_codecs_that_do_not_fit_are_named),
        cmocka_unit_test(another_codec_is_another_run),
        cmocka_unit_test(inspect_describes_encoded_pictures),
        cmocka_unit_test(squeezenet_sees_decoded_pictures),
        cmocka_unit_test(food_survives_taef2),
    };
    return cmocka_run_group_tests(tests, make, temp_folder_remove);
}
