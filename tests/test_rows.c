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
    s.max_train_steps = 7;
    s.convergence_steps = 1;
    s.convergence_count = 3;
    s.num_inference_steps = 2;
    s.sample_batch_size = 3;
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
        assert_int_equal(r.convergence_count, 8);
        assert_true(cell_of(csv, lines[i], "obedience") == r.convergence[7].value);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_study_measures_when_samples_obey),
        cmocka_unit_test(a_study_shares_the_bank_of_a_control),
    };
    return cmocka_run_group_tests(tests, make, temp_folder_remove);
}
