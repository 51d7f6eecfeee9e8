/* A number that is none, in any place that numbers come from: a file's weights, samples, latents, statistics, moments, features, the
 * memory of a run, settings and tables. It is refused by the name of where it lies, or the step is skipped, counted and told; or
 * nobody reads it, and what is made is what would have been made. What is written is finite whatever happens. */
#include "file/folder.h"
#include "latent_fixture.h"

#include <jansson.h>

#include "api/settings_check.h"
#include "container/npz.h"
#include "file/json_file.h"
#include "run/loop.h"
#include "run/training.h"
#include "settings/settings.h"

static const float bad[] = {NAN, INFINITY, -INFINITY};
static int places;

/* ---- spoiling ---- */

/* Puts `value` into one place of tensor number `number` of a safetensors file of floats; its name goes to *name. */
static void spoil_tensor(const char *path, size_t number, uint64_t place, float value, char name[256])
{
    tensor_file f;
    dt_error err = {0};
    char *data;
    size_t size;
    assert_int_equal(safetensors_open(&f, path, &err), DT_OK);
    const tensor_entry *e = &f.entries[number % f.count];
    assert_int_equal(e->dtype, SAFETENSORS_F32);
    const size_t at = (size_t)((const unsigned char *)e->data - f.map.data) + place % (uint64_t)e->count * sizeof value;
    snprintf(name, 256, "%s", e->name);
    assert_int_equal(file_read_all(&data, &size, path, 1 << 26, &err), DT_OK);
    memcpy(data + at, &value, sizeof value);
    assert_int_equal(file_write_atomic(path, data, size, &err), DT_OK);
    free(data);
    tensor_file_close(&f);
    places++;
}

static size_t tensor_count_of(const char *path)
{
    tensor_file f;
    dt_error err = {0};
    assert_int_equal(safetensors_open(&f, path, &err), DT_OK);
    const size_t count = f.count;
    tensor_file_close(&f);
    return count;
}

static void copy_file(const char *from, const char *to)
{
    char *data;
    size_t size;
    dt_error err = {0};
    assert_int_equal(file_read_all(&data, &size, from, 1 << 26, &err), DT_OK);
    assert_int_equal(file_write_atomic(to, data, size, &err), DT_OK);
    free(data);
}

/* Writes the present hash of `file` in the place of `old` into a manifest beside it, as who forges the file would, seal and all. */
static void put_hash_right(const char *manifest, const file_hash *old, const char *file)
{
    char *text;
    size_t size;
    dt_error err = {0};
    file_hash new;
    assert_int_equal(file_sha256(&new, file, &err), DT_OK);
    assert_int_equal(file_read_all(&text, &size, manifest, 1 << 20, &err), DT_OK);
    char *at = strstr(text, old->hex);
    assert_non_null(at);
    memcpy(at, new.hex, sizeof new.hex - 1);
    assert_int_equal(file_write_atomic(manifest, text, size, &err), DT_OK);
    free(text);
    json_t *object = json_file_read(manifest, &err);
    if (json_object_del(object, "sha256") == 0)
        assert_int_equal(json_file_write_sealed(manifest, object, &err), DT_OK);
    else
        json_decref(object);
}

/* The same of a file that a manifest vouches for. */
static void spoil_vouched(const char *path, const char *manifest, size_t number, uint64_t place, float value,
                          char name[256])
{
    dt_error err = {0};
    file_hash old;
    assert_int_equal(file_sha256(&old, path, &err), DT_OK);
    spoil_tensor(path, number, place, value, name);
    put_hash_right(manifest, &old, path);
}

/* ---- judging ---- */

static bool says_so(const char *text)
{
    return strstr(text, "nan") || strstr(text, "inf") || strstr(text, "finite");
}

static void expect_finite(const char *path, const char *what)
{
    tensor_file f;
    dt_error err = {0};
    float *values = malloc(1 << 24);
    assert_non_null(values);
    if (safetensors_open(&f, path, &err) != DT_OK) fail_msg("%s: %s", what, err.message);
    for (size_t i = 0; i < f.count; i++) {
        if (f.entries[i].dtype != SAFETENSORS_F32) continue;
        assert_true(f.entries[i].count < 1 << 22);
        if (tensor_read_finite(values, &f.entries[i], &err) != DT_OK) fail_msg("%s: %s", what, err.message);
    }
    tensor_file_close(&f);
    free(values);
}

/* Every file of tensors below a folder, and every row of features. */
static void expect_finite_tree(const char *path, const char *what)
{
    dt_error err = {0};
    file_names names = {0};
    char folder[DT_PATH_MAX], inside[2 * DT_PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    if (file_has_extension(folder, "safetensors")) expect_finite(folder, what);
    if (!file_is_folder(folder)) return;
    assert_int_equal(file_list(&names, folder, &err), DT_OK);
    for (size_t i = 0; i < names.count; i++) {
        snprintf(inside, sizeof inside, "%s/%s", folder, names.name[i]);
        expect_finite_tree(inside, what);
    }
    file_names_free(&names);
}

/* The call is refused by the name of the file and of the tensor in it, and leaves nothing that is not finite. */
static void expect_refusal(fixture_verb *verb, const dt_settings *s, const char *file, const char *name)
{
    const dt_status status = fixture_call_until(verb, s, -1);
    if (status == DT_OK) fail_msg("%s of %s: nothing was said", name, file);
    if (!strstr(fixture_message, file) || !strstr(fixture_message, name) || !says_so(fixture_message))
        fail_msg("%s of %s: '%s'", name, file, fixture_message);
    if (file_exists(temp_path("out"))) {
        expect_finite_tree(temp_path("out"), name);
        fixture_remove("out");
    }
}

static dt_settings settings_of_samples(void)
{
    dt_settings s = fixture_settings("out");
    s.num_samples = 4;
    s.num_inference_steps = 2;
    return s;
}

static dt_status predict_alone(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    (void)observer;
    return dt_predict(c, s);
}

/* ---- files of weights ---- */

/* Each tensor of the base, in every verb that reads it in turn. */
static void weights_of_a_model(void **state)
{
    (void)state;
    static fixture_verb *const verbs[] = {dt_train, dt_sample, dt_bank, dt_convert, fixture_eval};
    const size_t count = tensor_count_of(temp_path("base.safetensors"));
    for (size_t i = 0; i < count; i++) {
        char name[256];
        dt_settings s = settings_of_samples();
        copy_file(temp_path("base.safetensors"), temp_path("spoilt.safetensors"));
        spoil_tensor(temp_path("spoilt.safetensors"), i, 7919 * i, bad[i % 3], name);
        snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("spoilt.safetensors"));
        snprintf(s.output, sizeof s.output, "%s", temp_path("out"));
        snprintf(s.reference, sizeof s.reference, "%s", temp_path("held"));
        snprintf(s.candidate, sizeof s.candidate, "%s", temp_path("held"));
        if (verbs[i % 5] == dt_bank) snprintf(s.bank, sizeof s.bank, "%s", temp_path("out"));
        expect_refusal(verbs[i % 5], &s, "spoilt.safetensors", name);
    }
}

/* Of the features in which a run and an evaluation measure. */
static void weights_of_features(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        char name[256];
        dt_settings s = settings_of_samples();
        copy_file(temp_path("base.safetensors"), temp_path("spoilt.safetensors"));
        spoil_tensor(temp_path("spoilt.safetensors"), 3 * i, 31 * i, bad[i % 3], name);
        snprintf(s.feature_weights, sizeof s.feature_weights, "%s", temp_path("spoilt.safetensors"));
        snprintf(s.save_statistics, sizeof s.save_statistics, "%s", temp_path("out/statistics.npz"));
        expect_refusal(dt_sample, &s, "spoilt.safetensors", name);
    }
}

static void weights_of_a_codec(void **state)
{
    (void)state;
    const size_t count = tensor_count_of(tiny_codec);
    size_t used = 0;
    for (size_t i = 0; i < count && used < 16; i++) {
        char name[256];
        dt_settings s = latent_fixture_settings("out");
        copy_file(tiny_codec, temp_path("codec.safetensors"));
        spoil_tensor(temp_path("codec.safetensors"), i, 13 * i, bad[i % 3], name);
        if (strncmp(name, "encoder.", 8) != 0 && strncmp(name, "decoder.", 8) != 0) continue; /* its test's vectors */
        snprintf(s.vae, sizeof s.vae, "%s", temp_path("codec.safetensors"));
        s.resolution = LATENT_PICTURE;
        expect_refusal(used++ % 2 ? dt_sample : dt_cache, &s, "codec.safetensors", name + 8);
    }
    assert_true(used > 4);
    static const char *const scales[] = {"0", "-1", "1e300", "1e-300"};
    for (size_t i = 0; i < 4; i++, places++) {
        char config[128];
        dt_settings s = latent_fixture_settings("out");
        snprintf(config, sizeof config, "{\"norm_num_groups\": 4, \"scaling_factor\": %s}", scales[i]);
        temp_write("kl/config.json", config, strlen(config));
        snprintf(s.vae, sizeof s.vae, "%s", temp_path("kl"));
        s.resolution = FIXTURE_SIZE;
        assert_int_equal(fixture_call_until(dt_cache, &s, -1), DT_ERR_FORMAT);
        assert_says(fixture_message, "scaling_factor");
    }
}

/* ---- what was made before ---- */

static void samples_of_a_bank(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("out");
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank"));
    s.bank_size = 6;
    s.bank_shard_size = 2;
    s.num_inference_steps = 2;
    fixture_must(dt_bank, &s);
    for (int i = 0; i < 3; i++) {
        char file[64], path[128], name[256];
        snprintf(file, sizeof file, "shard-%05d.safetensors", i);
        snprintf(path, sizeof path, "bank/%s", file);
        copy_file(temp_path(path), temp_path("kept"));
        copy_file(temp_path("bank/manifest.json"), temp_path("kept_manifest"));
        spoil_vouched(temp_path(path), temp_path("bank/manifest.json"), 0, 77 * (uint64_t)i, bad[i], name);
        expect_refusal(dt_train, &s, file, name);
        copy_file(temp_path("kept"), temp_path(path));
        copy_file(temp_path("kept_manifest"), temp_path("bank/manifest.json"));
    }
}

/* The only folder, and the only shard, of a cache. */
static void find_one(char out[DT_PATH_MAX], const char *folder, const char *beginning)
{
    file_names names;
    dt_error err = {0};
    int found = 0;
    assert_int_equal(file_list(&names, folder, &err), DT_OK);
    for (size_t i = 0; i < names.count; i++)
        if (!strncmp(names.name[i], beginning, strlen(beginning)) && ++found) file_join(out, folder, names.name[i]);
    file_names_free(&names);
    assert_int_equal(found, 1);
}

/* They are told and encoded again, so that the run is the one that it would have been. */
static void latents_of_a_cache(void **state)
{
    (void)state;
    dt_settings s = latent_fixture_settings("out");
    fixture_train_to_the_end(&s);
    const file_hash expected = fixture_result("out");
    for (uint64_t i = 0; i < 4; i++) {
        char pair[DT_PATH_MAX], shard[DT_PATH_MAX], manifest[DT_PATH_MAX], name[256] = "";
        find_one(pair, temp_path("latents"), "32-");
        find_one(shard, pair, "shard-");
        file_join(manifest, pair, "manifest.json");
        for (size_t k = 0; strcmp(name, "moments") != 0; k++) {
            tensor_file f;
            dt_error err = {0};
            assert_int_equal(safetensors_open(&f, shard, &err), DT_OK);
            snprintf(name, sizeof name, "%s", f.entries[k].name);
            tensor_file_close(&f);
            if (!strcmp(name, "moments")) spoil_vouched(shard, manifest, k, 97 * i, bad[i % 3], name);
        }
        fixture_remove("out");
        fixture_train_to_the_end(&s);
        assert_says(fixture_log, "latents that are not finite; its encoded pictures are made again");
        assert_same_bits(fixture_result("out"), expected);
    }
    fixture_remove("out");
}

static void files_of_statistics(void **state)
{
    (void)state;
    enum { D = 32 };
    static double mean[D], covariance[D * D];
    const struct {
        double *at;
        double value;
        const char *array;
    } row[] = {{&mean[0], NAN, "mu"},
               {&mean[D - 1], -INFINITY, "mu"},
               {&covariance[0], INFINITY, "sigma"},
               {&covariance[5], NAN, "sigma"},
               {&covariance[D * D - 1], NAN, "sigma"},
               {&covariance[D * 3 + 2], -INFINITY, "sigma"}};
    const int64_t count = 50;
    char measure[64];
    file_hash base;
    dt_error ignored = {0};
    assert_int_equal(file_sha256(&base, temp_path("base.safetensors"), &ignored), DT_OK);
    snprintf(measure, sizeof measure, "FD-base %.12s", base.hex);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++, places++) {
        dt_settings s = fixture_settings("out");
        dt_error err = {0};
        memset(mean, 0, sizeof mean);
        memset(covariance, 0, sizeof covariance);
        for (int k = 0; k < D; k++) covariance[k * D + k] = 1;
        *row[i].at = row[i].value;
        const npz_array arrays[] = {
            {.name = "mu", .dtype = NPZ_F64, .dim_count = 1, .dims = {D}, .data = mean},
            {.name = "sigma", .dtype = NPZ_F64, .dim_count = 2, .dims = {D, D}, .data = covariance},
            {.name = "count", .dtype = NPZ_I64, .data = &count},
            {.name = "measure", .dtype = NPZ_U8, .dim_count = 1, .dims = {(int64_t)strlen(measure)}, .data = measure}};
        assert_int_equal(npz_write(temp_path("statistics.npz"), arrays, 4, &err), DT_OK);
        snprintf(s.reference, sizeof s.reference, "%s", temp_path("statistics.npz"));
        snprintf(s.candidate, sizeof s.candidate, "%s", temp_path("held"));
        expect_refusal(fixture_eval, &s, "statistics.npz", row[i].array);
    }
}

/* Features that an earlier call has left. */
static void rows_of_features(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++, places++) {
        char *rows;
        size_t size;
        dt_error err = {0};
        dt_settings s = settings_of_samples();
        memcpy(s.feature_weights, s.pretrained_model, sizeof s.feature_weights);
        snprintf(s.save_statistics, sizeof s.save_statistics, "%s", temp_path("out/statistics.npz"));
        fixture_must(dt_sample, &s);
        assert_int_equal(file_read_all(&rows, &size, temp_path("out/features.f32"), 1 << 20, &err), DT_OK);
        memcpy(rows + (i * size / 3 & ~(size_t)3), &bad[i], sizeof bad[i]);
        temp_write("out/features.f32", rows, size);
        free(rows);
        assert_int_equal(remove(temp_path("out/statistics.npz")), 0);
        assert_int_equal(fixture_call_until(dt_sample, &s, -1), DT_ERR_NUMERIC);
        assert_says(fixture_message, "not finite");
        assert_false(file_exists(temp_path("out/statistics.npz")));
        fixture_remove("out");
    }
}

/* ---- checkpoints ---- */

static void files_of_a_checkpoint(void **state)
{
    (void)state;
    static const char *const files[] = {"model", "ema", "optimizer"};
    dt_settings s = fixture_settings("run");
    s.checkpointing_steps = 2;
    for (size_t i = 0; i < 18; i++) {
        char file[64], path[128], name[256];
        assert_int_equal(fixture_train(&s, 3), DT_ERR_INTERRUPTED);
        snprintf(file, sizeof file, "%s.safetensors", files[i % 3]);
        snprintf(path, sizeof path, "run/checkpoints/step-00000003/%s", file);
        spoil_vouched(temp_path(path), temp_path("run/checkpoints/step-00000003/manifest.json"), 5 * i, 11 * i,
                      bad[i / 3 % 3], name);
        expect_refusal(dt_train, &s, file, name);
        expect_finite_tree(temp_path("run/checkpoints/step-00000002"), name);
        assert_false(file_exists(temp_path("run/final/model.safetensors")));
        fixture_remove("run");
    }
    assert_int_equal(fixture_train(&s, 3), DT_ERR_INTERRUPTED);
    const char *path = "run/checkpoints/step-00000003/optimizer.safetensors";
    const size_t count = tensor_count_of(temp_path(path));
    char name[256];
    spoil_vouched(temp_path(path), temp_path("run/checkpoints/step-00000003/manifest.json"), count - 1, 3, -1, name);
    assert_int_equal(strncmp(name, "exp_avg_sq.", 11), 0);
    assert_int_equal(fixture_train(&s, -1), DT_ERR_FORMAT); /* whose root is none */
    assert_says(fixture_message, name);
    fixture_remove("run");
}

/* ---- the memory of a run ---- */

typedef enum place_in_memory {
    IN_WEIGHT,
    IN_GRADIENT,
    IN_M,
    IN_V,
    IN_AVERAGE,
    IN_BANK,
    PLACES_IN_MEMORY
} place_in_memory;

typedef struct accident {
    training t;
    place_in_memory where;
    int row;
    float value;
} accident;

/* After step 2, once. */
static void have_accident(void *user, const dt_progress *p)
{
    accident *a = user;
    if (p->step != 2) return;
    train_row *r = &a->t.trainer.set.row[a->row % a->t.trainer.set.count];
    real *const of[] = {[IN_WEIGHT] = r->tensor->data, [IN_M] = r->m, [IN_V] = r->v, [IN_AVERAGE] = r->average};
    if (a->where == IN_BANK) {
        a->t.trainer.bank.x[a->row] = a->value;
    } else if (a->where == IN_GRADIENT) { /* as if the backward pass had left it there */
        for (int64_t i = 0; i < tensor_count(r->tensor); i++) r->tensor->grad[i] = 0;
        r->tensor->grad[0] = a->value;
        r->tensor->grad_is_empty = false;
    } else {
        of[a->where][a->row % tensor_count(r->tensor)] = a->value;
    }
}

/* The run goes on, with skipped steps that are told, or ends with a sentence; no file holds such a number. */
static void an_accident_in_memory(void **state)
{
    (void)state;
    for (int where = 0; where < PLACES_IN_MEMORY; where++)
        for (int i = 0; i < 4; i++, places++) {
            ctx c;
            accident a = {.where = (place_in_memory)where, .row = 9 * i + 1, .value = bad[i % 3]};
            dt_settings s = fixture_settings("out");
            dt_observer observer = {.user = &a, .log = fixture_collect, .progress = have_accident};
            fixture_log[0] = '\0';
            s.checkpointing_steps = 1;
            if (where == IN_BANK) { /* a bank of values, all of which a batch takes */
                snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank"));
                s.max_train_steps = 12;
            }
            assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
            if (training_open(&a.t, &c, &s, &observer, model_kinds_all) != DT_OK) fail_msg("%s", c.error.message);
            training_through(&a.t);
            if (!says_so(c.error.message) && !strstr(fixture_log, "was skipped"))
                fail_msg("place %d, accident %d: nothing was said: %s", where, i, c.error.message);
            training_close(&a.t);
            ctx_close(&c);
            expect_finite_tree(temp_path("out"), "an accident");
            fixture_remove("out");
        }
}

/* ---- words and numbers of settings, tables, inputs ---- */

static void settings_and_tables(void **state)
{
    (void)state;
    static const char *const texts[] = {"nan", "inf", "-inf", "1e999"};
    for (int i = 0; i < settings_key_count; i++) {
        char message[DT_MESSAGE_MAX];
        dt_error err = {0};
        dt_settings s = fixture_settings("out"), before = s;
        if (settings_keys[i].type != SETTINGS_REAL) continue;
        assert_int_equal(dt_settings_set(&s, settings_keys[i].name, texts[i % 4], message, sizeof message), DT_ERR_ARG);
        assert_says(message, settings_keys[i].name);
        assert_memory_equal(&s, &before, sizeof s);
        *(double *)((char *)&s + settings_keys[i].offset) = (double)bad[i % 3]; /* as a caller of the library may */
        assert_false(settings_in_range(&s, &settings_keys[i]));
        if (settings_keys[i].verbs & SETTINGS_TRAIN) {
            assert_int_equal(settings_check(&s, SETTINGS_TRAIN, &err), DT_ERR_ARG);
            assert_says(err.message, settings_keys[i].name);
        }
        places++;
    }
    for (int i = 0; i < 8; i++, places++) {
        char text[METHOD_T * 8] = "";
        dt_settings s = fixture_settings("out");
        for (int t = 0, n = 0; t < METHOD_T; t++)
            n += snprintf(text + n, sizeof text - (size_t)n, "%s ", t == 131 * i ? texts[i % 4] : "0.5");
        temp_write("table.txt", text, strlen(text));
        snprintf(i % 2 ? s.xi_table : s.psi_table, sizeof s.psi_table, "%s", temp_path("table.txt"));
        s.psi = i % 2 ? DT_PSI_POWER : DT_PSI_TABLE;
        s.xi = i % 2 ? DT_XI_TABLE : DT_XI_ONE_MINUS;
        assert_int_equal(fixture_train(&s, -1), DT_ERR_FORMAT);
        assert_says(fixture_message, "table.txt");
        assert_false(file_exists(temp_path("out")));
    }
}

static void inputs_of_a_prediction(void **state)
{
    (void)state;
    enum { VALUES = 3 * FIXTURE_SIZE * FIXTURE_SIZE };
    static float x0[VALUES], noise[VALUES];
    const int64_t dims[4] = {1, 3, FIXTURE_SIZE, FIXTURE_SIZE}, one = 1, t = 500, y = 1;
    const struct {
        float *at, value;
        const char *says;
    } row[] = {{&x0[5], NAN, "x0"},
               {&noise[700], INFINITY, "noise"},
               {&noise[9], 3e38F, "not finite"},
               {&noise[9], 3e38F, "tensor mse"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++, places++) {
        dt_error err = {0};
        dt_settings s = fixture_settings("");
        *row[i].at = row[i].value;
        const tensor_source sources[] = {
            {.name = "x0", .dtype = SAFETENSORS_F32, .dim_count = 4, .dims = dims, .values = x0},
            {.name = "noise", .dtype = SAFETENSORS_F32, .dim_count = 4, .dims = dims, .values = noise},
            {.name = "t", .dtype = SAFETENSORS_I64, .dim_count = 1, .dims = &one, .data = &t},
            {.name = "y", .dtype = SAFETENSORS_I64, .dim_count = 1, .dims = &one, .data = &y}};
        assert_int_equal(safetensors_write(temp_path("in.safetensors"), sources, 4, NULL, 0, NULL, &err), DT_OK);
        snprintf(s.input, sizeof s.input, "%s", temp_path("in.safetensors"));
        snprintf(s.output, sizeof s.output, "%s", temp_path("predicted.safetensors"));
        s.gradients = i == 2;
        *row[i].at = 0;
        assert_int_not_equal(fixture_call_until(predict_alone, &s, -1), DT_OK);
        assert_says(fixture_message, row[i].says);
        assert_false(file_exists(temp_path("predicted.safetensors")));
    }
}

static void tell_places(void **state)
{
    (void)state;
    print_message("%d places\n", places);
    assert_true(places >= 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_of_a_model),     cmocka_unit_test(weights_of_features),
        cmocka_unit_test(weights_of_a_codec),     cmocka_unit_test(samples_of_a_bank),
        cmocka_unit_test(latents_of_a_cache),     cmocka_unit_test(files_of_statistics),
        cmocka_unit_test(rows_of_features),       cmocka_unit_test(files_of_a_checkpoint),
        cmocka_unit_test(an_accident_in_memory),  cmocka_unit_test(settings_and_tables),
        cmocka_unit_test(inputs_of_a_prediction), cmocka_unit_test(tell_places),
    };
    return cmocka_run_group_tests(tests, latent_fixture_make, temp_folder_remove);
}
