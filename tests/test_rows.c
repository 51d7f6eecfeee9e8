/* ControlNets in run and study: both methods on a small UNet, when each obeys its control, and what cannot be. */
#include "control_fixture.h"

#include <glob.h>

#include "api/settings_check.h"
#include "base/text.h"
#include "eval/map_likeness.h"
#include "report/run.h"

static int make(void **state)
{
    if (fixture_make(state)) return -1;
    dt_settings s = fixture_unet_settings("base", "8,16");
    fixture_train_to_the_end(&s);
    return 0;
}

/* Canny on it; the threshold is one that the small network passes by chance or never, told by the test. */
static dt_settings settings_of(const char *folder)
{
    dt_settings s = fixture_settings(folder);
    s.bank[0] = '\0';
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("base"));
    snprintf(s.validation_data, sizeof s.validation_data, "%s", temp_path("held"));
    snprintf(s.control, sizeof s.control, "canny");
    s.bank_size = 6;
    s.max_train_steps = 5;
    s.convergence_steps = 1;
    s.convergence_count = 2;
    s.num_inference_steps = 2;
    s.sample_batch_size = 2;
    return s;
}

static dt_settings study_of(const char *folder, const char *text)
{
    dt_settings s = settings_of(folder);
    temp_write("study.yaml", text, strlen(text));
    snprintf(s.arms, sizeof s.arms, "%s", temp_path("study.yaml"));
    return s;
}

static int count_of(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part)) count++;
    return count;
}

/* The value in a table of comma-separated values: of the line that begins so, under that name. */
static double cell_of(const char *csv, const char *begin, const char *name)
{
    char head[64];
    const char *line = strstr(csv, begin);
    snprintf(head, sizeof head, ",%s,", name);
    const char *column = strstr(csv, head);
    assert_true(line && column && column < strchr(csv, '\n'));
    int number = 1;
    for (const char *at = csv; at < column; at++) number += *at == ',';
    for (line++; number > 0; number--) line = strchr(line, ',') + 1;
    return *line == ',' || *line == '\n' ? (double)NAN : strtod(line, NULL);
}

/* ---- study ---- */

static const char study_text[] = "grid:\n"
                                 "  control: {edges: {convergence_threshold: -1}, never: {convergence_threshold: 2}}\n"
                                 "  method: {plain: {method: finetune}, tuned: {}}\n"
                                 "seeds: [3, 4]\n";

/* Of the two, edges is reached by whatever is drawn and never by nothing, so that the steps are known. */
static void a_study_measures_when_samples_obey(void **state)
{
    (void)state;
    dt_settings s = study_of("study", study_text);
    s.bank_seed = 0;
    fixture_must(dt_study, &s);
    assert_says(fixture_log, "4 arms on 1 data sets with 2 seeds: 8 trainings\n");
    char *csv = temp_read("study/study.csv"), *times = temp_read("study/times.csv");
    assert_int_equal(count_of(csv, ",measured,"), 8);
    assert_int_equal(count_of(csv, "\n"), 9);
    assert_true(cell_of(csv, "\nedges-plain,edges,plain,data,3", "threshold_step") == 0);
    assert_true(cell_of(csv, "\nedges-tuned,edges,tuned,data,4", "threshold_step_late") == 0);
    assert_true(cell_of(csv, "\nedges-tuned,edges,tuned,data,4", "threshold") == -1);
    assert_true(isnan(cell_of(csv, "\nnever-plain,never,plain,data,3", "threshold_step")));
    assert_true(cell_of(times, "\nnever-plain,never,plain,data,3", "drawing_s") == 0);
    static const char *const arms[] = {"edges-plain-3", "edges-tuned-4"}, *const lines[] = {
                                                                              "\nedges-plain,edges,plain,data,3",
                                                                              "\nedges-tuned,edges,tuned,data,4"};
    for (int i = 0; i < 2; i++) {
        char name[64];
        run r;
        dt_error err = {0};
        snprintf(name, sizeof name, "study/%s", arms[i]);
        if (run_open(&r, temp_path(name), &err) != DT_OK) fail_msg("%s", err.message);
        assert_int_equal(r.convergence_count, 6);
        assert_true(cell_of(csv, lines[i], "obedience") == r.convergence[5].value);
        run_close(&r);
    }
    free(csv);
    free(times);
    assert_file_says("study/report.html", "4 arms on 1 data sets with 2 seeds: <b>8 of 8 measured</b>");
    assert_file_says("study/report.html", "threshold at step");
    assert_file_says("study/report.html", "Obedience to the control over steps");
}

/* One bank for both methods and both seeds, with a control of each picture; no features, no samples. */
static void a_study_shares_the_bank_of_a_control(void **state)
{
    (void)state;
    char *stages = temp_read("study/experiment.json");
    assert_int_equal(count_of(stages, "\"bank_shard_size\""), 1);
    assert_int_equal(count_of(stages, "\"save_statistics\""), 0);
    free(stages);
    assert_true(file_exists(temp_path("study/bank/manifest.json")));
    assert_file_says("study/bank/manifest.json", "\"control\": \"canny\"");
    assert_false(file_exists(temp_path("study/reference.npz")));
    assert_false(file_exists(temp_path("study/edges-plain-3-samples")));
    assert_false(file_exists(temp_path("study/edges-plain-3/checkpoints")));
}

/* An arm that cannot be trained is told; what does not need it goes on. */
static void a_failed_arm_is_told(void **state)
{
    (void)state;
    char text[512];
    snprintf(text, sizeof text,
             "arms: {plain: {method: finetune}, broken: {bank: %s}}\ndata: {canny: {control: canny}}\n",
             temp_path("bank_images"));
    dt_settings s = study_of("failing", text);
    assert_int_equal(fixture_call_until(dt_study, &s, -1), DT_ERR_UNSUPPORTED);
    assert_says(fixture_message, "1 of 2 trainings failed; the first for: ");
    assert_file_says("failing/study.csv", "\nplain,canny,as set,as set,measured,");
    assert_file_says("failing/study.csv", "\nbroken,canny,as set,as set,failed,");
    assert_file_says("failing/report.html", "pictures alone are no bank");
    s.arms[0] = '\0';
    fixture_remove("failing");
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("failing"));
    temp_write("broken.yaml", text, strlen(text) - strlen("data: {canny: {control: canny}}\n"));
    snprintf(s.arms, sizeof s.arms, "%s", temp_path("broken.yaml"));
    assert_int_equal(fixture_call_until(dt_run, &s, -1), DT_ERR_UNSUPPORTED);
    assert_says(fixture_message, "pictures alone are no bank");
    assert_true(file_exists(temp_path("failing/plain/final/model.safetensors")));
    fixture_remove("failing");
}

/* Only where pictures to compare with are named, and then by the ControlNet that was trained. */
static void a_distance_is_taken_where_it_is_asked_for(void **state)
{
    (void)state;
    dt_settings s =
        study_of("distant", "arms: {plain: {method: finetune}}\ndraw: {weak: {guidance_scale: 1}, usual: {}}\n");
    s.convergence_steps = 0;
    s.fid_count = 4;
    s.max_train_steps = 2;
    snprintf(s.reference, sizeof s.reference, "%s", temp_path("held"));
    fixture_must(dt_study, &s);
    char *csv = temp_read("distant/study.csv");
    assert_int_equal(count_of(csv, ",measured,FD-base,"), 2);
    assert_true(cell_of(csv, "\nplain,data,as set,weak", "frechet_distance") > 0);
    assert_true(isnan(cell_of(csv, "\nplain,data,as set,weak", "obedience")));
    free(csv);
    assert_file_says("distant/plain-usual-samples/samples.txt", "controlnet sha256 ");
    fixture_remove("distant");
}

/* ---- run ---- */

static dt_settings row_of(const char *folder)
{
    dt_settings s = settings_of(folder);
    snprintf(s.recipe, sizeof s.recipe, "ControlNet, Small");
    snprintf(s.convergence_threshold, sizeof s.convergence_threshold, "-1");
    return s;
}

static void a_row_is_one_call(void **state)
{
    (void)state;
    dt_settings s = row_of("row");
    fixture_must(dt_run, &s);
    assert_says(fixture_log, "stage 1 of 5, cache: latents of the images, for models of latents\n");
    assert_says(fixture_log, "stage 2 of 5, bank: memory bank\n");
    assert_says(fixture_log, "stage 5 of 5, report: report\n");
    static const char *const said[] = {
        "<strong>Diff-Tuning</strong> (paper preset) obeys its control from step <b>0</b> on (its threshold; "
        "95&nbsp;%: 0 to 0), "
        "<strong>plain fine-tuning</strong> obeys its control from step <b>0</b> on",
        "Beside the paper: ControlNet, Small",
        "Diff-Tuning does not follow the paper&rsquo;s protocol: learning rate 0.001 (paper 1e-05)",
        "steps made 5 (paper 15000)",
        "When samples obey their control",
        "Beside the paper&rsquo;s table 4: Edge",
        "<td>6700</td>",
        "<td>5300</td>",
        "Diff-Tuning over plain",
        "plain fine-tuning: controls, samples, maps of the samples",
    };
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) assert_file_says("row/report.html", said[i]);
    char *page = temp_read("row/report.html");
    assert_null(strstr(page, "FID in the paper"));
    assert_null(strstr(page, "images of a step"));
    assert_null(strstr(page, "No distance to held-out images"));
    free(page);
}

/* Stopped again and again, each time somewhat later in its call, it ends in the same models and curves. */
static void a_stopped_row_goes_on(void **state)
{
    (void)state;
    dt_settings s = row_of("stopped");
    fixture_ask_every = 0;
    int stops = 0;
    for (dt_status status = DT_ERR_INTERRUPTED; status != DT_OK; stops++) {
        status = fixture_call_until(dt_run, &s, 10 + 10 * stops);
        if (stops > 200 || (status != DT_OK && status != DT_ERR_INTERRUPTED)) fail_msg("%s", fixture_message);
    }
    fixture_ask_every = -1;
    assert_true(stops > 5);
    static const char *const arms[] = {"finetune", "diff-tuning"};
    for (int i = 0; i < 2; i++) {
        run a, b;
        char one[64], other[64];
        dt_error err = {0};
        snprintf(one, sizeof one, "row/%s", arms[i]);
        snprintf(other, sizeof other, "stopped/%s", arms[i]);
        assert_same_bits(fixture_result(other), fixture_result(one));
        assert_int_equal(run_open(&a, temp_path(one), &err), DT_OK);
        assert_int_equal(run_open(&b, temp_path(other), &err), DT_OK);
        assert_int_equal(a.convergence_count, b.convergence_count);
        for (int64_t k = 0; k < a.convergence_count; k++)
            assert_true(a.convergence[k].step == b.convergence[k].step &&
                        a.convergence[k].value == b.convergence[k].value);
        run_close(&a);
        run_close(&b);
    }
    fixture_remove("stopped");
}

/* As Stable Diffusion is: the data has class folders, which nothing is told of, and no captions. The bank is told its prompt. */
static void a_row_of_a_base_that_is_told_prompts(void **state)
{
    (void)state;
    fixture_prompted("pipe");
    dt_settings s = row_of("prompted");
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("pipe"));
    snprintf(s.prompt, sizeof s.prompt, "%s", s.default_prompt);
    s.max_train_steps = 2;
    s.validation_steps = 2;
    s.validation_count = 4;
    fixture_must(dt_run, &s);
    assert_says(fixture_log, "0 captions of 0 images; 12 are told the default prompt");
    assert_file_says("prompted/bank/manifest.json", "told_sha256");
    assert_file_says("prompted/report.html", "Beside the paper&rsquo;s table 4: Edge");
}

/* ---- what cannot be ---- */

static void refuse(dt_settings s, fixture_verb *verb, const char *key, const char *value, const char *said)
{
    dt_error err = {0};
    if (key && settings_set(&s, key, value, &err) != DT_OK) fail_msg("%s", err.message);
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("never"));
    assert_int_not_equal(fixture_call_until(verb, &s, -1), DT_OK);
    assert_says(fixture_message, said);
    assert_null(strchr(fixture_message, '\n'));
    assert_false(file_exists(temp_path("never")));
}

static void what_cannot_be_is_refused_before_anything_runs(void **state)
{
    (void)state;
    const dt_settings s = row_of("never");
    const char *untold = "is told no control picture";
    refuse(s, dt_run, "control", "", "convergence_steps needs control canny");
    refuse(s, dt_run, "control", "hed",
           "arm finetune: annotator_weights: hed needs a file of weights, such as ControlNetHED.pth");
    refuse(s, dt_run, "convergence_steps", "0", "run with a control needs convergence_steps, or reference");
    refuse(s, dt_run, "convergence_threshold", "Seg-ADE",
           "convergence_threshold Seg-ADE: the paper has none for canny");
    refuse(s, dt_run, "convergence_threshold", "Edges", "a row of the paper's table 4 (such as Seg-ADE) or a number");
    refuse(s, dt_run, "pretrained_model", temp_path("base.safetensors"), untold);
    refuse(s, dt_run, "annotator_weights", temp_path("base.safetensors"), "canny has no weights");
    dt_settings y = study_of("never", "arms: {plain: {method: finetune}, tuned: {}}\n");
    refuse(y, dt_study, "pretrained_model", temp_path("base.safetensors"), untold);
    refuse(y, dt_study, "control", "", "convergence_steps needs control canny");
    y = study_of("never", "arms: {a: {control: pidinet, annotator_weights: nowhere.pth}}\n");
    refuse(y, dt_study, NULL, NULL, "arm a: annotator_weights nowhere.pth: no such file or folder");
    y = study_of("never", "arms: {plain: {method: finetune}}\ndraw: {one: {guidance_scale: 1}}\n");
    refuse(y, dt_study, NULL, NULL, "draw: of arms that tell a control nothing is drawn");
    /* Maps that are given are given of no picture that a bank would draw. */
    y = study_of("never", "arms: {plain: {method: finetune}, tuned: {}}\n");
    y.convergence_steps = 0;
    snprintf(y.reference, sizeof y.reference, "%s", temp_path("held"));
    refuse(y, dt_study, "control", temp_path("data"), "controlnet_model needs control_data");
    snprintf(y.control_data, sizeof y.control_data, "%s", temp_path("data"));
    refuse(y, dt_study, "control", temp_path("data"), "arm tuned: method diff-tuning with retention bank needs bank");
}

/* ---- the curve ---- */

enum { POINTS = 8 };

static run run_of(run_convergence curve[POINTS], const double value[POINTS], double error, const char *measure,
                  run_setting setting[], int64_t settings)
{
    for (int i = 0; i < POINTS; i++) {
        curve[i] = (run_convergence){.step = 100 * i, .value = value[i], .error = error};
        snprintf(curve[i].control, sizeof curve[i].control, "%s", strcmp(measure, "MSE") ? "canny" : "depth");
        snprintf(curve[i].measure, sizeof curve[i].measure, "%s", measure);
    }
    return (run){.convergence = curve, .convergence_count = POINTS, .setting = setting, .setting_count = settings};
}

/* 1.96 errors of 0.05 are 0.098: the curve above reaches 0.5 by then at 0.45 and at 0.62, the curve below later. */
static void a_step_has_an_interval(void **state)
{
    (void)state;
    static const double value[POINTS] = {0.1, 0.12, 0.11, 0.45, 0.52, 0.55, 0.62, 0.64};
    run_convergence curve[POINTS];
    run_setting set[] = {{"convergence_threshold", "0.5"}, {"resolution", "512"}};
    run r = run_of(curve, value, 0.05, "SSIM", set, 2);
    run_obedience o = run_find_obedience(&r);
    assert_true(o.threshold == 0.5 && o.reached == 400 && o.early == 300 && o.late == 600 && o.last == 0.64);
    assert_true(o.jump == 300 && o.jump_first == 300 && o.jump_last == 300 && fabs(o.before - 0.11) < 1e-12);
    assert_true(run_obeys_from(&r).step == 400);
    set[0].value = "auto"; /* the paper's at its size, elsewhere none: the jump is what counts */
    o = run_find_obedience(&r);
    assert_true(o.threshold == 0.55 && o.reached == 500);
    assert_string_equal(run_published_row(&r)->row, "Edge");
    set[1].value = "64";
    o = run_find_obedience(&r);
    assert_true(isnan(o.threshold) && isnan(o.reached) && o.jump == 300);
    assert_true(run_obeys_from(&r).step == 300);
    set[0].value = "0.63"; /* the last measure has nothing behind it */
    o = run_find_obedience(&r);
    assert_true(o.reached == 700 && o.early == 500 && isnan(o.late));
}

/* Errors fall; a jump upwards is none of them. */
static void an_error_falls(void **state)
{
    (void)state;
    static const double falls[POINTS] = {0.2, 0.21, 0.2, 0.2, 0.03, 0.03, 0.02, 0.03};
    static const double rises[POINTS] = {0.02, 0.03, 0.03, 0.03, 0.2, 0.21, 0.2, 0.2};
    run_convergence curve[POINTS];
    run_setting set[] = {{"convergence_threshold", "Depth"}};
    run r = run_of(curve, falls, NAN, "MSE", set, 1); /* of one picture: no error, no interval */
    run_obedience o = run_find_obedience(&r);
    assert_true(o.threshold == 0.04 && o.reached == 400 && isnan(o.early) && isnan(o.late) && o.jump == 400);
    r = run_of(curve, rises, 0.001, "MSE", set, 1);
    o = run_find_obedience(&r);
    assert_true(o.reached == 0 && isnan(o.jump));
}

/* ---- the six recipes ---- */

static void the_recipes_are_the_papers_rows(void **state)
{
    (void)state;
    glob_t found;
    bool seen[MAP_PUBLISHED] = {false};
    assert_int_equal(glob("../recipes/controlnet_*.yaml", 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, MAP_PUBLISHED);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        dt_settings s;
        dt_error err = {0};
        dt_settings_init(&s);
        settings_load(&s, found.gl_pathv[i], &err);
        assert_string_equal(err.message, "");
        const map_published *row = map_published_row(s.control, s.convergence_threshold);
        assert_non_null(row);
        assert_string_equal(row->row, s.convergence_threshold);
        seen[row - map_published_rows] = true;
        assert_true((double)s.max_train_steps == row->steps && s.learning_rate == 1e-5 && s.resolution == 512);
        assert_true(s.train_batch_size == 4 && s.convergence_steps == 100 && s.num_inference_steps == 50 &&
                    s.recipe[0]);
        snprintf(s.pretrained_model, sizeof s.pretrained_model, "m");
        snprintf(s.train_data, sizeof s.train_data, "t");
        snprintf(s.output_dir, sizeof s.output_dir, "o");
        assert_int_equal(settings_check_arm(&s, &err), DT_OK);
    }
    for (int i = 0; i < MAP_PUBLISHED; i++) assert_true(seen[i]);
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_study_measures_when_samples_obey),
        cmocka_unit_test(a_study_shares_the_bank_of_a_control),
        cmocka_unit_test(a_failed_arm_is_told),
        cmocka_unit_test(a_distance_is_taken_where_it_is_asked_for),
        cmocka_unit_test(a_row_is_one_call),
        cmocka_unit_test(a_stopped_row_goes_on),
        cmocka_unit_test(a_row_of_a_base_that_is_told_prompts),
        cmocka_unit_test(what_cannot_be_is_refused_before_anything_runs),
        cmocka_unit_test(a_step_has_an_interval),
        cmocka_unit_test(an_error_falls),
        cmocka_unit_test(the_recipes_are_the_papers_rows),
    };
    return cmocka_run_group_tests(tests, make, temp_folder_remove);
}
