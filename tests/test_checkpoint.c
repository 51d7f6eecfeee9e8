/* Checkpoints and the folder of a run: found again, passed over when broken, never lost to a full disk; folders of
 * others are left alone. */
#include "file/folder.h"
#include "run_fixture.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run/checkpoint.h"
#include "run/loop.h"
#include "run/run_folder.h"

extern char **environ;

static file_hash whole; /* the result of six steps that nothing disturbs */

/* Checkpoints after every second step, all kept. */
static dt_settings settings_of(const char *output)
{
    dt_settings s = fixture_settings(output);
    s.checkpointing_steps = 2;
    s.checkpoints_total_limit = 0;
    return s;
}

static int make(void **state)
{
    if (fixture_make(state)) return -1;
    whole = fixture_bits(settings_of(""));
    return 0;
}

/* A path in the folder of a run, e.g. in_run("run", "checkpoints/%s", name). */
static const char *in_run(const char *output, const char *rest)
{
    char name[256];
    snprintf(name, sizeof name, "%s/%s", output, rest);
    return temp_path(name);
}

static void expect_names(const char *folder, const char *expected)
{
    char found[512] = "";
    dt_error err = {0};
    file_names names;
    assert_int_equal(file_list(&names, folder, &err), DT_OK);
    for (size_t i = 0; i < names.count; i++)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s", i ? " " : "", names.name[i]);
    file_names_free(&names);
    assert_string_equal(found, expected);
}

static void make_run(const char *output, int64_t steps)
{
    dt_settings s = settings_of(output);
    if (fixture_train(&s, steps) != DT_ERR_INTERRUPTED) fail_msg("%s", fixture_message);
}

static void finish_run(const char *output)
{
    dt_settings s = settings_of(output);
    fixture_train_to_the_end(&s);
    assert_same_bits(fixture_result(output), whole);
}

/* ---- which are kept ---- */

static void the_newest_checkpoints_are_kept(void **state)
{
    (void)state;
    static const char *const left[] = {"step-00000002 step-00000004 step-00000006", "step-00000006",
                                       "step-00000004 step-00000006", "step-00000002 step-00000004 step-00000006"};
    for (int limit = 0; limit < 4; limit++) {
        dt_settings s = settings_of("kept");
        s.checkpoints_total_limit = limit;
        fixture_train_to_the_end(&s);
        expect_names(in_run("kept", "checkpoints"), left[limit]);
        fixture_remove("kept");
    }
}

static void a_run_without_checkpoints_on_the_way_has_one_at_the_end(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("end");
    fixture_train_to_the_end(&s);
    expect_names(in_run("end", "checkpoints"), "step-00000006");
    expect_names(in_run("end", "checkpoints/step-00000006"),
                 "ema.safetensors manifest.json model.safetensors optimizer.safetensors state.json");
    file_hash before = fixture_tree("end/checkpoints");
    fixture_train_to_the_end(&s); /* the same command again: nothing is left to do */
    assert_same_bits(fixture_tree("end/checkpoints"), before);
    assert_null(strstr(fixture_log, "checkpoint /"));
    assert_same_bits(fixture_result("end"), whole);
    fixture_remove("end");
}

/* ---- broken ones ---- */

typedef void breaker(const char *path);

static void flip_a_byte(const char *path)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long at = ftell(f) / 2;
    fseek(f, at, SEEK_SET);
    int byte = getc(f);
    fseek(f, at, SEEK_SET);
    putc(byte ^ 1, f);
    fclose(f);
}

static void cut_in_half(const char *path)
{
    file_map map;
    dt_error err = {0};
    assert_int_equal(file_map_open(&map, path, &err), DT_OK);
    size_t size = map.size;
    file_map_close(&map);
    assert_int_equal(truncate(path, (off_t)size / 2), 0);
}

static void empty_it(const char *path)
{
    assert_int_equal(truncate(path, 0), 0);
}

static void take_away(const char *path)
{
    assert_int_equal(unlink(path), 0);
}

static void a_broken_newest_checkpoint_is_passed_over_and_named(void **state)
{
    (void)state;
    static const char *const files[] = {"model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json",
                                        "manifest.json"};
    static breaker *const breakers[] = {flip_a_byte, cut_in_half, empty_it, take_away};
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 4; k++) {
            char name[128];
            if (k > 0 && i % 4) continue;   /* the files between the first and the last in one way only */
            if (i == 4 && k == 0) continue; /* a flipped space between two hashes would be none of our business */
            make_run("broken", 4);
            snprintf(name, sizeof name, "checkpoints/step-00000004/%s", files[i]);
            breakers[k](in_run("broken", name));
            finish_run("broken");
            assert_says(fixture_log, "passed over");
            assert_says(fixture_log, files[i]);
            assert_says(fixture_log, "resuming from");
            assert_says(fixture_log, "step-00000002");
            fixture_remove("broken");
        }
}

static void a_broken_checkpoint_is_replaced_when_its_step_comes_again(void **state)
{
    (void)state;
    make_run("again", 4);
    flip_a_byte(in_run("again", "checkpoints/step-00000004/ema.safetensors"));
    dt_settings s = settings_of("again");
    assert_int_equal(fixture_train(&s, 3), DT_ERR_INTERRUPTED); /* from step 2 over step 4 to step 5 */
    take_away(in_run("again", "checkpoints/step-00000005/model.safetensors"));
    assert_int_equal(fixture_train(&s, 0), DT_ERR_INTERRUPTED);
    assert_says(fixture_log, "resuming from");
    assert_says(strstr(fixture_log, "resuming from"), "step-00000004");
    finish_run("again");
    fixture_remove("again");
}

static void broken_checkpoints_never_push_out_a_good_one(void **state)
{
    (void)state;
    make_run("pushed", 4);
    flip_a_byte(in_run("pushed", "checkpoints/step-00000004/model.safetensors"));
    dt_settings s = settings_of("pushed");
    s.checkpoints_total_limit = 1;
    assert_int_equal(fixture_train(&s, 1), DT_ERR_INTERRUPTED); /* saves step 3 beside the broken step 4 */
    expect_names(in_run("pushed", "checkpoints"), "step-00000003 step-00000004");
    assert_int_equal(fixture_train(&s, 0), DT_ERR_INTERRUPTED);
    assert_says(strstr(fixture_log, "resuming from"), "step-00000003");
    finish_run("pushed");
    fixture_remove("pushed");
}

static void a_run_whose_checkpoints_are_all_broken_starts_anew(void **state)
{
    (void)state;
    make_run("all", 4);
    flip_a_byte(in_run("all", "checkpoints/step-00000002/state.json"));
    empty_it(in_run("all", "checkpoints/step-00000004/manifest.json"));
    finish_run("all");
    fixture_remove("all");
}

static void leftovers_and_other_names_are_harmless(void **state)
{
    (void)state;
    dt_error err = {0};
    make_run("left", 3);
    static const char *const folders[] = {"unfinished",   "unfinished/deeper", "step-",
                                          "step-12x",     "step--5",           "step-00000099999999999999999999",
                                          "Step-00000005"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char name[128];
        snprintf(name, sizeof name, "checkpoints/%s", folders[i]);
        assert_int_equal(file_make_dirs(in_run("left", name), &err), DT_OK);
    }
    temp_write("left/checkpoints/unfinished/model.safetensors", "half", 4);
    assert_int_equal(file_make_dirs(in_run("left", "checkpoints/step-00000005"), &err), DT_OK); /* empty */
    finish_run("left");
    assert_false(file_exists(in_run("left", "checkpoints/unfinished")));
    fixture_remove("left");
}

/* Whole by its manifest, and lying: the step decides where in memory the walk through the data stands. */
static void a_checkpoint_that_lies_about_its_counts_is_refused(void **state)
{
    (void)state;
    static const char *const states[] = {
        "{\"step\": -5, \"update_count\": 4, \"skipped\": 0, \"skipped_in_row\": 0}",
        "{\"step\": 4, \"update_count\": -1, \"skipped\": 0, \"skipped_in_row\": 0}",
        "{\"step\": 4, \"update_count\": 4, \"skipped\": 0}",
        "{\"step\": 9223372036854775807, \"update_count\": 4, \"skipped\": 0, \"skipped_in_row\": 0}",
        "{\"step\": \"4\", \"update_count\": 4, \"skipped\": 0, \"skipped_in_row\": 0}",
    };
    make_run("lying", 4);
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        char text[1024], *manifest;
        size_t size;
        dt_error err = {0};
        file_hash old, new;
        const char *path = in_run("lying", "checkpoints/step-00000004/state.json");
        assert_int_equal(file_sha256(&old, path, &err), DT_OK);
        temp_write("lying/checkpoints/step-00000004/state.json", states[i], strlen(states[i]));
        assert_int_equal(file_sha256(&new, path, &err), DT_OK);
        path = in_run("lying", "checkpoints/step-00000004/manifest.json");
        assert_int_equal(file_read_all(&manifest, &size, path, sizeof text, &err), DT_OK);
        memcpy(strstr(manifest, old.hex), new.hex, 64);
        temp_write("lying/checkpoints/step-00000004/manifest.json", manifest, size);
        free(manifest);
        dt_settings s = settings_of("lying");
        assert_int_equal(fixture_train(&s, -1), DT_ERR_FORMAT);
        assert_says(fixture_message, "state.json");
    }
    fixture_remove("lying");
}

/* ---- a death in the middle ---- */

static void die(int number)
{
    (void)number;
    _exit(9);
}

/* In a process of its own: dies so many microseconds after the first step began. */
static int child(const char *folder, const char *delay)
{
    snprintf(temp_folder, sizeof temp_folder, "%s", folder);
    dt_settings s = settings_of("killed");
    s.gradient_accumulation_steps = 4;
    s.checkpointing_steps = 1;
    signal(SIGALRM, die);
    ualarm((useconds_t)atoi(delay), 0);
    return fixture_train(&s, -1) == DT_OK ? 0 : 1;
}

static int run_child(int delay)
{
    char text[16];
    pid_t pid;
    int status;
    snprintf(text, sizeof text, "%d", delay);
    char *const arguments[] = {"test_checkpoint", temp_folder, text, NULL};
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_process_that_dies_anywhere_leaves_a_run_that_goes_on(void **state)
{
    (void)state;
    dt_settings s = settings_of("killed");
    s.gradient_accumulation_steps = 4;
    s.checkpointing_steps = 1;
    file_hash undisturbed = fixture_bits(s);
    int deaths = 0;
    for (int delay = 2000; delay < 400000; delay = delay * 3 / 2) {
        int status = run_child(delay);
        assert_true(status == 9 || status == 0);
        deaths += status == 9;
        if (status == 0) break;
    }
    print_message("died %d times\n", deaths);
    assert_true(deaths > 3);
    fixture_train_to_the_end(&s);
    assert_same_bits(fixture_result("killed"), undisturbed);
    fixture_remove("killed");
}

/* ---- a full disk ---- */

typedef struct filling {
    int64_t at_step;
    rlim_t bytes;
} filling;

/* From that step on no file grows beyond so many bytes. */
static void fill_disk(void *user, const dt_progress *p)
{
    const filling *f = user;
    if (p->step == f->at_step) limit_file_size(f->bytes);
}

static dt_status train_on_full_disk(const dt_settings *s, int64_t at_step, rlim_t bytes)
{
    filling f = {at_step, bytes};
    dt_observer observer = {.user = &f, .log = fixture_collect, .progress = fill_disk};
    dt_status status = fixture_call(dt_train, s, &observer);
    limit_file_size(RLIM_INFINITY);
    return status;
}

static void a_full_disk_keeps_the_old_checkpoint_and_says_so(void **state)
{
    (void)state;
    dt_settings s = settings_of("full");
    s.checkpoints_total_limit = 1;
    assert_int_equal(train_on_full_disk(&s, 3, 20000), DT_ERR_IO);
    assert_says(fixture_message, "model.safetensors");
    expect_names(in_run("full", "checkpoints"), "step-00000002");
    finish_run("full");
    fixture_remove("full");
}

static void a_write_that_fails_anywhere_leaves_a_run_that_goes_on(void **state)
{
    (void)state;
    int failures = 0;
    for (rlim_t bytes = 64; bytes < 600000; bytes *= 3) {
        for (int64_t at = 1; at <= 5; at += 2) {
            dt_settings s = settings_of("failing");
            dt_status status = train_on_full_disk(&s, at, bytes);
            if (status != DT_OK) {
                failures++;
                assert_int_equal(status, DT_ERR_IO);
                assert_says(fixture_message, "failing/");
                assert_false(file_exists(in_run("failing", "checkpoints/unfinished")));
            }
            finish_run("failing");
            fixture_remove("failing");
        }
    }
    assert_true(failures > 10);
}

static void a_folder_that_could_not_be_begun_can_be_begun_later(void **state)
{
    (void)state;
    for (rlim_t bytes = 0; bytes < 6000; bytes += 1000) {
        dt_settings s = settings_of("begun");
        limit_file_size(bytes);
        dt_status status = fixture_train(&s, -1);
        limit_file_size(RLIM_INFINITY);
        assert_int_equal(status, DT_ERR_IO);
        finish_run("begun");
        assert_true(file_exists(in_run("begun", "config.yaml")));
        assert_true(file_exists(in_run("begun", "data_report.json")));
        fixture_remove("begun");
    }
}

static void the_disk_a_run_needs_is_forecast_without_overflow(void **state)
{
    (void)state;
    ctx c;
    training t;
    const dt_observer nobody = {0};
    dt_settings s = fixture_settings("");
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(training_open(&t, &c, &s, &nobody, model_kinds_all), DT_OK);
    int64_t trained = 4 * params_count(t.trainer.model.params, false);
    int64_t all = 4 * params_count(t.trainer.model.params, true), one = 2 * all + 2 * trained;
    assert_int_equal(checkpoint_disk_bytes(&t), one + all); /* one at the end, and the result */
    t.step_count = 100;
    t.checkpointing_steps = 10;
    t.checkpoints_kept = 3;
    assert_int_equal(checkpoint_disk_bytes(&t), one * 4 + all); /* a new one stands beside the three */
    t.checkpoints_kept = 0;
    t.checkpointing_steps = 1;
    t.step_count = 1000000000;
    int64_t many = checkpoint_disk_bytes(&t);
    assert_true(many > one * 1000000000 - 1);
    tensor wide = {.dim_count = 2, .dim = {1 << 20, 1 << 16}};
    t.trainer.set.row[0].tensor = &wide; /* as if the model were huge */
    assert_int_equal(checkpoint_disk_bytes(&t), INT64_MAX);
    training_close(&t);
    ctx_close(&c);
}

/* ---- runs that cannot go on ---- */

/* Poisons the bank in memory from step 2 on, as a broken memory would. */
static void poison_the_bank(void *user, const dt_progress *p)
{
    training *t = user;
    if (p->step == 2) fixture_fill(&t->trainer.bank, NAN);
}

static void expect_numeric_stop(const char *output, int64_t checkpointing_steps, const char *says)
{
    ctx c;
    training t;
    dt_settings s = settings_of(output);
    dt_observer observer = {.user = &t, .log = fixture_collect, .progress = poison_the_bank};
    s.checkpointing_steps = checkpointing_steps;
    s.max_train_steps = 40;
    fixture_log[0] = '\0';
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(training_open(&t, &c, &s, &observer, model_kinds_all), DT_OK);
    assert_int_equal(training_through(&t), DT_ERR_NUMERIC);
    assert_says(c.error.message, "5 steps in a row");
    assert_says(c.error.message, says);
    assert_int_equal(t.trainer.step, 7);
    assert_int_equal(t.trainer.skipped, 5);
    for (int step = 3; step <= 7; step++) {
        char line[64];
        snprintf(line, sizeof line, "step %d was skipped", step);
        assert_says(fixture_log, line);
    }
    training_close(&t);
    ctx_close(&c);
}

static void five_steps_in_a_row_that_are_not_finite_end_the_run_with_a_good_checkpoint(void **state)
{
    (void)state;
    expect_numeric_stop("numeric", 2, "the checkpoint of step 6 is good");
    expect_names(in_run("numeric", "checkpoints"), "step-00000002 step-00000004 step-00000006");
    file_hash old = fixture_tensors(in_run("numeric", "checkpoints/step-00000002/model.safetensors"));
    assert_same_bits(fixture_tensors(in_run("numeric", "checkpoints/step-00000006/model.safetensors")), old);
    fixture_remove("numeric");
    expect_numeric_stop("numeric", 0, "no checkpoint was due before");
    fixture_remove("numeric");
}

/* What was skipped is part of where a run stands. */
static void skipped_steps_are_remembered_over_a_stop(void **state)
{
    (void)state;
    char *text;
    size_t size;
    dt_error err = {0};
    expect_numeric_stop("skipped", 2, "step 6");
    const char *path = in_run("skipped", "checkpoints/step-00000006/state.json");
    assert_int_equal(file_read_all(&text, &size, path, 1024, &err), DT_OK);
    json_t *object = json_loads(text, 0, NULL);
    free(text);
    assert_int_equal(json_integer_value(json_object_get(object, "update_count")), 2);
    assert_int_equal(json_integer_value(json_object_get(object, "skipped")), 4);
    assert_int_equal(json_integer_value(json_object_get(object, "skipped_in_row")), 4);
    json_decref(object);
    dt_settings s = settings_of("skipped");
    s.max_train_steps = 40;
    assert_int_equal(fixture_train(&s, 1), DT_ERR_INTERRUPTED); /* with a whole bank again, the next step is good */
    path = in_run("skipped", "checkpoints/step-00000007/state.json");
    assert_int_equal(file_read_all(&text, &size, path, 1024, &err), DT_OK);
    object = json_loads(text, 0, NULL);
    free(text);
    assert_int_equal(json_integer_value(json_object_get(object, "update_count")), 3);
    assert_int_equal(json_integer_value(json_object_get(object, "skipped")), 4);
    assert_int_equal(json_integer_value(json_object_get(object, "skipped_in_row")), 0);
    json_decref(object);
    fixture_remove("skipped");
}

/* ---- whose folder it is ---- */

static void refuse(const dt_settings *s, const char *key)
{
    assert_int_equal(fixture_train(s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, key);
}

/* A call that fails before it has made anything, for memory or disk, is mostly followed by one with other settings. */
static void a_description_alone_is_no_run(void **state)
{
    (void)state;
    dt_error err = {0};
    dt_settings s = fixture_settings("failed");
    fixture_train(&s, 0);
    file_hash described;
    assert_int_equal(file_sha256(&described, in_run("failed", "run.json"), &err), DT_OK);
    char *text = temp_read("failed/run.json");
    fixture_remove("failed");
    assert_int_equal(file_make_dirs(temp_path("failed"), &err), DT_OK);
    temp_write("failed/run.json", text, strlen(text));
    free(text);
    s.learning_rate = 0.25;
    fixture_train_to_the_end(&s);
    s.learning_rate = 0.5;
    refuse(&s, "learning_rate");
    fixture_remove("failed");
}

static void a_folder_of_another_run_is_refused_by_name_and_left_alone(void **state)
{
    (void)state;
    make_run("theirs", 2);
    file_hash before = fixture_tree("theirs");
    static const char *const changes[][2] = {
        {"learning_rate", "0.5"},
        {"seed", "43"},
        {"method", "finetune"},
        {"preset", "released"},
        {"tau", "2"},
        {"train_batch_size", "8"},
        {"random_flip", "false"},
        {"mixed_precision", "bf16"},
        {"ema_decay", "0.5"},
        {"label_init", "random"},
        {"gradient_accumulation_steps", "2"},
        {"class_dropout_prob", "0"},
        {"lr_scheduler", "cosine"},
        {"isa", "portable"},
        {"background", "#000000"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        dt_settings s = settings_of("theirs");
        assert_int_equal(dt_settings_set(&s, changes[i][0], changes[i][1], NULL, 0), DT_OK);
        refuse(&s, changes[i][0]);
    }
    dt_settings s = settings_of("theirs");
    snprintf(s.train_data, sizeof s.train_data, "%s", temp_path("held"));
    refuse(&s, "a run with other pictures, captions, controls or classes than this call's (train_data");
    s = settings_of("theirs");
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("held"));
    refuse(&s, "a run with another bank than this call's (bank)");
    s = settings_of("theirs");
    fixture_base("other.safetensors", fixture_config(), 12);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("other.safetensors"));
    refuse(&s, "a run with another base model than this call's (pretrained_model)");
    assert_same_bits(fixture_tree("theirs"), before);
    finish_run("theirs");
    fixture_remove("theirs");
}

static void a_file_in_the_place_of_the_checkpoints_is_told(void **state)
{
    (void)state;
    make_run("filed", 2);
    fixture_remove("filed/checkpoints");
    temp_write("filed/checkpoints", "x", 1);
    dt_settings s = settings_of("filed");
    assert_int_equal(fixture_train(&s, -1), DT_ERR_IO);
    assert_says(fixture_message, "filed/checkpoints: Not a directory");
    fixture_remove("filed");
}

/* Settings that do not touch the bits may change on the way. */
static void the_same_run_may_be_watched_otherwise(void **state)
{
    (void)state;
    make_run("watched", 3);
    dt_settings s = settings_of("watched");
    s.threads = 2;
    s.logging_steps = 2;
    s.checkpoints_total_limit = 1;
    s.gradient_checkpointing = true;
    s.tensorboard = true;
    fixture_train_to_the_end(&s);
    assert_same_bits(fixture_result("watched"), whole);
    fixture_remove("watched");
}

/* With a constant rate the length decides no bits: a run may be made longer, but not shorter than it is. */
static void a_finished_run_can_be_made_longer_but_not_shorter(void **state)
{
    (void)state;
    dt_settings s = settings_of("longer");
    s.max_train_steps = 4;
    fixture_train_to_the_end(&s);
    s.max_train_steps = 3;
    refuse(&s, "max_train_steps is 3");
    finish_run("longer");
    fixture_remove("longer");
}

/* What a run may change about itself is what config.yaml says from then on; a call that is refused changes nothing. */
static void the_settings_in_the_folder_follow_the_run(void **state)
{
    (void)state;
    dt_settings s = settings_of("followed"), found;
    s.max_train_steps = 2;
    fixture_train_to_the_end(&s);
    s.max_train_steps = 6;
    s.logging_steps = 3;
    fixture_train_to_the_end(&s);
    dt_settings_init(&found);
    assert_int_equal(dt_settings_load(&found, in_run("followed", "config.yaml"), NULL, 0), DT_OK);
    assert_int_equal(found.max_train_steps, 6);
    assert_int_equal(found.logging_steps, 3);
    fixture_train_to_the_end(&found);
    const file_hash before = fixture_tree("followed");
    s.max_train_steps = 4;
    refuse(&s, "max_train_steps is 4");
    assert_same_bits(fixture_tree("followed"), before);
    fixture_remove("followed");
}

static void a_finished_model_without_checkpoints_is_not_overwritten_by_another(void **state)
{
    (void)state;
    dt_settings s = settings_of("kept");
    s.max_train_steps = 4;
    fixture_train_to_the_end(&s);
    fixture_remove("kept/checkpoints");
    const file_hash before = fixture_tree("kept");
    s.max_train_steps = 6;
    refuse(&s, "finished model of 4 steps");
    s.max_train_steps = 3;
    refuse(&s, "made 4 steps already");
    assert_same_bits(fixture_tree("kept"), before);
    s.max_train_steps = 4; /* the same again is the same */
    const file_hash result = fixture_result("kept");
    fixture_train_to_the_end(&s);
    assert_says(fixture_log, "made again from step 0");
    assert_same_bits(fixture_result("kept"), result);
    s.max_train_steps = 6;
    s.metadata = false;
    fixture_train_to_the_end(&s);
    assert_same_bits(fixture_result("kept"), whole);
    fixture_remove("kept/checkpoints");
    s.max_train_steps = 7; /* a model that does not say how long it was trained */
    refuse(&s, "finished model of another length");
    fixture_remove("kept");
}

/* ---- stops in the middle of a measurement ---- */

/* Lines of metrics.jsonl, each as "kind step[ set]". */
static int read_metrics(const char *output, char lines[][48], int room)
{
    char *text;
    size_t size;
    dt_error err = {0};
    int count = 0;
    assert_int_equal(file_read_all(&text, &size, in_run(output, "metrics.jsonl"), 1 << 20, &err), DT_OK);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) && *line;) {
        json_t *object = json_loads(line, 0, NULL);
        const char *set = json_string_value(json_object_get(object, "set"));
        assert_non_null(object);
        assert_true(count < room);
        snprintf(lines[count++], sizeof lines[0], "%s %lld %s", json_string_value(json_object_get(object, "kind")),
                 (long long)json_integer_value(json_object_get(object, "step")), set ? set : "");
        json_decref(object);
    }
    free(text);
    return count;
}

/* Says yes once, to the question of that number in what is measured after step 2, whose checkpoint comes before that. */
typedef struct grid_stop {
    int64_t step, asked, number;
} grid_stop;

static void count_steps(void *user, const dt_progress *p)
{
    grid_stop *g = user;
    g->step = p->step;
}

static bool in_the_grid(void *user)
{
    grid_stop *g = user;
    return g->step == 2 && file_exists(in_run("broken_off", "checkpoints/step-00000002/manifest.json")) &&
           g->asked++ == g->number;
}

/* A stop, or a wish for a checkpoint, at the question of that number; the run goes on and is the same. */
static void break_off(dt_settings *s, int64_t number, bool saves)
{
    static char once[64][48], stopped[64][48];
    const char *const grid = "samples/step_00000002.png";
    grid_stop g = {.number = number};
    dt_observer observer = {.user = &g, .progress = count_steps};
    dt_error err = {0};
    file_hash a, b;
    if (saves)
        observer.should_save = in_the_grid;
    else
        observer.should_stop = in_the_grid;
    fixture_ask_every = 0;
    assert_int_equal(fixture_call(dt_train, s, &observer), saves ? DT_OK : DT_ERR_INTERRUPTED);
    fixture_ask_every = -1;
    assert_true(g.asked > number);
    if (!saves) assert_false(file_exists(in_run("broken_off", grid)));
    fixture_train_to_the_end(s);
    assert_int_equal(read_metrics("broken_off", stopped, 64), read_metrics("unbroken", once, 64));
    assert_memory_equal(once, stopped, sizeof once);
    assert_int_equal(file_sha256(&a, in_run("unbroken", grid), &err), DT_OK);
    assert_int_equal(file_sha256(&b, in_run("broken_off", grid), &err), DT_OK);
    assert_same_bits(a, b);
    assert_same_bits(fixture_result("broken_off"), fixture_result("unbroken"));
    fixture_remove("broken_off");
}

static void a_measurement_that_was_broken_off_is_made_again_and_written_once(void **state)
{
    (void)state;
    static const int64_t numbers[] = {0, 1, 2, 7, 12};
    dt_settings s = settings_of("unbroken");
    s.max_train_steps = 3;
    s.checkpointing_steps = 2;
    s.sample_steps = s.validation_steps = 2;
    s.validation_count = 2;
    s.num_samples = 3;
    s.num_inference_steps = 20;
    fixture_train_to_the_end(&s);
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("broken_off"));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        for (int saves = 0; saves < 2; saves++) break_off(&s, numbers[i], saves);
    fixture_remove("unbroken");
}

static void a_folder_with_other_things_is_refused_and_left_alone(void **state)
{
    (void)state;
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path("diary"), &err), DT_OK);
    temp_write("diary/monday.txt", "dear diary", 10);
    file_hash before = fixture_tree("diary");
    dt_settings s = settings_of("diary");
    refuse(&s, "monday.txt");
    assert_same_bits(fixture_tree("diary"), before);
    temp_write("diary/run.json", "{\"a\": 1}", 8);
    before = fixture_tree("diary");
    assert_int_equal(fixture_train(&s, -1), DT_ERR_FORMAT);
    assert_says(fixture_message, "run.json");
    assert_same_bits(fixture_tree("diary"), before);
    temp_write("a_file", "text", 4);
    s = settings_of("a_file");
    assert_int_not_equal(fixture_train(&s, -1), DT_OK);
    assert_says(fixture_message, "a_file");
    fixture_remove("diary");
}

static void nothing_is_written_before_everything_is_read(void **state)
{
    (void)state;
    static const char *const changes[][2] = {{"train_data", "/nowhere"},
                                             {"bank", "/nowhere"},
                                             {"pretrained_model", "/nowhere"},
                                             {"validation_data", "/nowhere"},
                                             {"resolution", "8"}};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        dt_settings s = settings_of("early");
        assert_int_equal(dt_settings_set(&s, changes[i][0], changes[i][1], NULL, 0), DT_OK);
        assert_int_not_equal(fixture_train(&s, -1), DT_OK);
        assert_false(file_exists(temp_path("early")));
    }
    for (int64_t channels = 1; channels <= 4; channels++) {
        dt_settings s = settings_of("early");
        s.method = DT_METHOD_PRETRAIN;
        s.pretrained_model[0] = s.bank[0] = '\0';
        s.resolution = FIXTURE_SIZE;
        s.in_channels = channels;
        s.max_train_steps = 1;
        if (channels == 3) continue;
        assert_int_equal(fixture_train(&s, -1), DT_ERR_UNSUPPORTED);
        assert_says(fixture_message, "channels");
        assert_false(file_exists(temp_path("early")));
    }
}

/* ---- metrics ---- */

/* Without held-out images the loss is of training images, and is not called validation. Those that both sets have are told. */
static void the_set_of_a_loss_is_called_what_it_is(void **state)
{
    (void)state;
    static char lines[64][48];
    dt_settings s = settings_of("called");
    s.validation_steps = 1;
    s.validation_count = 2;
    s.max_train_steps = 1;
    s.bank[0] = '\0';
    s.method = DT_METHOD_FINETUNE;
    s.validation_data[0] = '\0';
    assert_int_equal(fixture_train(&s, -1), DT_OK);
    assert_says(fixture_log, "step 0: loss on training images");
    assert_null(strstr(fixture_log, "validation loss"));
    const int count = read_metrics("called", lines, 64);
    assert_true(count > 0);
    for (int i = 0; i < count; i++) assert_null(strstr(lines[i], "target"));
    assert_string_equal(lines[0], "validation 0 train");
    fixture_remove("called");
    snprintf(s.validation_data, sizeof s.validation_data, "%s", s.train_data);
    assert_int_equal(fixture_train(&s, -1), DT_OK);
    assert_says(fixture_log, "validation loss on the target");
    assert_says(fixture_log, "images are among the training images too");
    fixture_remove("called");
}

static void no_step_is_logged_twice_however_often_a_run_stops(void **state)
{
    (void)state;
    static char once[64][48], stopped[64][48];
    dt_settings s = settings_of("once");
    s.validation_steps = 3;
    s.validation_count = 2;
    fixture_train_to_the_end(&s);
    int count = read_metrics("once", once, 64);
    assert_int_equal(count, 6 + 3 * 3); /* six steps; images, bank and distance of the weights at steps 0, 3 and 6 */
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("often"));
    static const int64_t stops[] = {0, 0, 1, 2, 1};
    for (int i = 0; i < 5; i++) assert_int_equal(fixture_train(&s, stops[i]), DT_ERR_INTERRUPTED);
    fixture_remove("often/checkpoints/step-00000004"); /* as if it had been killed before that one */
    fixture_train_to_the_end(&s);
    assert_int_equal(read_metrics("often", stopped, 64), count);
    for (int i = 0; i < count; i++) {
        bool found = false;
        for (int k = 0; k < count; k++) found |= !strcmp(once[i], stopped[k]);
        if (!found) fail_msg("no line \"%s\" after the stops", once[i]);
    }
    for (int step = 1; step <= 6; step++) {
        char line[64];
        snprintf(line, sizeof line, "\"step\":%d,\"from_step\":%d,", step, step == 1 ? 0 : step <= 3 ? 1 : 3);
        assert_file_says("often/metrics.jsonl", line);
    }
    assert_same_bits(fixture_result("often"), fixture_result("once"));
    fixture_remove("often");
    fixture_remove("once");
}

/* ---- as a model to start from ---- */

/* Classes c1, c2 and z, which stand at other places than in data/. */
static void make_other_classes(void)
{
    fixture_images("other", FIXTURE_CLASSES, 2, FIXTURE_SIZE, 3);
    assert_int_equal(rename(in_run("other", "c0"), in_run("other", "z")), 0);
}

static void expect_start(const char *inside, const char *says)
{
    dt_settings s = fixture_settings("tuned");
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", in_run("start", inside));
    snprintf(s.train_data, sizeof s.train_data, "%s", temp_path("other"));
    s.max_train_steps = 1;
    fixture_train_to_the_end(&s);
    assert_says(fixture_log, says);
    assert_null(strstr(fixture_log, "does not say what it is"));
    fixture_remove("tuned");
}

/* Its files hold neither the names of the classes nor what made them: run.json does, and so do files of earlier versions. */
static void a_checkpoint_is_known_by_what_its_run_says(void **state)
{
    (void)state;
    static const char *const files[] = {"", "/ema.safetensors", "/model.safetensors"};
    dt_settings s = settings_of("start");
    fixture_train_to_the_end(&s);
    make_other_classes();
    for (int i = 0; i < 3; i++) {
        char inside[96];
        snprintf(inside, sizeof inside, "checkpoints/step-00000006%s", files[i]);
        expect_start(inside, "2 with the name of a class of the model keep its row, 1 new");
    }
    fixture_remove("start");
    fixture_remove("other");
}

static void rows_of_classes_without_names_are_said_to_go_by_their_places(void **state)
{
    (void)state;
    dt_settings s = settings_of("start");
    s.metadata = false;
    fixture_train_to_the_end(&s);
    dt_settings k = fixture_settings("tuned");
    snprintf(k.pretrained_model, sizeof k.pretrained_model, "%s", temp_path("start"));
    k.max_train_steps = 1;
    fixture_train_to_the_end(&k);
    assert_says(fixture_log, "all 3 rows are kept by position; row 0 goes on as c0");
    fixture_remove("tuned");
    fixture_remove("start");
}

static void a_part_of_a_run_is_refused_with_the_run_in_hand(void **state)
{
    (void)state;
    static const char *const parts[] = {"final", "checkpoints"};
    dt_settings s = settings_of("start");
    fixture_train_to_the_end(&s);
    for (int i = 0; i < 2; i++) {
        dt_settings k = fixture_settings("tuned");
        snprintf(k.pretrained_model, sizeof k.pretrained_model, "%s", in_run("start", parts[i]));
        assert_int_equal(fixture_train(&k, -1), DT_ERR_IO);
        assert_says(fixture_message, "lies in the folder of a run");
        assert_says(fixture_message, "/start");
    }
    fixture_remove("start");
}

int main(int argc, char **argv)
{
    if (argc == 3) return child(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_checkpoints_are_kept),
        cmocka_unit_test(a_run_without_checkpoints_on_the_way_has_one_at_the_end),
        cmocka_unit_test(a_broken_newest_checkpoint_is_passed_over_and_named),
        cmocka_unit_test(a_broken_checkpoint_is_replaced_when_its_step_comes_again),
        cmocka_unit_test(broken_checkpoints_never_push_out_a_good_one),
        cmocka_unit_test(a_run_whose_checkpoints_are_all_broken_starts_anew),
        cmocka_unit_test(leftovers_and_other_names_are_harmless),
        cmocka_unit_test(a_checkpoint_that_lies_about_its_counts_is_refused),
        cmocka_unit_test(a_process_that_dies_anywhere_leaves_a_run_that_goes_on),
        cmocka_unit_test(a_full_disk_keeps_the_old_checkpoint_and_says_so),
        cmocka_unit_test(a_write_that_fails_anywhere_leaves_a_run_that_goes_on),
        cmocka_unit_test(a_folder_that_could_not_be_begun_can_be_begun_later),
        cmocka_unit_test(the_disk_a_run_needs_is_forecast_without_overflow),
        cmocka_unit_test(five_steps_in_a_row_that_are_not_finite_end_the_run_with_a_good_checkpoint),
        cmocka_unit_test(skipped_steps_are_remembered_over_a_stop),
        cmocka_unit_test(a_description_alone_is_no_run),
        cmocka_unit_test(a_folder_of_another_run_is_refused_by_name_and_left_alone),
        cmocka_unit_test(a_file_in_the_place_of_the_checkpoints_is_told),
        cmocka_unit_test(the_same_run_may_be_watched_otherwise),
        cmocka_unit_test(a_finished_run_can_be_made_longer_but_not_shorter),
        cmocka_unit_test(the_settings_in_the_folder_follow_the_run),
        cmocka_unit_test(a_finished_model_without_checkpoints_is_not_overwritten_by_another),
        cmocka_unit_test(a_measurement_that_was_broken_off_is_made_again_and_written_once),
        cmocka_unit_test(a_folder_with_other_things_is_refused_and_left_alone),
        cmocka_unit_test(nothing_is_written_before_everything_is_read),
        cmocka_unit_test(the_set_of_a_loss_is_called_what_it_is),
        cmocka_unit_test(no_step_is_logged_twice_however_often_a_run_stops),
        cmocka_unit_test(a_checkpoint_is_known_by_what_its_run_says),
        cmocka_unit_test(rows_of_classes_without_names_are_said_to_go_by_their_places),
        cmocka_unit_test(a_part_of_a_run_is_refused_with_the_run_in_hand),
    };
    return cmocka_run_group_tests(tests, make, temp_folder_remove);
}
