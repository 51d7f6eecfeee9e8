/* The verb study: grids of arms, data sets, seeds and ways to draw, in small; an arm that fails, stops, and files that cannot be. */
#include "file/folder.h"
#include "run_fixture.h"

#include "study/grid.h"

enum { ARMS = 6, SEEDS = 2, WAYS = 2, TRAININGS = ARMS * SEEDS, ROWS = TRAININGS * WAYS };

/* Two axes beside two arms by name, one of which has a bank of pictures that is none. */
static const char study_text[] = "arms:\n"
                                 "  plain: {method: finetune}\n"
                                 "  broken: {bank: %s/broken}\n"
                                 "grid:\n"
                                 "  bank_fraction: [0.25, 0.5]\n"
                                 "  form: {flat: {tau: 0.5}, steep: {tau: 2}}\n"
                                 "seeds: [3, 4]\n"
                                 "draw:\n"
                                 "  usual: {}\n"
                                 "  base: {guidance_model: %s/base.safetensors, guidance_scale: 2}\n";

static dt_settings settings_of(const char *folder, const char *text)
{
    char filled[4096];
    dt_settings s = fixture_settings(folder);
    snprintf(filled, sizeof filled, "%s", text);
    temp_write("study.yaml", filled, strlen(filled));
    snprintf(s.arms, sizeof s.arms, "%s", temp_path("study.yaml"));
    s.bank[0] = '\0';
    snprintf(s.validation_data, sizeof s.validation_data, "%s", temp_path("held"));
    s.validation_steps = 2;
    s.validation_count = 4;
    s.eval_steps = 2;
    s.eval_count = 4;
    s.bank_size = 6;
    s.num_inference_steps = 3;
    s.fid_count = 5;
    s.save_images = 2;
    s.max_train_steps = 4;
    return s;
}

static dt_settings usual_settings(const char *folder)
{
    char text[4096];
    snprintf(text, sizeof text, study_text, temp_folder, temp_folder);
    return settings_of(folder, text);
}

static int count_of(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part)) count++;
    return count;
}

static int make(void **state)
{
    if (fixture_make(state)) return -1;
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path("broken/c0"), &err), DT_OK);
    temp_write("broken/c0/x.txt", "no picture", 10);
    dt_settings s = usual_settings("whole");
    assert_int_equal(fixture_call_until(dt_study, &s, -1), DT_ERR_FORMAT);
    return 0;
}

/* ---- what comes out ---- */

static void a_failed_arm_is_told_and_the_rest_is_measured(void **state)
{
    (void)state;
    assert_says(fixture_message, "2 of 12 trainings failed; the first for: ");
    char *csv = temp_read("whole/study.csv");
    assert_int_equal(count_of(csv, "\n"), 1 + ROWS);
    assert_int_equal(count_of(csv, ",measured,FD-base,"), ROWS - SEEDS * WAYS);
    assert_int_equal(count_of(csv, ",failed,FD-base,"), SEEDS * WAYS);
    assert_int_equal(strncmp(csv, "arm,bank_fraction,form,data,seed,draw,state,measure,frechet_distance,", 69), 0);
    assert_says(csv, "\nplain,,,data,3,usual,measured,");
    assert_says(csv, "\nbank_fraction-0_25-steep,0.25,steep,data,4,base,measured,");
    free(csv);
    assert_file_says("whole/report.html", "What failed");
    assert_file_says("whole/report.html", "<b>20 of 24 measured</b>");
    assert_file_says("whole/experiment.json", "\"failed\"");
    assert_file_says("whole/recipe.yaml", "bank_fraction: [0.25, 0.5]");
}

/* One reference, one set of training features, a bank for each seed. */
static void arms_share_what_is_the_same_for_them(void **state)
{
    (void)state;
    assert_true(file_exists(temp_path("whole/reference.npz")) && file_exists(temp_path("whole/training.npz")));
    assert_true(file_exists(temp_path("whole/bank")) && file_exists(temp_path("whole/bank-plain-4")));
    char *stages = temp_read("whole/experiment.json");
    assert_int_equal(count_of(stages, "\"save_statistics\": \"/reference"), 1);
    assert_int_equal(count_of(stages, "\"save_statistics\": \"/training"), 1);
    assert_int_equal(count_of(stages, "\"bank_shard_size\""), SEEDS);
    free(stages);
}

/* By default the model stays; checkpoints and features do not. */
static void a_finished_arm_keeps_its_model_alone(void **state)
{
    (void)state;
    assert_true(file_exists(temp_path("whole/plain-3/final/model.safetensors")));
    assert_false(file_exists(temp_path("whole/plain-3/checkpoints")));
    assert_true(file_exists(temp_path("whole/plain-3-base-samples/images/000001.png")));
    assert_false(file_exists(temp_path("whole/plain-3-base-samples/images/000002.png")));
    assert_false(file_exists(temp_path("whole/plain-3-base-samples/features.f32")));
    assert_false(file_exists(temp_path("whole/plain-3-base-samples/statistics.npz")));
}

/* What stands in `column` of the line that begins so, and behind it. */
static const char *cell(const char *csv, const char *begin, int column)
{
    const char *line = strstr(csv, begin);
    assert_non_null(line);
    for (line++; column > 0; column--) line = strchr(line, ',') + 1;
    return line;
}

static double number_in(const char *csv, const char *begin, int column)
{
    return strtod(cell(csv, begin, column), NULL);
}

/* Means, spreads and differences of the page are those of the rows. */
static void the_page_has_the_numbers_of_the_table(void **state)
{
    (void)state;
    enum { FRECHET = 8 };
    char *csv = temp_read("whole/study.csv"), *page = temp_read("whole/report.html"), text[128];
    const double a = number_in(csv, "\nplain,,,data,3,usual", FRECHET),
                 b = number_in(csv, "\nplain,,,data,4,usual", FRECHET);
    const double mean = (a + b) / 2, sd = sqrt((a - mean) * (a - mean) + (b - mean) * (b - mean));
    snprintf(text, sizeof text, "<td>%.4g &plusmn; %.4g</td>", mean, sd);
    assert_says(page, text);
    const char *other = "\nbank_fraction-0_5-flat,0.5,flat,data,%d,usual";
    char first[96], second[96];
    snprintf(first, sizeof first, other, 3);
    snprintf(second, sizeof second, other, 4);
    const double p = number_in(csv, first, FRECHET) - a, q = number_in(csv, second, FRECHET) - b;
    const double middle = (p + q) / 2, half = 12.706 * fabs(p - q) / 2; /* t of one degree x sd / sqrt 2 */
    snprintf(text, sizeof text, "[%.4g, %.4g]", middle - half, middle + half);
    assert_says(page, text);
    assert_says(page, "Sensitivity to bank_fraction");
    assert_says(page, "Held-out loss by t: change by tuning");
    assert_says(page, "Distance over steps");
    assert_null(strstr(page, "<script"));
    free(csv);
    free(page);
}

/* ---- stopping and going on ---- */

static bool stop_from(void *user)
{
    fixture_watch *w = user;
    return w->asked++ >= w->stop_before;
}

static dt_status study_until(const dt_settings *s, int64_t stop_before)
{
    fixture_watch watch = {.stop_before = stop_before};
    dt_observer observer = {.user = &watch, .log = fixture_collect, .should_stop = stop_from};
    return fixture_call(dt_study, s, &observer);
}

static void a_stopped_study_ends_in_the_same_table(void **state)
{
    (void)state;
    dt_settings s = usual_settings("stopped");
    int stops = 0;
    dt_status status = DT_ERR_INTERRUPTED;
    fixture_ask_every = 0;
    for (; status == DT_ERR_INTERRUPTED && stops < 200; stops++) status = study_until(&s, 400 + 110 * (stops % 11));
    fixture_ask_every = -1;
    assert_int_equal(status, DT_ERR_FORMAT);
    assert_in_range(stops, 5, 199);
    char *whole = temp_read("whole/study.csv"), *again = temp_read("stopped/study.csv");
    assert_string_equal(again, whole);
    free(whole);
    free(again);
    fixture_remove("stopped");
}

/* Finished stages are recognised; of what is new only its own is made, from models that are there still. */
static void what_failed_is_tried_again_and_a_study_grows(void **state)
{
    (void)state;
    dt_settings s = usual_settings("whole");
    char *before = temp_read("whole/study.csv");
    dt_error err = {0};
    assert_int_equal(file_remove_tree(temp_path("broken"), &err), DT_OK);
    fixture_images("broken", 1, 9, FIXTURE_SIZE, 9);
    fixture_must(dt_study, &s);
    assert_says(fixture_log, "plain-3: plain fine-tuning, finished before");
    assert_int_equal(count_of(fixture_log, "wrote ") - 1, SEEDS); /* models, and the page */
    char *after = temp_read("whole/study.csv");
    assert_null(strstr(after, ",failed,"));
    assert_int_equal(count_of(after, ",measured,"), ROWS);
    const char *kept = strstr(before, "\nbank_fraction");
    assert_string_equal(strstr(after, "\nbank_fraction"), kept);
    free(before);
    free(after);

    s = settings_of("whole", "arms: {plain: {method: finetune}}\n"
                             "seeds: [3, 4]\n"
                             "draw: {usual: {}, less: {num_inference_steps: 2}}\n");
    fixture_must(dt_study, &s);
    assert_says(fixture_log, "plain-3: plain fine-tuning, finished before");
    assert_says(fixture_log, "plain-3-usual-distance: their distance, finished before");
    assert_says(fixture_log, "plain-4-less-distance: their distance\n");
    s.learning_rate = 0.5;
    assert_int_equal(fixture_call_until(dt_study, &s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "stage plain-3 was finished with learning_rate 0.001, this call has 0.5");
}

static void a_study_can_be_repeated_from_its_recipe(void **state)
{
    (void)state;
    dt_settings s;
    dt_error err = {0};
    dt_settings_init(&s);
    assert_int_equal(settings_load(&s, temp_path("whole/recipe.yaml"), &err), DT_OK);
    fixture_must(dt_study, &s);
    assert_int_equal(count_of(fixture_log, "distance, finished before"), 2 * WAYS);
    assert_int_equal(count_of(fixture_log, "wrote "), 1);
}

/* A model that was dropped is trained again, to the same bits, where it is to be drawn from in another way. */
static void a_dropped_model_is_made_again_when_it_is_needed(void **state)
{
    (void)state;
    static const char one[] = "arms: {plain: {method: finetune}}\n", two[] = "arms: {plain: {method: finetune}}\n"
                                                                             "draw: {a: {}, b: {eta: 1}}\n";
    dt_settings s = settings_of("dropped", one);
    s.keep = DT_KEEP_MEASURES;
    fixture_must(dt_study, &s);
    assert_false(file_exists(temp_path("dropped/plain/final")));
    assert_false(file_exists(temp_path("dropped/plain-samples/images")));
    assert_true(file_exists(temp_path("dropped/plain-samples/grid.png")));
    assert_true(file_exists(temp_path("dropped/plain/metrics.jsonl")));
    char *first = temp_read("dropped/study.csv");
    s = settings_of("dropped", two);
    s.keep = DT_KEEP_MODEL;
    fixture_must(dt_study, &s);
    assert_true(file_exists(temp_path("dropped/plain/final/model.safetensors")));
    char *second = temp_read("dropped/study.csv");
    assert_true(number_in(first, "\nplain,data", 6) > 0);
    assert_true(number_in(first, "\nplain,data", 6) == number_in(second, "\nplain,data,as set,a", 6));
    assert_true(number_in(first, "\nplain,data", 6) != number_in(second, "\nplain,data,as set,b", 6));
    free(first);
    free(second);
    fixture_remove("dropped");
}

/* ---- data sets and banks ---- */

static void data_sets_and_banks_are_axes_too(void **state)
{
    (void)state;
    char text[4096];
    snprintf(text, sizeof text,
             "data:\n"
             "  small: {train_data: %s/data, validation_data: %s/held}\n"
             "  other: {train_data: %s/held, reference: %s/data}\n"
             "grid:\n"
             "  bank: {drawn: {}, classes: {bank_labels: classes}, pictures: {bank: %s/bank_images}}\n"
             "seeds: [0, 1]\n",
             temp_folder, temp_folder, temp_folder, temp_folder, temp_folder);
    dt_settings s = settings_of("sets", text);
    s.train_data[0] = s.validation_data[0] = '\0';
    s.bank_seed = 5;
    s.num_inference_steps = 2;
    s.eval_steps = 0;
    s.max_train_steps = 2;
    fixture_must(dt_study, &s);
    char *csv = temp_read("sets/study.csv"), *stages = temp_read("sets/experiment.json");
    assert_int_equal(count_of(csv, ",measured,"), 3 * 2 * 2);
    assert_says(csv, "\npictures,pictures,other,1,as set,measured,");
    assert_int_equal(count_of(stages, "\"bank_shard_size\""),
                     2); /* without classes and with, for both seeds and sets */
    assert_int_equal(count_of(stages, "\"save_statistics\": \"/reference"), 2);
    assert_file_says("sets/report.html", "Data set other");
    assert_file_says("sets/report.html", "All data sets and seeds together");
    free(csv);
    free(stages);
    fixture_remove("sets");
}

static void save_statistics_of(const char *name, const char *pictures, bool with_features)
{
    dt_settings s = fixture_settings("");
    memcpy(s.reference, pictures, sizeof s.reference);
    snprintf(s.save_statistics, sizeof s.save_statistics, "%s", temp_path(name));
    s.save_features = with_features;
    fixture_must(fixture_eval, &s);
}

enum { FRECHET = 6, KERNEL = 7, COPIED = 11, PRECISION = 14, RECALL = 15 }; /* columns of study.csv without a grid */

static void assert_same_numbers(const char *csv, const char *line, const int *columns, int count)
{
    for (int i = 0; i < count; i++)
        assert_true(number_in(csv, line, columns[i]) == number_in(csv, "\nplain,pictures,", columns[i]));
}

/* Distances are those to the pictures that they are of; what needs pictures is there where their features were kept. */
static void samples_are_compared_with_statistics(void **state)
{
    (void)state;
    char text[4096];
    snprintf(text, sizeof text,
             "arms: {plain: {method: finetune}}\n"
             "data:\n"
             "  pictures: {reference: %s/held}\n"
             "  numbers: {reference: %s/numbers.npz}\n"
             "  features: {reference: %s/features.npz}\n",
             temp_folder, temp_folder, temp_folder);
    dt_settings s = settings_of("compared", text);
    s.eval_steps = 0;
    save_statistics_of("numbers.npz", s.validation_data, false);
    save_statistics_of("features.npz", s.validation_data, true);
    fixture_must(dt_study, &s);
    char *csv = temp_read("compared/study.csv");
    static const int of_statistics[] = {FRECHET, COPIED}, of_features[] = {FRECHET, KERNEL, COPIED, PRECISION, RECALL};
    assert_same_numbers(csv, "\nplain,numbers,", of_statistics, 2);
    assert_same_numbers(csv, "\nplain,features,", of_features, 5);
    assert_int_equal(cell(csv, "\nplain,numbers,", PRECISION)[0], ',');
    assert_int_not_equal(cell(csv, "\nplain,features,", PRECISION)[0], ',');
    free(csv);
    fixture_remove("compared");
}

/* ---- what cannot be ---- */

static void a_study_that_cannot_be_is_refused_before_anything_is_made(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"grid: {tau: [1, 200]}\n", "study.yaml:1: tau must be a number from 0 to 100, not '200'"},
        {"grid: {tau: [1, 1.0]}\n", "tau 1 is there twice"},
        {"grid: {tau: []}\n", "tau has no value"},
        {"grid: {tau: 1}\n", "tau needs a mapping"},
        {"grid: {taw: [1]}\n", "axis taw lists values, but there is no setting of that name"},
        {"grid: {output_dir: [a]}\n", "output_dir cannot be set by an arm"},
        {"grid: {psi_table: [a/b, a_b]}\n", "has the name of another value"},
        {"grid: {m: {a: {taw: 1}}}\n", "unknown setting 'taw'"},
        {"grid: {m: {a: {}}, m: {b: {}}}\n", "axis m is there twice"},
        {"grid: {m: {a: {tau: 2}}, tau: [1]}\n", "arm a-tau-1: tau is set twice, the second time by tau 1"},
        {"grid: {}\n", "grid names no axis"},
        {"grid: [1]\n", "grid needs a mapping of its axes"},
        {"grid: {tau: [1]}\ngrid: {tau: [2]}\n", "grid is set twice"},
        {"grid: {seed: [1]}\nseeds: [1]\n", "arm seed-1-1: seed is set twice"},
        {"grid: {tau: [1, 2], method: [finetune, diff-tuning], lora_rank: [1, 0]}\n", "lora_rank must be"},
        {"grid: {m: {bad: {bank_fraction: 1}}, tau: [1]}\n", "arm bad-tau-1: bank_fraction 1"},
        {"grid: {m: {a: {}}, tau: [1]}\narms: {a-tau-1: {}}\n", "two arms would be called a-tau-1"},
        {"seeds: 3\n", "seeds needs a list"},
        {"seeds: [1, x]\n", "seed must be a whole number"},
        {"seeds: [-1]\n", "seed must be a whole number"},
        {"seeds: [1, 1]\n", "seed 1 is there twice"},
        {"seeds: [[1]]\n", "seed needs a single value"},
        {"draw: {a: {tau: 1}}\n", "tau cannot be set by a way to draw"},
        {"draw: {a: {pretrained_model: x}}\n", "pretrained_model cannot be set by a way to draw"},
        {"draw: {a: {guidance_model: x, guidance_scale: 1}}\n", "guidance_model is given, but guidance_scale 1"},
        {"draw: {a: {guidance_model: nowhere}}\n", "arm finetune: guidance_model nowhere: no such file"},
        {"draw: {a: {eta: 1, sampler: heun}}\n", "eta is for sampler ddim"},
        {"draw: {}\n", "draw names no way to draw"},
        {"draw: {a: {tail_model: nowhere}}\n", "arm finetune: tail_model nowhere: no such file"},
        {"arms: {a: {psi: table, psi_table: nowhere}}\n", "arm a: cannot open nowhere"},
        {"arms: {a: {bank: nowhere}}\n", "arm a: bank nowhere: no such file"},
        {"data: {a: {train_data: nowhere}}\n", "arm finetune-a: train_data nowhere: no such file"},
        {"data: {a: {}}\ndata: x\n", "data is set twice"},
        {"data: {'a b': {}}\n", "a data set's name has"},
        {"arms: {a: {pretrained_model: nowhere}}\n", "arm a: pretrained_model nowhere: no such file"},
        {"arms: {a: {trained_on: x}}\n", "arm a: run chooses"},
        {"arms: {a: {keep: all}, b: {method: pretrain}}\n", "keep cannot be set by an arm"},
        {"arms: {a: {}}\nseeds: [0]\ndraw: {b: {}, b: {}}\n", "way to draw b is there twice"},
        {"arms: {a: {}, b: {feature: squeezenet, feature_weights: x}}\n", "arm b: feature squeezenet needs resolution"},
        {"arms: {reference: {}}\n", "another stage is called reference"},
        {"grid: {tau: [1]\n", "study.yaml"},
        {"grid: &a {tau: *a}\n", "study.yaml"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        dt_settings s = settings_of("never", wrong[i][0]);
        assert_int_not_equal(fixture_call_until(dt_study, &s, -1), DT_OK);
        assert_says(fixture_message, wrong[i][1]);
        assert_false(file_exists(temp_path("never")));
    }
}

static void a_grid_that_is_too_large_is_not_multiplied_out(void **state)
{
    (void)state;
    char text[4096] = "grid:\n";
    for (int axis = 0; axis < SETTINGS_AXES_MAX; axis++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "  a%d: {", axis);
        for (int i = 0; i < 20; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%sv%d: {}", i ? ", " : "", i);
        strcat(text, "}\n");
    }
    dt_settings s = settings_of("never", text);
    assert_int_equal(fixture_call_until(dt_study, &s, -1), DT_ERR_ARG);
    assert_says(fixture_message, "the grid has more than 512 arms");
    s = settings_of("never", "grid: {seed: [0, 1, 2]}\ndata: {a: {}, b: {}}\n");
    settings_study file;
    study_grid grid;
    dt_error err = {0};
    assert_int_equal(settings_study_load(&file, s.arms, &err), DT_OK);
    assert_int_equal(study_grid_open(&grid, &file, &err), DT_OK);
    assert_int_equal(grid.cases.count, 6);
    assert_string_equal(grid.cases.arm[5].name, "seed-2-b");
    study_grid_close(&grid);
    settings_study_free(&file);
}

/* The parts of a study are nothing to run. */
static dt_settings small_settings(const char *folder)
{
    dt_settings s = settings_of(folder, "arms:\n  plain: {method: finetune}\nseeds: [1, 2]\n");
    snprintf(s.train_data, sizeof s.train_data, "%s", temp_path("changing"));
    return s;
}

/* What is finished was of the pictures as they were. */
static void other_pictures_are_refused(void **state)
{
    (void)state;
    fixture_images("changing", FIXTURE_CLASSES, 2, FIXTURE_SIZE, 5);
    dt_settings s = small_settings("changed");
    fixture_must(dt_study, &s);
    fixture_must(dt_study, &s);
    fixture_images("changing", FIXTURE_CLASSES, 3, FIXTURE_SIZE, 5);
    assert_int_equal(fixture_call(dt_study, &s, NULL), DT_ERR_CONFLICT);
    assert_says(fixture_message, "was finished with other pictures in ");
    assert_says(fixture_message, "changing");
    fixture_remove("changing"); /* it needs them no more */
    fixture_must(dt_study, &s);
    fixture_remove("changed");
}

/* Its losses are in its folder alone. */
static void a_run_that_is_gone_is_made_again(void **state)
{
    (void)state;
    fixture_images("changing", FIXTURE_CLASSES, 2, FIXTURE_SIZE, 5);
    dt_settings s = small_settings("lost");
    fixture_must(dt_study, &s);
    char *whole = temp_read("lost/study.csv");
    fixture_remove("lost/plain-2");
    fixture_must(dt_study, &s);
    assert_says(fixture_log, "plain-2/run.json is not there any more; the run is made again");
    char *again = temp_read("lost/study.csv");
    assert_string_equal(again, whole);
    free(whole);
    free(again);
    fixture_remove("lost");
    fixture_remove("changing");
}

/* Once for all stages, and of nothing that one of them uses or that no one gave: the cache's folder is the study's own. */
static void what_no_stage_uses_is_told_once(void **state)
{
    (void)state;
    dt_settings s = settings_of("unused", "arms:\n  plain: {method: finetune, tau: 0.5}\n  tuned: {tau: 0.5}\n");
    s.convergence_count = 7;
    s.guidance_scale = 2;
    assert_int_equal(fixture_call_until(dt_study, &s, 0), DT_ERR_INTERRUPTED);
    assert_int_equal(count_of(fixture_log, "given and not used"), 1);
    assert_says(fixture_log, "each: convergence_count (convergence_steps), plain: tau (method diff-tuning)\n");
    fixture_remove("unused");
}

static void run_takes_no_study(void **state)
{
    (void)state;
    dt_settings s = settings_of("never", "arms: {a: {}}\nseeds: [1, 2]\n");
    snprintf(s.reference, sizeof s.reference, "%s", temp_path("held"));
    assert_int_equal(fixture_call_until(dt_run, &s, -1), DT_ERR_ARG);
    assert_says(fixture_message, "are for difftune study");
    assert_false(file_exists(temp_path("never")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_arm_is_told_and_the_rest_is_measured),
        cmocka_unit_test(arms_share_what_is_the_same_for_them),
        cmocka_unit_test(a_finished_arm_keeps_its_model_alone),
        cmocka_unit_test(the_page_has_the_numbers_of_the_table),
        cmocka_unit_test(a_stopped_study_ends_in_the_same_table),
        cmocka_unit_test(what_failed_is_tried_again_and_a_study_grows),
        cmocka_unit_test(a_study_can_be_repeated_from_its_recipe),
        cmocka_unit_test(a_dropped_model_is_made_again_when_it_is_needed),
        cmocka_unit_test(data_sets_and_banks_are_axes_too),
        cmocka_unit_test(samples_are_compared_with_statistics),
        cmocka_unit_test(a_study_that_cannot_be_is_refused_before_anything_is_made),
        cmocka_unit_test(a_grid_that_is_too_large_is_not_multiplied_out),
        cmocka_unit_test(other_pictures_are_refused),
        cmocka_unit_test(a_run_that_is_gone_is_made_again),
        cmocka_unit_test(what_no_stage_uses_is_told_once),
        cmocka_unit_test(run_takes_no_study),
    };
    return cmocka_run_group_tests(tests, make, temp_folder_remove);
}
