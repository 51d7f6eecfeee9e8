/* The verb run: a whole experiment in small, interrupted in every stage, and recipes that change. */
#include "file/folder.h"
#include "latent_fixture.h"

#include <glob.h>

#include "api/settings_check.h"

static dt_settings settings_of(const char *folder)
{
    dt_settings s = fixture_settings(folder);
    s.bank[0] = '\0';
    snprintf(s.reference, sizeof s.reference, "%s", temp_path("held"));
    snprintf(s.recipe, sizeof s.recipe, "Small");
    s.paper_fid_diff_tuning = 5.37;
    s.bank_size = 6;
    s.bank_shard_size = 2;
    s.num_inference_steps = 3;
    s.fid_count = 5;
    s.save_images = 2;
    s.sample_batch_size = 2;
    s.max_train_steps = 4;
    return s;
}

/* From the question number `stop_before` on the answer is yes (< 0: always no); not every question can be heeded. */
static bool stop_from(void *user)
{
    fixture_watch *w = user;
    return w->stop_before >= 0 && w->asked++ >= w->stop_before;
}

static dt_status run_once(const dt_settings *s, int64_t stop_before)
{
    fixture_watch watch = {.stop_before = stop_before};
    dt_observer observer = {.user = &watch, .log = fixture_collect, .should_stop = stop_from};
    return fixture_call(dt_run, s, &observer);
}

static void must_run(const dt_settings *s)
{
    fixture_must(dt_run, s);
}

static int make(void **state)
{
    if (fixture_make(state)) return -1;
    dt_settings s = settings_of("whole");
    must_run(&s);
    return 0;
}

/* Everything that a run leaves and that does not hold a time. */
static file_hash bits_of(const char *folder)
{
    static const char *const names[] = {"reference.npz", "finetune-samples/statistics.npz",
                                        "diff-tuning-samples/statistics.npz", "diff-tuning-samples/grid.png"};
    struct sha256_ctx sum;
    uint8_t digest[SHA256_DIGEST_SIZE];
    file_hash out;
    sha256_init(&sum);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[128];
        dt_error err = {0};
        snprintf(name, sizeof name, "%s/%s", folder, names[i]);
        if (file_sha256(&out, temp_path(name), &err) != DT_OK) fail_msg("%s", err.message);
        sha256_update(&sum, sizeof out.hex, (const uint8_t *)out.hex);
    }
    sha256_digest(&sum, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) snprintf(out.hex + 2 * i, 3, "%02x", digest[i]);
    return out;
}

static void one_call_leaves_both_runs_and_a_report(void **state)
{
    (void)state;
    assert_true(file_exists(temp_path("whole/finetune/final/model.safetensors")));
    assert_true(file_exists(temp_path("whole/diff-tuning/final/model.safetensors")));
    assert_true(file_exists(temp_path("whole/bank/manifest.json")));
    assert_true(file_exists(temp_path("whole/diff-tuning-samples/images/000001.png")));
    assert_false(file_exists(temp_path("whole/diff-tuning-samples/images/000002.png")));
    assert_file_says("whole/finetune/run.json", "\"method\": \"finetune\"");
    assert_file_says("whole/finetune/metrics.jsonl", "\"kind\":\"eval\",\"step\":4,\"measure\":\"FD-base\"");
    assert_file_says("whole/diff-tuning/metrics.jsonl", "\"count\":5,\"reference_count\":6");
    assert_file_says("whole/report.html", "Beside the paper: Small");
    assert_file_says("whole/report.html", "5.37");
    assert_file_says("whole/report.html", "does not follow the paper");
    assert_file_says("whole/recipe.yaml", "fid_count: 5");
    char *plain = temp_read("whole/finetune/metrics.jsonl"), *tuned = temp_read("whole/diff-tuning/metrics.jsonl");
    assert_string_not_equal(plain, tuned);
    free(plain);
    free(tuned);
}

static void finished_stages_are_recognised(void **state)
{
    (void)state;
    dt_settings s = settings_of("whole");
    file_hash before = bits_of("whole");
    char *experiment = temp_read("whole/experiment.json"), *metrics = temp_read("whole/finetune/metrics.jsonl");
    s.threads = 2; /* speed is no part of a recipe */
    must_run(&s);
    assert_says(fixture_log, "stage 3 of 10, bank: memory bank, finished before");
    assert_says(fixture_log, "stage 10 of 10, report: report\n");
    assert_same_bits(bits_of("whole"), before);
    assert_file_says("whole/experiment.json", experiment);
    assert_file_says("whole/finetune/metrics.jsonl", metrics);
    free(experiment);
    free(metrics);
}

/* Stopped after each step, in all stages, the experiment ends in the same bits. */
static void an_interrupted_run_goes_on(void **state)
{
    (void)state;
    dt_settings s = settings_of("stopped");
    int stops = 0;
    for (dt_status status = DT_ERR_INTERRUPTED; status != DT_OK; stops++) {
        status = run_once(&s, 1);
        if (stops > 50 || (status != DT_OK && status != DT_ERR_INTERRUPTED)) fail_msg("%s", fixture_message);
    }
    assert_in_range(stops, 12, 50);
    assert_same_bits(bits_of("stopped"), bits_of("whole"));
    assert_true(file_exists(temp_path("stopped/report.html")));
    fixture_remove("stopped");
}

static void a_changed_recipe_is_refused_for_what_is_finished(void **state)
{
    (void)state;
    static const char *const changes[][3] = {
        {"bank_size", "7", "stage bank was finished with bank_size 6, this call has 7"},
        {"max_train_steps", "5", "stage finetune was finished with max_train_steps 4, this call has 5"},
        {"learning_rate", "1e-2", "learning_rate 0.001"},
        {"fid_count", "6", "num_samples 5"},
        {"guidance_scale", "3", "guidance_scale 1.5"},
        {"seed", "1", "seed 42"},
        {"train_data", "held", "train_data"},
    };
    file_hash before = fixture_tree("whole");
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        dt_settings s = settings_of("whole");
        const char *value = strcmp(changes[i][0], "train_data") ? changes[i][1] : temp_path(changes[i][1]);
        assert_int_equal(dt_settings_set(&s, changes[i][0], value, NULL, 0), DT_OK);
        assert_int_equal(run_once(&s, -1), DT_ERR_CONFLICT);
        assert_says(fixture_message, changes[i][2]);
    }
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path("others"), &err), DT_OK);
    temp_write("others/thing", "x", 1);
    dt_settings s = settings_of("others"); /* a folder with other things in it */
    assert_int_equal(run_once(&s, -1), DT_ERR_CONFLICT);
    assert_same_bits(fixture_tree("whole"), before);
}

static void strip(const char *name, const char *const keys[], int count)
{
    char *text = temp_read(name), *stripped;
    dt_error err = {0};
    json_t *all = json_loads(text, 0, NULL), *stage;
    const char *stage_name;
    free(text);
    json_object_foreach(json_object_get(all, "stages"), stage_name, stage)
    {
        for (int i = 0; i < count; i++) json_object_del(stage, keys[i]);
    }
    stripped = json_dumps(all, 0);
    assert_int_equal(file_write_atomic(temp_path(name), stripped, strlen(stripped), &err), DT_OK);
    free(stripped);
    json_decref(all);
}

/* Of an experiment that was made before a setting was there, its default is what it was made with. */
static void settings_that_came_later_do_not_part_an_experiment(void **state)
{
    (void)state;
    static const char *const later[] = {"ema_power", "ema_length", "adam_epsilon"};
    dt_settings s = settings_of("whole");
    strip("whole/experiment.json", later, 3);
    must_run(&s);
    assert_says(fixture_log, "finetune: plain fine-tuning, finished before");
    assert_says(fixture_log, "finetune-samples: its samples, finished before");
    strip("whole/experiment.json", later, 3);
    snprintf(s.ema_power, sizeof s.ema_power, "0.1");
    assert_int_equal(run_once(&s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "stage finetune was finished with ema_power , this call has 0.1");
}

/* What is still to come may change: here the samples of both methods, after the first training. */
static void stages_to_come_may_change(void **state)
{
    (void)state;
    dt_settings s = settings_of("changed");
    for (int64_t at = 2; !file_exists(temp_path("changed/finetune/final/model.safetensors")); at++) {
        dt_status status = run_once(&s, at);
        if (status != DT_OK && status != DT_ERR_INTERRUPTED) fail_msg("%s", fixture_message);
    }
    fixture_remove("changed/finetune-samples");
    s.fid_count = 4;
    must_run(&s);
    assert_file_says("changed/finetune/metrics.jsonl", "\"count\":4,");
    fixture_remove("changed");
}

static void every_stage_is_checked_before_the_first(void **state)
{
    (void)state;
    static const char *const wrong[][3] = {
        {"lr_warmup_steps", "100", "lr_warmup_steps"},
        {"candidate", "x", "candidate"},
        {"feature", "squeezenet", "feature_weights"},
        {"method", "pretrain", "method pretrain"},
        {"reference", "", "reference"},
        {"output_dir", "", "output_dir"},
        {"pretrained_model", "", "pretrained_model"},
        {"eta", "0.5", NULL},
    };
    for (size_t i = 0; wrong[i][2]; i++) {
        dt_settings s = settings_of("never");
        assert_int_equal(dt_settings_set(&s, wrong[i][0], wrong[i][1], NULL, 0), DT_OK);
        assert_int_equal(run_once(&s, -1), DT_ERR_ARG);
        assert_says(fixture_message, wrong[i][2]);
        assert_false(file_exists(temp_path("never/bank")));
    }
}

/* ---- arms ---- */

static const char three_arms[] = "arms:\n"
                                 "  plain: {method: finetune}\n"
                                 "  paper: {}\n"
                                 "  steep: {tau: 2, bank_size: 4}\n";

static dt_settings settings_of_arms(const char *folder, const char *arms)
{
    dt_settings s = settings_of(folder);
    temp_write("arms.yaml", arms, strlen(arms));
    snprintf(s.arms, sizeof s.arms, "%s", temp_path("arms.yaml"));
    return s;
}

/* Arms with the settings of the usual two end in the same bits as those, and share their bank; another bank is drawn for the
 * arm that wants one. */
static void arms_share_what_is_the_same_for_them(void **state)
{
    (void)state;
    dt_settings s = settings_of_arms("arms", three_arms);
    must_run(&s);
    assert_says(fixture_log, "stage 3 of 14, bank: memory bank\n");
    assert_says(fixture_log, "stage 4 of 14, bank-steep: memory bank\n");
    assert_says(fixture_log, "stage 5 of 14, plain: plain fine-tuning\n");
    assert_says(fixture_log, "stage 13 of 14, steep-distance: their distance\n");
    assert_same_bits(fixture_result("arms/plain"), fixture_result("whole/finetune"));
    assert_same_bits(fixture_result("arms/paper"), fixture_result("whole/diff-tuning"));
    assert_string_not_equal(fixture_result("arms/steep").hex, fixture_result("arms/paper").hex);
    assert_true(file_exists(temp_path("arms/bank/shard-00002.safetensors"))); /* the last two of 6 images */
    assert_true(file_exists(temp_path("arms/bank-steep/shard-00001.safetensors")));
    assert_false(file_exists(temp_path("arms/bank-steep/shard-00002.safetensors")));
    assert_true(file_exists(temp_path("arms/reference.npz")));
    assert_false(file_exists(temp_path("arms/reference-steep.npz")));
    assert_file_says("arms/report.html", "</span>plain</th>");
    assert_file_says("arms/report.html", "</span>steep</th></tr>");
    assert_file_says("arms/paper/config.yaml", "arms:\n");
}

/* Each arm draws with its own length of the same averages; no other stage takes it. */
static void arms_may_draw_with_averages_of_a_length(void **state)
{
    (void)state;
    dt_settings s = settings_of_arms("lengths", "arms: {short: {ema_power: \"0.05,0.2\", ema_length: 0.05}, "
                                                "long: {ema_power: \"0.05,0.2\", ema_length: 0.1}}\n");
    must_run(&s);
    assert_same_bits(fixture_result("lengths/short"), fixture_result("lengths/long"));
    char *one = temp_read("lengths/short-samples/samples.txt"), *other = temp_read("lengths/long-samples/samples.txt");
    assert_string_not_equal(one, other);
    free(one);
    free(other);
    fixture_remove("lengths");
}

static void an_experiment_can_be_repeated_from_its_recipe_and_grow(void **state)
{
    (void)state;
    dt_settings s;
    dt_error err = {0};
    dt_settings_init(&s);
    assert_int_equal(settings_load(&s, temp_path("arms/recipe.yaml"), &err), DT_OK);
    must_run(&s);
    assert_says(fixture_log, "stage 11 of 14, steep: Diff-Tuning, finished before\n");
    s = settings_of_arms("arms", "arms: {paper: {}, steep: {tau: 2, bank_size: 4}, half: {bank_fraction: 0.25}}\n");
    must_run(&s);
    assert_says(fixture_log, "steep-distance: their distance, finished before\n");
    assert_says(fixture_log, "half: Diff-Tuning\n");
    assert_file_says("arms/report.html", "</span>half</th></tr>");
    char *page = temp_read("arms/report.html");
    assert_null(strstr(page, "</span>plain</th>"));
    free(page);
    s = settings_of_arms("arms", "arms: {paper: {tau: 3}}\n");
    assert_int_equal(run_once(&s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "stage paper was finished with tau 1, this call has 3");
    fixture_remove("arms");
}

static void an_arm_that_cannot_be_is_named_before_the_first_stage(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"arms: {a: {}, b: {taw: 2}}\n", "arms.yaml:1: unknown setting 'taw'"},
        {"arms: {a: {}, b: {bank_fraction: 1}}\n", "arm b: bank_fraction 1"},
        {"arms: {a: {}, b: {lr_warmup_steps: 100}}\n", "arm b: lr_warmup_steps 100"},
        {"arms: {a: {}, b: {method: pretrain}}\n", "arm b: run tunes"},
        {"arms: {a: {}, b: {ema_length: 0.1}}\n", "arm b: ema_length needs ema_power"},
        {"arms: {a: {}, b: {save_statistics: x}}\n", "arm b: run chooses"},
        {"arms: {a: {}, b: {eta: 0.5, sampler: ddpm}}\n", "arm b: eta is for sampler ddim"},
        {"arms: {a: {}, b: {feature: squeezenet}}\n", "arm b: feature squeezenet needs feature_weights"},
        {"arms: {a: {}, bank: {}}\n", "arm bank: another stage is called bank"},
        {"arms: {a: {}, a-samples: {}}\n", "another stage is called a-samples"},
        {"arms: {report: {}}\n", "another stage is called report"},
        {"arms: {latents: {}}\n", "arm latents: the experiment keeps something else under this name"},
        {"arms: {a: {bank: x}, b: {bank: x, bank_size: 3}}\n", "arm b: its bank is another one than that of arm a"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        dt_settings s = settings_of_arms("never", wrong[i][0]);
        assert_int_equal(run_once(&s, -1), DT_ERR_ARG);
        assert_says(fixture_message, wrong[i][1]);
        assert_false(file_exists(temp_path("never")));
    }
    dt_settings s = settings_of_arms("never", "arms: {a: {control: canny, taw: 2}}\n");
    s.convergence_steps = 1; /* which an arm may complete: arms are read */
    assert_int_equal(run_once(&s, -1), DT_ERR_ARG);
    assert_says(fixture_message, "unknown setting 'taw'");
}

/* What arms share of adapters is nothing to one that has none, which is refused by itself. */
static void arms_with_and_without_an_adapter_share_its_settings(void **state)
{
    (void)state;
    dt_settings s =
        settings_of_arms("shared", "arms: {plain: {method: finetune}, lora: {method: finetune, adapter: lora}}\n");
    s.lora_rank = 2;
    must_run(&s);
    assert_true(file_exists(temp_path("shared/plain/final/model.safetensors")));
    assert_true(file_exists(temp_path("shared/lora/final/adapter_model.safetensors")));
    fixture_remove("shared");
}

/* A prepared data set is named by one folder; its splits are found in it. */
static void data_names_both_splits(void **state)
{
    (void)state;
    fixture_images("prepared/train", FIXTURE_CLASSES, 4, FIXTURE_SIZE, 0);
    fixture_images("prepared/test", FIXTURE_CLASSES, 2, FIXTURE_SIZE, 5);
    dt_settings s = settings_of("from_data");
    s.train_data[0] = s.reference[0] = '\0';
    snprintf(s.data, sizeof s.data, "%s", temp_path("prepared"));
    must_run(&s);
    assert_same_bits(bits_of("from_data"), bits_of("whole"));
    fixture_remove("from_data");
}

/* ---- models of latents ---- */

static void a_model_of_latents_runs_through_its_codec(void **state)
{
    (void)state;
    dt_settings s = settings_of("latents_whole");
    fixture_images("large", FIXTURE_CLASSES, 4, LATENT_PICTURE, 0);
    fixture_images("large_held", FIXTURE_CLASSES, 2, LATENT_PICTURE, 5);
    dit_config config = fixture_config();
    config.channels = LATENT_CHANNELS;
    config.input_size = LATENT_SIZE;
    config.patch = 2;
    fixture_base("latent.safetensors", config, 11);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("latent.safetensors"));
    snprintf(s.train_data, sizeof s.train_data, "%s", temp_path("large"));
    snprintf(s.reference, sizeof s.reference, "%s", temp_path("large_held"));
    snprintf(s.vae, sizeof s.vae, "%s", tiny_codec);
    s.resolution = LATENT_PICTURE;
    must_run(&s);
    assert_true(file_exists(temp_path("latents_whole/latents")));
    assert_true(file_exists(temp_path("latents_whole/diff-tuning-samples/images/000001.png")));
    assert_file_says("latents_whole/diff-tuning/metrics.jsonl", "\"kind\":\"eval\",\"step\":4,\"measure\":\"FD-base\"");
    dt_settings other = s;
    snprintf(other.output_dir, sizeof other.output_dir, "%s", temp_path("latents_stopped"));
    dt_status status = DT_ERR_INTERRUPTED;
    for (int stops = 0; status != DT_OK && stops < 60; stops++) status = run_once(&other, 1);
    if (status != DT_OK) fail_msg("%s", fixture_message);
    assert_same_bits(bits_of("latents_stopped"), bits_of("latents_whole"));
    fixture_remove("latents_whole");
    fixture_remove("latents_stopped");
}

static void every_shipped_recipe_can_be_read(void **state)
{
    (void)state;
    glob_t found;
    int count = 0;
    assert_int_equal(glob("../recipes/*.yaml", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        dt_settings s;
        dt_error err = {0};
        dt_settings_init(&s);
        settings_load(&s, found.gl_pathv[i], &err);
        assert_string_equal(err.message, "");
        if (s.control[0]) continue; /* test_rows.c has those */
        count++;
        assert_true(s.recipe[0] && s.paper_fid_finetune > s.paper_fid_diff_tuning && s.paper_fid_diff_tuning > 0);
        assert_int_equal(s.max_train_steps, 24000);
        assert_int_equal(s.train_batch_size, 32);
        assert_int_equal(s.fid_count, 10000);
        snprintf(s.data, sizeof s.data, "d");
        snprintf(s.pretrained_model, sizeof s.pretrained_model, "m");
        snprintf(s.output_dir, sizeof s.output_dir, "o");
        assert_int_equal(settings_check_arm(&s, &err), DT_OK);
    }
    globfree(&found);
    assert_int_equal(count, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_call_leaves_both_runs_and_a_report),
        cmocka_unit_test(finished_stages_are_recognised),
        cmocka_unit_test(an_interrupted_run_goes_on),
        cmocka_unit_test(a_changed_recipe_is_refused_for_what_is_finished),
        cmocka_unit_test(settings_that_came_later_do_not_part_an_experiment),
        cmocka_unit_test(stages_to_come_may_change),
        cmocka_unit_test(every_stage_is_checked_before_the_first),
        cmocka_unit_test(arms_share_what_is_the_same_for_them),
        cmocka_unit_test(arms_may_draw_with_averages_of_a_length),
        cmocka_unit_test(an_experiment_can_be_repeated_from_its_recipe_and_grow),
        cmocka_unit_test(an_arm_that_cannot_be_is_named_before_the_first_stage),
        cmocka_unit_test(arms_with_and_without_an_adapter_share_its_settings),
        cmocka_unit_test(data_names_both_splits),
        cmocka_unit_test(a_model_of_latents_runs_through_its_codec),
        cmocka_unit_test(every_shipped_recipe_can_be_read),
    };
    return cmocka_run_group_tests(tests, make, temp_folder_remove);
}
