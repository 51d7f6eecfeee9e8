/* The report page, made from run folders that these tests write: what it says, what it refuses, what it shows. */
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nettle/base64.h>

#include "temp_folder.h"
#include "report/chart.h"
#include "report/report.h"
#include "settings/settings.h"

typedef struct fixture {
    const char *root;
    char page[300], runs[DT_LIST_MAX];
    char *text; /* of the page made last */
    dt_error err;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    *state = f;
    if (!f || temp_folder_make(state)) return -1;
    f->root = temp_folder;
    snprintf(f->page, sizeof f->page, "%s", temp_path("report.html"));
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    free(f->text);
    free(f);
    return temp_folder_remove(state);
}

/* ---- writing run folders ---- */

static void write_file(const fixture *f, const char *run, const char *name, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s/%s", f->root, run, name);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void add_folder(fixture *f, const char *run)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", f->root, run);
    mkdir(path, 0700);
    size_t used = strlen(f->runs);
    snprintf(f->runs + used, sizeof f->runs - used, "%s%s", used ? "," : "", path);
}

static void rewrite_config(const fixture *f, const char *run, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s/config.yaml", f->root, run);
    assert_int_equal(remove(path), 0);
    write_file(f, run, "config.yaml", text);
}

static void add_eval(const fixture *f, const char *run, int step, double distance)
{
    char line[300];
    snprintf(line, sizeof line,
             "{\"kind\":\"eval\",\"step\":%d,\"measure\":\"FD-base\",\"frechet_distance\":%g,\"kernel_distance\":0.01,"
             "\"kernel_distance_std\":0.001,\"count\":512,\"reference_count\":300}\n",
             step, distance);
    write_file(f, run, "metrics.jsonl", line);
}

static void add_train(const fixture *f, const char *run, int step)
{
    char line[300];
    snprintf(line, sizeof line,
             "{\"kind\":\"train\",\"step\":%d,\"loss_target\":0.25,\"loss_bank\":null,\"grad_norm\":1.5,\"lr\":0.0001,"
             "\"samples_per_second\":%d,\"time_s\":%d,\"memory_bytes\":104857600}\n",
             step, 2 * step, step);
    write_file(f, run, "metrics.jsonl", line);
}

static void add_validation(const fixture *f, const char *run, const char *set, int step, double level)
{
    char line[300];
    snprintf(line, sizeof line,
             "{\"kind\":\"validation\",\"step\":%d,\"set\":\"%s\",\"loss\":%g,\"bands\":[{\"t_first\":0,\"t_last\":99,"
             "\"loss\":%g,\"mse\":%g},{\"t_first\":900,\"t_last\":999,\"loss\":null}]}\n",
             step, set, level, level, level);
    write_file(f, run, "metrics.jsonl", line);
}

/* A run of `steps` steps that measures 40 before tuning and `distance` at its end. */
static void add_run(fixture *f, const char *run, const char *method, int steps, double distance)
{
    char text[600];
    add_folder(f, run);
    snprintf(
        text, sizeof text,
        "{\"tool\":\"difftune 0.1.0\",\"method\":\"%s\",\"preset\":\"paper\",\"base_sha256\":\"00\",\"data_sha256\":"
        "\"11\",\"classes\":[\"a\",\"b\"],\"parameters\":12,\"method_line\":\"tau = 1\"}",
        method);
    write_file(f, run, "run.json", text);
    snprintf(text, sizeof text, "method: %s\ntau: 1\ntrain_batch_size: 8\ngradient_accumulation_steps: 2\nseed: 3\n",
             method);
    write_file(f, run, "config.yaml", text);
    add_eval(f, run, 0, 40);
    add_train(f, run, steps / 2);
    add_train(f, run, steps);
    if (distance > 0) add_eval(f, run, steps, distance);
}

static void add_png(const fixture *f, const char *run, const char *name, const unsigned char *png, size_t size)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s/samples", f->root, run);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/samples/%s", f->root, run, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(png, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* ---- reading pages ---- */

static const char *make_page(fixture *f, const char *title)
{
    size_t size = 0;
    free(f->text);
    f->text = NULL;
    if (report_write(f->page, f->runs, title, &f->err) != DT_OK) fail_msg("%s", f->err.message);
    assert_int_equal(file_read_all(&f->text, &size, f->page, 64 << 20, &f->err), DT_OK);
    return f->text;
}

static void assert_silent(const char *page, const char *what)
{
    const char *at = strstr(page, what);
    if (at) fail_msg("the page says '%.120s'", at);
}

static void assert_refused(fixture *f, dt_status status, const char *message)
{
    assert_int_equal(report_write(f->page, f->runs, "", &f->err), status);
    assert_says(f->err.message, message);
    assert_false(file_exists(f->page));
}

/* ---- what it says ---- */

static void a_lower_distance_of_diff_tuning_is_stated_as_ahead(void **state)
{
    fixture *f = *state;
    add_run(f, "dt", "diff-tuning", 100, 15);
    add_run(f, "ft", "finetune", 100, 20);
    const char *page = make_page(f, "");
    assert_says(page,
                "<strong>Diff-Tuning</strong> (paper preset) ended at FD-base <b>15</b>, <strong>plain fine-tuning"
                "</strong> at <b>20</b>: 25.0&nbsp;% lower. Lower is better, so <strong>Diff-Tuning</strong> (paper "
                "preset) came out ahead");
    assert_says(page, "Same budget for all runs: 100 steps of 16 images");
    assert_says(page, "Before tuning (step 0) the model stood at FD-base 40; Diff-Tuning ended 62.5&nbsp;% below that");
    assert_says(page, "512 samples with 300 held-out images");
    assert_says(page, "speed, images a second (median)</th><td>150</td>");
    assert_says(page, "peak memory, MiB</th><td>100</td>");
    assert_says(page, "same features, last</th><td>0.01 &plusmn; 0.001</td>");
}

static void a_higher_distance_of_diff_tuning_is_stated_as_plainly(void **state)
{
    fixture *f = *state;
    add_run(f, "dt", "diff-tuning", 100, 30);
    add_run(f, "ft", "finetune", 100, 20);
    const char *page = make_page(f, "");
    assert_says(page, ": 50.0&nbsp;% higher. Lower is better, so <strong>plain fine-tuning</strong> came out ahead");
    assert_silent(page, "<strong>Diff-Tuning</strong> (paper preset) came out ahead");
}

static void distances_within_two_percent_are_called_a_tie(void **state)
{
    fixture *f = *state;
    add_run(f, "dt", "diff-tuning", 100, 20.2);
    add_run(f, "ft", "finetune", 100, 20);
    const char *page = make_page(f, "");
    assert_says(page, "this is a tie");
    assert_silent(page, "came out ahead");
}

static void different_budgets_are_said_to_differ(void **state)
{
    fixture *f = *state;
    add_run(f, "dt", "diff-tuning", 100, 15);
    add_run(f, "ft", "finetune", 50, 20);
    const char *page = make_page(f, "");
    assert_says(page, "The budgets differ");
    assert_silent(page, "Same budget");
}

static void different_batches_are_different_budgets(void **state)
{
    fixture *f = *state;
    add_run(f, "dt", "diff-tuning", 100, 15);
    add_run(f, "ft", "finetune", 100, 20);
    write_file(f, "ft", "config.yaml", "max_train_steps: 400\n");
    assert_says(make_page(f, ""), "Same budget");
    assert_says(f->text, "<td>100 of 400</td>");
    add_run(f, "small", "diff-tuning", 100, 15);
    rewrite_config(f, "small", "train_batch_size: 4\n");
    assert_says(make_page(f, ""), "The budgets differ");
}

static void runs_without_a_final_distance_are_not_ranked(void **state)
{
    fixture *f = *state;
    add_run(f, "dt", "diff-tuning", 100, 0);
    add_run(f, "ft", "finetune", 100, 20);
    const char *page = make_page(f, "");
    assert_says(page, "cannot be compared by FD-base");
    assert_silent(page, "came out ahead");
}

static void forgetting_is_stated_from_the_bank_and_shown_as_change(void **state)
{
    fixture *f = *state;
    add_run(f, "ft", "finetune", 100, 20);
    add_validation(f, "ft", "bank", 0, 0.5);
    add_validation(f, "ft", "bank", 100, 0.6);
    const char *page = make_page(f, "");
    assert_says(page, "validation loss on the memory bank: plain fine-tuning 20.0&nbsp;% higher than at step 0");
    assert_says(page, "t (0: clean, 999: noise) 50\nMSE, change in % 20</title>");
}

static void losses_of_training_images_are_called_so(void **state)
{
    fixture *f = *state;
    add_run(f, "ft", "finetune", 100, 20);
    add_validation(f, "ft", "train", 0, 0.5);
    add_validation(f, "ft", "train", 100, 0.4);
    const char *page = make_page(f, "");
    assert_says(page, "Over steps, training images");
    assert_null(strstr(page, "Over steps, target images"));
}

static void runs_of_one_method_are_told_apart_by_their_folders(void **state)
{
    fixture *f = *state;
    add_run(f, "first", "diff-tuning", 100, 15);
    add_run(f, "second", "diff-tuning", 100, 30);
    const char *page = make_page(f, "");
    assert_says(page, "Diff-Tuning (first)");
    assert_says(page, "<strong>Diff-Tuning (second)</strong> (paper preset) ended at FD-base <b>30</b>");
}

static void after_a_resume_the_later_record_of_a_step_counts(void **state)
{
    fixture *f = *state;
    add_run(f, "ft", "finetune", 100, 5);
    add_train(f, "ft", 60);
    add_train(f, "ft", 100);
    add_eval(f, "ft", 60, 22);
    add_eval(f, "ft", 100, 25);
    const char *page = make_page(f, "");
    assert_says(page, "ended at FD-base <b>25</b>");
    assert_says(page, "plain fine-tuning 22 at step 60");
    assert_says(page, "Budget: 100 steps");
    add_train(f, "ft", 70);
    assert_says(make_page(f, ""), "Budget: 70 steps");
    assert_says(f->text, "(median)</th><td>120</td>"); /* of the steps 50, 60, 70 */
}

static void seconds_are_summed_over_resumptions(void **state)
{
    fixture *f = *state;
    add_run(f, "ft", "finetune", 100, 20);
    write_file(f, "ft", "metrics.jsonl",
               "{\"kind\":\"train\",\"step\":101,\"time_s\":3}\n{\"kind\":\"train\",\"step\":102,\"time_s\":5}\n");
    assert_says(make_page(f, ""), "time, seconds</th><td>105</td>");
}

/* A first call of 5 seconds, and a second one whose first line comes later than that; the call after it is of a program of before. */
static void seconds_of_a_short_first_call_count(void **state)
{
    fixture *f = *state;
    add_folder(f, "ft");
    write_file(f, "ft", "run.json", "{}");
    write_file(f, "ft", "metrics.jsonl",
               "{\"kind\":\"train\",\"step\":1,\"time_s\":3,\"from_step\":0}\n"
               "{\"kind\":\"train\",\"step\":2,\"time_s\":5,\"from_step\":0}\n"
               "{\"kind\":\"train\",\"step\":3,\"time_s\":8,\"from_step\":2}\n"
               "{\"kind\":\"train\",\"step\":4,\"time_s\":12,\"from_step\":2}\n"
               "{\"kind\":\"train\",\"step\":5,\"time_s\":2}\n");
    assert_says(make_page(f, ""), "time, seconds</th><td>19</td>");
    write_file(f, "ft", "metrics.jsonl", "{\"kind\":\"train\",\"step\":6,\"time_s\":4,\"from_step\":5}\n");
    assert_says(make_page(f, ""), "time, seconds</th><td>23</td>");
}

/* A measured psi, and distances to the frozen base, have a chart each where a run has them. */
static void what_a_run_measured_and_kept_is_charted(void **state)
{
    fixture *f = *state;
    add_run(f, "dt", "diff-tuning", 100, 15);
    assert_silent(make_page(f, ""), "psi, measured before the first step");
    assert_silent(f->text, "Distance to the frozen base");
    for (int t = 0; t < 1000; t++) write_file(f, "dt", "psi.txt", t < 500 ? "0\n" : "0.75\n");
    write_file(f, "dt", "metrics.jsonl",
               "{\"kind\":\"train\",\"step\":101,\"loss_target\":0.25,\"loss_retained\":0.125}\n");
    const char *page = make_page(f, "");
    assert_says(page, "psi, measured before the first step");
    assert_says(page, "Distance to the frozen base");
}

static void a_psi_that_is_none_is_refused_by_name(void **state)
{
    fixture *f = *state;
    add_run(f, "dt", "diff-tuning", 100, 15);
    for (int t = 0; t < 999; t++) write_file(f, "dt", "psi.txt", "0.5\n");
    assert_int_equal(report_write(f->page, f->runs, "", &f->err), DT_ERR_FORMAT);
    assert_says(f->err.message, "psi.txt: 1000 numbers from 0 to 1 expected, number 1000 is missing");
    f->err = (dt_error){0};
    write_file(f, "dt", "psi.txt", "1.5\n");
    assert_int_equal(report_write(f->page, f->runs, "", &f->err), DT_ERR_FORMAT);
}

/* ---- the transfer gap ---- */

static void add_diagnosis_file(const fixture *f, const char *folder, const char *line)
{
    char text[4096];
    int n = snprintf(text, sizeof text,
                     "{\"format\":\"difftune diagnosis 1\",\"advice\":{\"lines\":[\"%s\"]},"
                     "\"target_against_own\":{\"bands\":[",
                     line);
    for (int b = 0; b < 10; b++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s{\"relative\":{\"value\":0.%d,\"low\":0,\"high\":null}}",
                      b ? "," : "", b);
    snprintf(text + n, sizeof text - (size_t)n, "]}}");
    write_file(f, folder, "diagnosis.json", text);
}

static void a_first_validation_shows_the_gap(void **state)
{
    fixture *f = *state;
    add_run(f, "dt", "diff-tuning", 100, 15);
    add_validation(f, "dt", "target", 0, 0.3);
    assert_silent(make_page(f, ""), "Transfer gap");
    add_validation(f, "dt", "bank", 0, 0.2);
    assert_says(make_page(f, ""), "Transfer gap");
    assert_says(f->text, "Target images against the memory bank, step 0");
    assert_says(f->text, "50"); /* percent */
}

static void a_diagnosis_in_the_run_is_told_in_its_place(void **state)
{
    fixture *f = *state;
    add_run(f, "dt", "diff-tuning", 100, 15);
    add_validation(f, "dt", "target", 0, 0.3);
    add_validation(f, "dt", "bank", 0, 0.2);
    add_diagnosis_file(f, "dt", "The premise <holds>.");
    const char *page = make_page(f, "");
    assert_says(page, "<li>The premise &lt;holds&gt;.</li>");
    assert_says(page, "Your pictures against the base&#39;s own samples");
    assert_silent(page, "Target images against the memory bank, step 0");
    assert_says(page, "<li>The diagnosis before any training: The premise &lt;holds&gt;.</li>");
}

static void what_several_diagnoses_foresaw_is_told_once_each(void **state)
{
    fixture *f = *state;
    add_folder(f, "diagnosis");
    add_diagnosis_file(f, "diagnosis", "It holds.");
    add_run(f, "dt", "diff-tuning", 100, 15);
    add_diagnosis_file(f, "dt", "It holds.");
    add_run(f, "ft", "finetune", 100, 15);
    add_diagnosis_file(f, "ft", "It fails.");
    const char *page = make_page(f, "");
    const char *first = strstr(page, "<li>The diagnosis before any training: It holds.</li>");
    assert_non_null(first);
    assert_silent(first + 1, "<li>The diagnosis before any training: It holds.");
    assert_says(page, "<li>The diagnosis before any training: It fails.</li>");
}

static void a_folder_of_a_diagnosis_stands_beside_runs_or_alone(void **state)
{
    fixture *f = *state;
    add_folder(f, "diagnosis");
    add_diagnosis_file(f, "diagnosis", "It fails.");
    assert_says(make_page(f, ""), "<li>It fails.</li>");
    assert_silent(f->text, "What came out");
    add_run(f, "dt", "diff-tuning", 100, 15);
    assert_says(make_page(f, ""), "<li>It fails.</li>");
    assert_says(f->text, "What came out");
    assert_says(f->text, "The diagnosis before any training: It fails.");
}

static void what_is_named_twice_stands_once(void **state)
{
    fixture *f = *state;
    char runs[sizeof f->runs + 1024];
    add_folder(f, "diagnosis");
    add_diagnosis_file(f, "diagnosis", "It fails.");
    add_run(f, "dt", "diff-tuning", 100, 15);
    char *once = strdup(make_page(f, ""));
    snprintf(runs, sizeof runs, "%s,%s/dt/,%s/./diagnosis", f->runs, f->root, f->root);
    assert_int_equal(report_write(f->page, runs, "", &f->err), DT_OK);
    char *text;
    size_t size;
    assert_int_equal(file_read_all(&text, &size, f->page, 1 << 24, &f->err), DT_OK);
    assert_string_equal(text, once);
    free(text);
    free(once);
}

static void a_diagnosis_that_is_none_is_refused_by_name(void **state)
{
    fixture *f = *state;
    add_run(f, "dt", "diff-tuning", 100, 15);
    static const char *const bad[] = {
        "{\"format\":\"another\"}", "{\"format\":\"difftune diagnosis 1\"}",
        "{\"format\":\"difftune diagnosis 1\",\"advice\":{\"lines\":[\"x\"]},\"target_against_own\":{\"bands\":[1]}}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/dt/diagnosis.json", f->root);
        unlink(path); /* write_file appends */
        write_file(f, "dt", "diagnosis.json", bad[i]);
        f->err = (dt_error){0};
        assert_int_equal(report_write(f->page, f->runs, "", &f->err), DT_ERR_FORMAT);
        assert_says(f->err.message, "diagnosis.json: not what difftune diagnose writes");
    }
}

/* ---- how far weights went ---- */

static void distances_of_weights_have_charts_and_a_table(void **state)
{
    fixture *f = *state;
    add_run(f, "dt", "diff-tuning", 100, 15);
    assert_silent(make_page(f, ""), "How far the weights went");
    write_file(f, "dt", "metrics.jsonl",
               "{\"kind\":\"weights\",\"step\":0,\"squares\":0,\"per_value\":0,\"kinds\":{},\"blocks\":[]}\n"
               "{\"kind\":\"weights\",\"step\":100,\"squares\":2.5,\"per_value\":0.0125,"
               "\"kinds\":{\"attention\":{\"squares\":1,\"per_value\":0.015625},\"m<p\":{\"squares\":null}},"
               "\"blocks\":[{\"per_value\":0.5},{\"per_value\":null}]}\n");
    const char *page = make_page(f, "");
    assert_says(page, "How far the weights went");
    assert_says(page, "For each trained value, by block, at the end");
    assert_says(page, "<tr><th>attention</th><td>0.01562</td></tr>");
    assert_says(page, "<tr><th>m&lt;p</th>");
    write_file(f, "dt", "metrics.jsonl", "{\"kind\":\"weights\",\"step\":101,\"squares\":\"far\"}\n");
    assert_int_equal(report_write(f->page, f->runs, "", &f->err), DT_ERR_FORMAT);
    assert_says(f->err.message, "'squares' is not a number");
}

/* ---- hostile and missing input ---- */

static void a_broken_line_is_refused_with_its_number(void **state)
{
    fixture *f = *state;
    add_run(f, "ft", "finetune", 100, 20);
    write_file(f, "ft", "metrics.jsonl", "{\"kind\":\"train\",\"step\":\n");
    assert_refused(f, DT_ERR_FORMAT, "ft/metrics.jsonl: line 5, column");
}

static void a_text_where_a_number_belongs_is_refused(void **state)
{
    fixture *f = *state;
    add_run(f, "ft", "finetune", 100, 20);
    write_file(f, "ft", "metrics.jsonl", "{\"kind\":\"train\",\"step\":101,\"lr\":\"fast\"}\n");
    assert_refused(f, DT_ERR_FORMAT, "line 5: 'lr' is not a number");
}

static void wrong_steps_sets_bands_and_measures_are_refused(void **state)
{
    static const char *const lines[] = {
        "[1]\n",
        "{\"kind\":\"train\"}\n",
        "{\"kind\":\"train\",\"step\":-1}\n",
        "{\"kind\":\"validation\",\"step\":1,\"set\":\"moon\"}\n",
        "{\"kind\":\"validation\",\"step\":1,\"set\":\"bank\",\"bands\":[{\"t_first\":1000,\"mse\":1}]}\n",
        "{\"kind\":\"validation\",\"step\":1,\"set\":\"bank\",\"bands\":[{\"t_first\":50,\"mse\":1}]}\n",
        "{\"kind\":\"validation\",\"step\":1,\"set\":\"bank\",\"bands\":7}\n",
        "{\"kind\":\"eval\",\"step\":1,\"frechet_distance\":1}\n",
    };
    fixture *f = *state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char name[16];
        snprintf(name, sizeof name, "run%zu", i);
        f->runs[0] = '\0';
        error_clear(&f->err);
        add_run(f, name, "finetune", 100, 20);
        write_file(f, name, "metrics.jsonl", lines[i]);
        assert_refused(f, DT_ERR_FORMAT, "line 5: ");
    }
}

static void a_line_still_being_written_is_not_read(void **state)
{
    fixture *f = *state;
    add_run(f, "ft", "finetune", 100, 20);
    write_file(f, "ft", "metrics.jsonl", "{\"kind\":\"tra");
    make_page(f, "");
}

static void records_of_other_kinds_are_passed_over(void **state)
{
    fixture *f = *state;
    add_run(f, "ft", "finetune", 100, 20);
    write_file(f, "ft", "metrics.jsonl", "{\"kind\":\"weather\",\"rain\":true}\n");
    make_page(f, "");
}

static void a_run_that_only_measures_on_the_way_is_reported(void **state)
{
    static const char *const lines[] = {
        "{\"kind\":\"convergence\",\"step\":10,\"control\":\"canny\",\"measure\":\"SSIM\",\"value\":0.5}\n",
        "{\"kind\":\"weights\",\"step\":10,\"squares\":1,\"per_value\":1,\"kinds\":{},\"blocks\":[]}\n",
    };
    static const char *const sections[] = {"When samples obey their control", "How far the weights went"};
    fixture *f = *state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char name[16];
        snprintf(name, sizeof name, "run%zu", i);
        f->runs[0] = '\0';
        add_folder(f, name);
        write_file(f, name, "run.json", "{}");
        write_file(f, name, "metrics.jsonl", lines[i]);
        assert_says(make_page(f, ""), sections[i]);
    }
}

static void folders_that_are_no_runs_are_refused_by_name(void **state)
{
    fixture *f = *state;
    assert_refused(f, DT_ERR_ARG, "found none");
    snprintf(f->runs, sizeof f->runs, "%s/absent", f->root);
    error_clear(&f->err);
    assert_refused(f, DT_ERR_IO, "absent': no such folder");
    f->runs[0] = '\0';
    add_folder(f, "empty");
    error_clear(&f->err);
    assert_refused(f, DT_ERR_IO, "empty': has no run.json, chain.json or diagnosis.json");
    write_file(f, "empty", "run.json", "{\"method\":\"finetune\"}");
    error_clear(&f->err);
    assert_refused(f, DT_ERR_IO, "empty': has no metrics.jsonl");
    write_file(f, "empty", "metrics.jsonl", "");
    error_clear(&f->err);
    assert_refused(f, DT_ERR_FORMAT, "holds no records yet");
}

/* ---- many runs, and experiments ---- */

static void runs_of_any_number_have_a_column_and_a_line_each(void **state)
{
    fixture *f = *state;
    enum { RUNS = 20 };
    for (int i = 0; i < RUNS; i++) {
        char name[200]; /* together longer than a path may be */
        memset(name, 'r', 80);
        snprintf(name + 80, sizeof name - 80, "%d", i);
        add_run(f, name, "finetune", 100, 20 + i);
    }
    const char *page = make_page(f, "");
    for (int i = 0; i < RUNS; i++) {
        char text[64];
        snprintf(text, sizeof text, "rrr%d)</strong> ended at FD-base <b>%d</b>", i, 20 + i);
        if (i > 0) assert_says(page, text);
        snprintf(text, sizeof text, "rrr%d)</th>", i);
        assert_says(page, text);
    }
    assert_says(page, "class=\"line s7\"");
    assert_says(page, "class=\"line s0 dashed\""); /* the ninth */
}

/* An experiment's folder with these runs as arms, and nothing else in the list of runs. */
static void gather_arms(fixture *f, const char *folder, const char *description)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", f->root, folder);
    write_file(f, folder, "experiment.json", description);
    snprintf(f->runs, sizeof f->runs, "%s", path);
}

static void an_experiment_stands_for_its_arms(void **state)
{
    fixture *f = *state;
    add_folder(f, "all");
    add_run(f, "all/finetune", "finetune", 100, 20);
    add_run(f, "all/steep", "diff-tuning", 100, 15);
    add_run(f, "all/flat", "diff-tuning", 100, 30);
    add_run(f, "all/unnamed", "diff-tuning", 100, 1);
    gather_arms(f, "all", "{\"arms\":[\"finetune\",\"steep\",\"flat\"],\"stages\":{}}");
    const char *page = make_page(f, "");
    assert_says(page,
                "<strong>steep</strong> (paper preset) ended at FD-base <b>15</b>, <strong>plain fine-tuning</strong>");
    assert_says(page, "</span>plain fine-tuning</th><th scope=\"col\"><span class=\"chip s1\"></span>steep</th>");
    assert_says(page, "</span>flat</th></tr>");
    assert_silent(page, "unnamed");
}

static void an_experiment_of_before_has_the_usual_arms(void **state)
{
    fixture *f = *state;
    add_folder(f, "all");
    add_run(f, "all/finetune", "finetune", 100, 20);
    add_run(f, "all/diff-tuning", "diff-tuning", 100, 15);
    gather_arms(f, "all", "{\"stages\":{}}");
    assert_says(make_page(f, ""), "<strong>Diff-Tuning</strong> (paper preset) ended at FD-base <b>15</b>");
}

static void a_list_of_arms_without_end_is_refused(void **state)
{
    fixture *f = *state;
    char text[4096] = "{\"arms\":[\"ft\"";
    add_folder(f, "all");
    add_run(f, "all/ft", "finetune", 100, 20);
    for (int i = 0; i < SETTINGS_CASES_MAX; i++) strcat(text, ",\"ft\"");
    strcat(text, "]}");
    gather_arms(f, "all", text);
    assert_refused(f, DT_ERR_FORMAT, "more than 512 arms");
}

static void a_study_of_the_most_cases_is_reported(void **state)
{
    fixture *f = *state;
    char text[8192] = "{\"arms\":[", name[32];
    add_folder(f, "all");
    for (int i = 0; i < SETTINGS_CASES_MAX; i++) {
        snprintf(name, sizeof name, "all/arm%d", i);
        f->runs[0] = '\0';
        add_run(f, name, "finetune", 100, 20);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s\"arm%d\"", i ? "," : "", i);
    }
    strcat(text, "]}");
    gather_arms(f, "all", text);
    assert_says(make_page(f, ""), "</span>arm511</th></tr>");
}

static void a_config_is_read_in_bounded_time(void **state)
{
    static char deep[1 << 20];
    fixture *f = *state;
    add_run(f, "ft", "finetune", 100, 20);
    memset(deep, '[', sizeof deep - 1);
    rewrite_config(f, "ft", deep);
    assert_refused(f, DT_ERR_FORMAT, "config.yaml:1: nested more than 32 deep");
}

static void measures_of_one_step_are_bounded(void **state)
{
    fixture *f = *state;
    add_run(f, "ft", "finetune", 100, 20);
    for (int i = 0; i < 65; i++) {
        char line[128];
        snprintf(line, sizeof line, "{\"kind\":\"eval\",\"step\":900,\"measure\":\"m%d\",\"count\":1}\n", i % 64);
        write_file(f, "ft", "metrics.jsonl", line);
    }
    make_page(f, "");
    assert_int_equal(remove(f->page), 0);
    write_file(f, "ft", "metrics.jsonl", "{\"kind\":\"eval\",\"step\":900,\"measure\":\"another\"}\n");
    assert_refused(f, DT_ERR_FORMAT, "more than 64 measures of one step");
}

static void arms_that_are_no_names_are_refused(void **state)
{
    static const char *const wrong[] = {"7", "{}", "[]", "[7]", "[\"\"]", "[\"../ft\"]", "null"};
    fixture *f = *state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char name[16], text[64];
        snprintf(name, sizeof name, "all%zu", i);
        snprintf(text, sizeof text, "{\"arms\":%s}", wrong[i]);
        add_folder(f, name);
        gather_arms(f, name, text);
        error_clear(&f->err);
        assert_refused(f, DT_ERR_FORMAT, "'arms' is not a list of names");
    }
    add_folder(f, "absent");
    gather_arms(f, "absent", "{\"arms\":[\"gone\"]}");
    error_clear(&f->err);
    assert_refused(f, DT_ERR_IO, "absent/gone': no such folder");
}

static void a_failed_report_leaves_the_old_page(void **state)
{
    fixture *f = *state;
    size_t size;
    add_run(f, "ft", "finetune", 100, 20);
    make_page(f, "old");
    write_file(f, "ft", "metrics.jsonl", "broken\n");
    assert_int_equal(report_write(f->page, f->runs, "new", &f->err), DT_ERR_FORMAT);
    error_clear(&f->err);
    free(f->text);
    assert_int_equal(file_read_all(&f->text, &size, f->page, 1 << 20, &f->err), DT_OK);
    assert_says(f->text, "<h1>old</h1>");
}

static void markup_from_files_and_title_is_escaped(void **state)
{
    fixture *f = *state;
    add_folder(f, "evil");
    write_file(
        f, "evil", "run.json",
        "{\"method\":\"<script>1\",\"preset\":\"<script>2\",\"tool\":\"<script>3\",\"method_line\":\"<script>4\","
        "\"classes\":[\"<script>5\"],\"<script>6\":1}");
    write_file(f, "evil", "config.yaml", "method: \"<script>7\"\ntau: '\"><script>8'\n");
    write_file(f, "evil", "data_report.json", "{\"skipped\":[{\"file\":\"<script>9\"}]}");
    write_file(f, "evil", "metrics.jsonl",
               "{\"kind\":\"eval\",\"step\":1,\"measure\":\"<script>10\\\" onload=\\\"1\",\"frechet_distance\":3}\n");
    const char *page = make_page(f, "</title><script>11");
    assert_silent(page, "<script");
    assert_silent(page, "\" onload=");
    assert_says(page, "&lt;script&gt;1");
    for (int i = 1; i <= 11; i++) {
        char text[32];
        snprintf(text, sizeof text, "&lt;script&gt;%d", i);
        assert_says(page, text);
    }
}

static void missing_numbers_are_dashes_and_gaps(void **state)
{
    fixture *f = *state;
    add_folder(f, "bare");
    write_file(f, "bare", "run.json", "{}");
    write_file(
        f, "bare", "metrics.jsonl",
        "{\"kind\":\"train\",\"step\":1,\"loss_target\":1}\n{\"kind\":\"train\",\"step\":2,\"loss_target\":null}\n"
        "{\"kind\":\"train\",\"step\":3,\"loss_target\":2}\n"
        "{\"kind\":\"eval\",\"step\":3,\"measure\":\"FD-base\",\"frechet_distance\":null}\n");
    const char *page = make_page(f, "");
    assert_silent(page, "nan");
    assert_silent(page, "inf");
    assert_says(page, "&ndash;");
    assert_says(page, "No finite values were recorded.");
    const char *line = strstr(page, "class=\"line s0 faint\" d=\"M");
    assert_non_null(line);
    assert_non_null(strchr(line + 26, 'M'));
    assert_true(strchr(line + 26, 'M') < strchr(line + 26, '>'));
}

/* ---- what it shows ---- */

/* A PNG header as far as it is measured, 5 x 3 pixels, and a tail of bytes of any kind. */
static size_t small_png(unsigned char png[64])
{
    static const unsigned char head[] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\5\0\0\0\3";
    memcpy(png, head, 24);
    for (int i = 24; i < 64; i++) png[i] = (unsigned char)(37 * i);
    return 64;
}

static void grids_are_embedded_byte_for_byte(void **state)
{
    fixture *f = *state;
    unsigned char png[64], decoded[200];
    size_t size = small_png(png), length = sizeof decoded;
    add_run(f, "ft", "finetune", 100, 20);
    add_png(f, "ft", "step_00000100.png", png, size);
    add_png(f, "ft", "step_100.jpg", (const unsigned char *)"no grid", 7);
    const char *page = make_page(f, "");
    const char *image = strstr(page, "width=\"5\" height=\"3\" src=\"data:image/png;base64,");
    assert_non_null(image);
    image = strchr(image, ',') + 1;
    struct base64_decode_ctx base64;
    base64_decode_init(&base64);
    assert_true(base64_decode_update(&base64, &length, decoded, strcspn(image, "\""), image));
    assert_int_equal(length, size);
    assert_memory_equal(decoded, png, size);
    assert_says(page, "plain fine-tuning, step 100");
}

static void the_page_is_self_contained(void **state)
{
    fixture *f = *state;
    unsigned char png[64];
    size_t size = small_png(png);
    add_run(f, "ft", "finetune", 100, 20);
    add_png(f, "ft", "step_00000000.png", png, size);
    add_png(f, "ft", "step_00000100.png", png, size);
    const char *page = make_page(f, "");
    assert_silent(page, "http:");
    assert_silent(page, "https:");
    assert_silent(page, "url(");
    for (const char *at = page; (at = strstr(at, "src=\"")); at++) assert_memory_equal(at, "src=\"data:", 10);
}

static void a_legend_names_what_has_a_line(void **state)
{
    fixture *f = *state;
    add_run(f, "ft", "finetune", 100, 20);
    add_folder(f, "other");
    write_file(f, "other", "run.json", "{\"method\":\"diff-tuning\"}");
    write_file(f, "other", "metrics.jsonl",
               "{\"kind\":\"eval\",\"step\":3,\"measure\":\"FD-squeezenet\",\"frechet_distance\":3}\n");
    const char *figure = strstr(make_page(f, ""), "<figcaption>FD-squeezenet over steps</figcaption>");
    assert_non_null(figure);
    char *end = strstr(figure, "</figure>");
    assert_non_null(end);
    *end = '\0';
    assert_says(figure, "</svg>Diff-Tuning</span>");
    assert_silent(figure, "plain fine-tuning");
}

/* ---- chains ---- */

static void write_chain(fixture *f, const char *folder, const char *points)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", f->root, folder);
    mkdir(path, 0700);
    write_file(f, folder, "chain.json",
               "{\"tail_model\": \"<base>\", \"tail_is_told\": \"nothing\", \"samples\": 512, ");
    write_file(f, folder, "chain.json", "\"measure\": \"FD-base\", \"reference_count\": 90, \"points\": ");
    write_file(f, folder, "chain.json", points);
}

static const char chain_points[] =
    "[{\"tail\": 0, \"folder\": \"p0\", \"frechet_distance\": 2.5}, {\"tail\": 0.1, \"folder\": \"p10\", "
    "\"frechet_distance\": 2.25}, {\"tail\": 1, \"folder\": \"p100\", \"frechet_distance\": 31.5}], \"best\": 1}";

static void a_chain_is_shown_by_itself_and_with_its_run(void **state)
{
    fixture *f = *state;
    static const unsigned char png[] = {0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 0, 0, 13, 'I', 'H', 'D', 'R', 0,
                                        0,    0,   7,   0,   0,  0,  9,  8,  2, 0, 0, 0,  0,   0,   0,   0};
    add_folder(f, "alone");
    write_chain(f, "alone", chain_points);
    mkdir(temp_path("alone/p10"), 0700);
    temp_write("alone/p10/grid.png", png, sizeof png);
    make_page(f, "");
    assert_says(f->text, "Chain of forgetting: ");
    assert_says(f->text, "made by &lt;base&gt;");
    assert_says(f->text, "with 10&nbsp;%, 2.25; with 100&nbsp;% it is 31.5.");
    assert_says(f->text, "width=\"7\" height=\"9\"");
    assert_says(f->text, "10 % by the base, the lowest distance");
    f->runs[0] = '\0';
    add_run(f, "tuned", "finetune", 10, 3);
    write_chain(f, "tuned/chain", chain_points);
    make_page(f, "");
    assert_says(f->text, "Chain of forgetting: plain fine-tuning");
    assert_says(f->text, "2.25");
}

static void a_chain_that_is_none_is_refused_by_name(void **state)
{
    fixture *f = *state;
    static const char *const bad[] = {
        "[], \"best\": 0}",
        "[{\"tail\": 0, \"folder\": \"../p0\"}], \"best\": 0}",
        "[{\"tail\": 0, \"folder\": \"..\"}], \"best\": 0}",
        "[{\"tail\": 2, \"folder\": \"p0\"}], \"best\": 0}",
        "[{\"tail\": 0, \"folder\": \"p0\"}], \"best\": 1}",
        "[{\"tail\": 0, \"folder\": \"p0\"}], \"best\": -1}",
        "[7], \"best\": 0}",
        "7, \"best\": 0}",
        "[{\"tail\": 0}], \"best\": 0",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char folder[32];
        snprintf(folder, sizeof folder, "bad%zu", i);
        f->runs[0] = '\0';
        add_folder(f, folder);
        write_chain(f, folder, bad[i]);
        assert_int_equal(report_write(f->page, f->runs, "", &f->err), DT_ERR_FORMAT);
        assert_says(f->err.message, "chain.json");
        error_clear(&f->err);
    }
}

static void a_grid_that_is_no_png_is_refused_by_name(void **state)
{
    fixture *f = *state;
    add_run(f, "ft", "finetune", 100, 20);
    static const unsigned char gif[64] = {'G', 'I', 'F', '8', '9', 'a', [19] = 1, [23] = 1};
    add_png(f, "ft", "step_00000100.png", gif, sizeof gif);
    assert_refused(f, DT_ERR_FORMAT, "samples/step_00000100.png: not a PNG file");
}

static void thinning_keeps_means_and_gaps(void **state)
{
    (void)state;
    double x[] = {0, 1, 2, 3, 4, 5}, y[] = {1, 3, NAN, 5, NAN, NAN};
    assert_int_equal(chart_thin(x, y, 6, 3), 3);
    assert_true(x[0] == 0.5 && x[1] == 2.5 && x[2] == 4.5);
    assert_true(y[0] == 2 && y[1] == 5 && isnan(y[2]));
    assert_int_equal(chart_thin(x, y, 3, 3), 3);
}

static void smoothing_has_no_bias_at_the_start(void **state)
{
    (void)state;
    double y[] = {4, 4, NAN, 4, 0}, smooth[5];
    chart_smooth(smooth, y, 5, 1);
    assert_true(fabs(smooth[0] - 4) < 1e-12 && fabs(smooth[1] - 4) < 1e-12 && isnan(smooth[2]));
    assert_true(fabs(smooth[4] - 4 * 7.0 / 15.0) < 1e-12); /* weights 1/16, 1/8, 1/4 on fours, 1/2 on the zero */
}

/* ---- a recipe's runs ---- */

static const char paper_settings[] =
    "recipe: Stanford <Cars>\npaper_fid_finetune: 6.04\npaper_fid_difffit: 5.81\npaper_fid_diff_tuning: 5.37\n"
    "learning_rate: 0.0001\nlr_scheduler: constant\nresolution: 256\npreset: paper\npsi: power\ntau: 1\n"
    "retention: preset\nablation: none\nsampler: ddim\nnum_inference_steps: 50\neta: 0\nguidance_scale: "
    "1.5\nbank_size: "
    "5000\n"
    "gradient_accumulation_steps: 1\n";

static void add_recipe_run(fixture *f, const char *run, const char *method, int batch, int steps, int samples)
{
    char text[1000], line[300];
    add_run(f, run, method, steps, 0);
    snprintf(text, sizeof text, "%strain_batch_size: %d\nmax_train_steps: %d\n", paper_settings, batch, steps);
    rewrite_config(f, run, text);
    if (samples == 0) return;
    snprintf(line, sizeof line,
             "{\"kind\":\"eval\",\"step\":%d,\"measure\":\"FID (tf1)\",\"frechet_distance\":7.25,"
             "\"count\":%d,\"reference_count\":8041}\n",
             steps, samples);
    write_file(f, run, "metrics.jsonl", line);
}

static void a_recipe_is_shown_beside_the_papers_numbers(void **state)
{
    fixture *f = *state;
    add_recipe_run(f, "ft", "finetune", 32, 24000, 10000);
    add_recipe_run(f, "dt", "diff-tuning", 32, 24000, 10000);
    const char *page = make_page(f, "");
    assert_says(page, "Beside the paper: Stanford &lt;Cars&gt;");
    assert_says(page,
                "plain fine-tuning</th><td></td><td>7.25</td><td>FID (tf1)</td><td>10000</td><td>8041</td><td>6.04<");
    assert_says(page,
                "Diff-Tuning</th><td>paper</td><td>7.25</td><td>FID (tf1)</td><td>10000</td><td>8041</td><td>5.37<");
    assert_says(page, "DiffFit (no run here)</th><td></td><td>&ndash;");
    assert_says(page, "Diff-Tuning follows the paper&rsquo;s protocol");
    assert_says(page, "memory bank (here 5000;");
    assert_silent(page, "does not follow");
}

static void runs_of_difffit_stand_beside_its_number(void **state)
{
    fixture *f = *state;
    add_recipe_run(f, "ft", "finetune", 32, 24000, 10000);
    write_file(f, "ft", "config.yaml", "adapter: difffit\n");
    const char *page = make_page(f, "");
    assert_says(page,
                "plain fine-tuning</th><td></td><td>7.25</td><td>FID (tf1)</td><td>10000</td><td>8041</td><td>5.81<");
    assert_silent(page, "DiffFit (no run here)");
}

/* A ControlNet alone makes a run one of controls, which the paper's table 1 is not about. */
static void a_run_that_is_told_a_control_is_beside_the_papers_other_half(void **state)
{
    static const char *const told[] = {"control: canny\n", "controlnet_model: net\n"};
    fixture *f = *state;
    add_recipe_run(f, "dt", "diff-tuning", 32, 24000, 0);
    assert_says(make_page(f, ""), "FID in the paper");
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        char text[100];
        snprintf(text, sizeof text, "recipe: x\ntrain_batch_size: 32\n%s", told[i]);
        rewrite_config(f, "dt", text);
        assert_says(make_page(f, ""), "images of a step 32 (paper 4)");
        assert_silent(f->text, "FID in the paper");
    }
}

static void a_rehearsal_says_in_what_it_differs(void **state)
{
    fixture *f = *state;
    add_recipe_run(f, "ft", "finetune", 4, 10, 64);
    add_recipe_run(f, "dt", "diff-tuning", 32, 24000, 0);
    const char *page = make_page(f, "");
    assert_says(page,
                "plain fine-tuning does not follow the paper&rsquo;s protocol: steps made 10 (paper 24000); images "
                "of a step 4 (paper 32); samples measured 64 (paper 10000). Its number");
    assert_says(page, "Diff-Tuning does not follow the paper&rsquo;s protocol: no FID was taken");
}

static void what_was_kept_is_named_whatever_the_preset(void **state)
{
    fixture *f = *state;
    add_recipe_run(f, "dt", "diff-tuning", 32, 24000, 0);
    rewrite_config(f, "dt", "recipe: x\npreset: distil\nretention: preset\nbank: drawn\n");
    assert_says(make_page(f, ""), "retention bank-distil (paper bank)");
    rewrite_config(f, "dt", "recipe: x\npreset: distil\nretention: preset\n");
    assert_says(make_page(f, ""), "retention target-distil (paper bank)");
    assert_says(make_page(f, ""), "<th scope=\"row\">retention</th><td>target-distil</td>");
    rewrite_config(f, "dt", "recipe: x\npreset: distil\nretention: preset\nbank: drawn\ncontrol: canny\n");
    assert_says(make_page(f, ""), "<th scope=\"row\">retention</th><td>none</td>");
    rewrite_config(f, "dt", "recipe: x\npreset: paper\nretention: bank\n"); /* as runs had it before */
    assert_silent(make_page(f, ""), "retention bank");
}

static void runs_without_a_recipe_are_not_compared_with_the_paper(void **state)
{
    fixture *f = *state;
    add_run(f, "dt", "diff-tuning", 100, 15);
    assert_silent(make_page(f, ""), "Beside the paper");
}

#define REPORT_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORT_TEST(a_lower_distance_of_diff_tuning_is_stated_as_ahead),
        REPORT_TEST(a_higher_distance_of_diff_tuning_is_stated_as_plainly),
        REPORT_TEST(distances_within_two_percent_are_called_a_tie),
        REPORT_TEST(different_budgets_are_said_to_differ),
        REPORT_TEST(different_batches_are_different_budgets),
        REPORT_TEST(runs_without_a_final_distance_are_not_ranked),
        REPORT_TEST(forgetting_is_stated_from_the_bank_and_shown_as_change),
        REPORT_TEST(losses_of_training_images_are_called_so),
        REPORT_TEST(runs_of_one_method_are_told_apart_by_their_folders),
        REPORT_TEST(after_a_resume_the_later_record_of_a_step_counts),
        REPORT_TEST(seconds_are_summed_over_resumptions),
        REPORT_TEST(seconds_of_a_short_first_call_count),
        REPORT_TEST(what_a_run_measured_and_kept_is_charted),
        REPORT_TEST(a_psi_that_is_none_is_refused_by_name),
        REPORT_TEST(a_broken_line_is_refused_with_its_number),
        REPORT_TEST(a_text_where_a_number_belongs_is_refused),
        REPORT_TEST(wrong_steps_sets_bands_and_measures_are_refused),
        REPORT_TEST(a_line_still_being_written_is_not_read),
        REPORT_TEST(records_of_other_kinds_are_passed_over),
        REPORT_TEST(a_run_that_only_measures_on_the_way_is_reported),
        REPORT_TEST(folders_that_are_no_runs_are_refused_by_name),
        REPORT_TEST(runs_of_any_number_have_a_column_and_a_line_each),
        REPORT_TEST(an_experiment_stands_for_its_arms),
        REPORT_TEST(an_experiment_of_before_has_the_usual_arms),
        REPORT_TEST(arms_that_are_no_names_are_refused),
        REPORT_TEST(a_list_of_arms_without_end_is_refused),
        REPORT_TEST(a_study_of_the_most_cases_is_reported),
        REPORT_TEST(a_config_is_read_in_bounded_time),
        REPORT_TEST(measures_of_one_step_are_bounded),
        REPORT_TEST(a_failed_report_leaves_the_old_page),
        REPORT_TEST(markup_from_files_and_title_is_escaped),
        REPORT_TEST(missing_numbers_are_dashes_and_gaps),
        REPORT_TEST(a_legend_names_what_has_a_line),
        REPORT_TEST(a_chain_is_shown_by_itself_and_with_its_run),
        REPORT_TEST(a_chain_that_is_none_is_refused_by_name),
        REPORT_TEST(grids_are_embedded_byte_for_byte),
        REPORT_TEST(the_page_is_self_contained),
        REPORT_TEST(a_grid_that_is_no_png_is_refused_by_name),
        REPORT_TEST(a_recipe_is_shown_beside_the_papers_numbers),
        REPORT_TEST(runs_of_difffit_stand_beside_its_number),
        REPORT_TEST(a_run_that_is_told_a_control_is_beside_the_papers_other_half),
        REPORT_TEST(a_rehearsal_says_in_what_it_differs),
        REPORT_TEST(what_was_kept_is_named_whatever_the_preset),
        REPORT_TEST(runs_without_a_recipe_are_not_compared_with_the_paper),
        REPORT_TEST(distances_of_weights_have_charts_and_a_table),
        REPORT_TEST(a_first_validation_shows_the_gap),
        REPORT_TEST(a_diagnosis_in_the_run_is_told_in_its_place),
        REPORT_TEST(what_several_diagnoses_foresaw_is_told_once_each),
        REPORT_TEST(a_folder_of_a_diagnosis_stands_beside_runs_or_alone),
        REPORT_TEST(what_is_named_twice_stands_once),
        REPORT_TEST(a_diagnosis_that_is_none_is_refused_by_name),
        cmocka_unit_test(thinning_keeps_means_and_gaps),
        cmocka_unit_test(smoothing_has_no_bias_at_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
