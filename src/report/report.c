#include "report/report.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "file/json_file.h"
#include "file/names.h"
#include "report/chart.h"
#include "report/page.h"
#include "settings/settings.h"

/* An arm's name; where that is its method's word, or there is none, what people call the method. */
static const char *name_of(const report_run *r)
{
    const char *method = run_text(&r->run, "method");
    int number = settings_word_number("method", method);
    if (r->arm[0] && strcmp(r->arm, method)) return r->arm;
    return number >= 0 ? settings_method_names[number] : *method ? method : "run";
}

/* What tells runs of one method apart: the folder's last name, or the whole path where those are equal too. */
static const char *folder_name(const report *r, int64_t at)
{
    const char *mine = strrchr(r->runs[at].run.folder, '/');
    if (!mine) return r->runs[at].run.folder;
    for (int64_t i = 0; i < r->count; i++) {
        const char *other = strrchr(r->runs[i].run.folder, '/');
        if (i != at && strcmp(other ? other : "", mine) == 0) return r->runs[at].run.folder;
    }
    return mine + 1;
}

static void name_runs(report *r)
{
    for (int64_t i = 0; i < r->count; i++) {
        report_run *one = &r->runs[i];
        bool shared = false;
        const char *name = name_of(one);
        for (int64_t j = 0; j < r->count; j++) shared = shared || (i != j && !strcmp(name, name_of(&r->runs[j])));
        if (shared)
            snprintf(one->label, REPORT_LABEL_MAX, "%.60s (%.240s)", name, folder_name(r, i));
        else
            snprintf(one->label, REPORT_LABEL_MAX, "%.300s", name);
        one->colour = chart_colour(i, &one->dashed);
        one->summary = run_summarise(&one->run);
    }
}

static void find_measures(report *r)
{
    for (int64_t i = 0; i < r->count; i++) {
        for (int64_t e = 0; e < r->runs[i].run.eval_count; e++) {
            const char *measure = r->runs[i].run.eval[e].measure;
            bool known = r->measure_count == RUN_MEASURES_MAX;
            for (int64_t m = 0; m < r->measure_count; m++) known = known || strcmp(r->measures[m], measure) == 0;
            if (!known) strcpy(r->measures[r->measure_count++], measure);
        }
    }
}

/* ---- which runs ---- */

/* What is named twice, or belongs to a run that is named too, stands on the page once. */
static bool is_there(const report *r, const char *folder)
{
    bool found = false;
    for (int64_t i = 0; i < r->count; i++) found = found || file_is_same(r->runs[i].run.folder, folder);
    for (int64_t i = 0; i < r->chain_count; i++) found = found || file_is_same(r->chains[i].folder, folder);
    for (int64_t i = 0; i < r->diagnosis_count; i++) found = found || file_is_same(r->diagnoses[i].folder, folder);
    return found;
}

static dt_status add_chain(report *r, const char *folder, int64_t run_number, dt_error *err)
{
    if (is_there(r, folder)) return DT_OK;
    report_chain *grown = realloc(r->chains, (size_t)(r->chain_count + 1) * sizeof *grown);
    if (!grown) return error_set(err, DT_ERR_MEMORY, "report: not enough memory for its chains");
    r->chains = grown;
    report_chain *one = &grown[r->chain_count];
    *one = (report_chain){0};
    if (report_chain_open(one, folder, err) != DT_OK) return err->status;
    one->run = run_number;
    r->chain_count++;
    return DT_OK;
}

static bool has_file(const char *folder, const char *name)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, name);
    return file_exists(path);
}

/* A chain that was measured into the run's folder belongs to it. */
static dt_status add_run(report *r, const char *folder, const char *arm, dt_error *err)
{
    if (is_there(r, folder)) return DT_OK;
    report_run *grown = realloc(r->runs, (size_t)(r->count + 1) * sizeof *grown);
    if (!grown) return error_set(err, DT_ERR_MEMORY, "report: not enough memory for its runs");
    r->runs = grown;
    report_run *one = &grown[r->count];
    *one = (report_run){0};
    snprintf(one->arm, sizeof one->arm, "%s", arm);
    if (run_open(&one->run, folder, err) != DT_OK) return err->status;
    r->count++;
    char inside[DT_PATH_MAX];
    file_join(inside, folder, "chain");
    return has_file(inside, CHAIN_FILE) ? add_chain(r, inside, r->count - 1, err) : DT_OK;
}

static dt_status add_arm(report *r, const char *folder, const char *name, dt_error *err)
{
    char run_folder[DT_PATH_MAX];
    file_join(run_folder, folder, name);
    return add_run(r, run_folder, name, err);
}

/* Experiments of before their arms were written down have the usual two. */
static dt_status add_usual_arms(report *r, const char *folder, dt_error *err)
{
    settings_arms usual;
    settings_arms_default(&usual, err);
    for (int i = 0; i < usual.count && err->status == DT_OK; i++) add_arm(r, folder, usual.arm[i].name, err);
    settings_arms_free(&usual);
    return err->status;
}

/* The runs of the arms that `path`, the folder's experiment.json, names. */
static dt_status add_experiment(report *r, const char *folder, const char *path, dt_error *err)
{
    json_t *all = json_file_read(path, err);
    const json_t *names = json_object_get(all, "arms");
    if (!names && err->status == DT_OK) add_usual_arms(r, folder, err);
    if (json_array_size(names) > SETTINGS_CASES_MAX)
        error_set(err, DT_ERR_FORMAT, "%s: more than %d arms", path, SETTINGS_CASES_MAX);
    for (size_t i = 0; names && err->status == DT_OK && (i == 0 || i < json_array_size(names)); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (name && *name && strlen(name) < SETTINGS_ARM_NAME_MAX && !strchr(name, '/'))
            add_arm(r, folder, name, err);
        else
            error_set(err, DT_ERR_FORMAT, "%s: 'arms' is not a list of names", path);
    }
    json_decref(all);
    return err->status;
}

static dt_status add_diagnosis(report *r, const char *folder, const char *path, dt_error *err)
{
    if (is_there(r, folder)) return DT_OK;
    report_diagnosis *grown = realloc(r->diagnoses, (size_t)(r->diagnosis_count + 1) * sizeof *grown);
    if (!grown) return error_set(err, DT_ERR_MEMORY, "report: not enough memory for its diagnoses");
    r->diagnoses = grown;
    report_diagnosis *one = &grown[r->diagnosis_count];
    snprintf(one->folder, sizeof one->folder, "%s", folder);
    one->found = run_read_diagnosis(path, err);
    if (one->found) r->diagnosis_count++;
    return err->status;
}

/* A folder of an experiment, a run, a chain or a diagnosis; a run's may have files of the last two. */
static dt_status add_folder(report *r, const char *folder, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, EXPERIMENT_FILE);
    if (file_exists(path)) return add_experiment(r, folder, path, err);
    if (has_file(folder, RUN_FILE)) return add_run(r, folder, "", err);
    if (has_file(folder, CHAIN_FILE)) return add_chain(r, folder, -1, err);
    file_join(path, folder, DIAGNOSIS_FILE);
    return file_exists(path) ? add_diagnosis(r, folder, path, err) : add_run(r, folder, "", err);
}

/* The next of the comma-separated folders, without blanks and slashes around it; its length, 0 after the last. */
static size_t next_folder(const char **folder, const char **at)
{
    while (**at == ',' || isspace((unsigned char)**at)) ++*at;
    size_t length = strcspn(*at, ",");
    *folder = *at;
    *at += length;
    while (length > 1 && (isspace((unsigned char)(*folder)[length - 1]) || (*folder)[length - 1] == '/')) length--;
    return length;
}

static dt_status open_runs(report *r, const char *runs, dt_error *err)
{
    size_t length;
    for (const char *start; err->status == DT_OK && (length = next_folder(&start, &runs)) > 0;) {
        char folder[DT_PATH_MAX];
        if (length > FILE_FOLDER_MAX)
            return error_set(err, DT_ERR_ARG, "runs: a folder's path is longer than %d bytes", FILE_FOLDER_MAX);
        snprintf(folder, sizeof folder, "%.*s", (int)length, start);
        add_folder(r, folder, err);
    }
    if (err->status == DT_OK && r->count + r->chain_count + r->diagnosis_count == 0)
        error_set(err, DT_ERR_ARG, "runs: expected run folders, separated by commas; found none");
    if (err->status != DT_OK) return err->status;
    name_runs(r);
    find_measures(r);
    return DT_OK;
}

static void write_notes(html *out)
{
    html_markup(
        out,
        "<section class=\"card\"><h2>How to read the measures</h2>\n<ul>\n"
        "<li><b>FD-base</b> is the Frechet distance between samples and held-out images in features of the frozen base "
        "model itself (its middle block). <b>It is not FID</b>: FID uses the Inception network, and no value here "
        "compares with a published FID. Features of the base model may favour what the base model knows.</li>\n"
        "<li><b>FD-squeezenet</b>, where shown, is the same distance in features of SqueezeNet v1.1. It is not FID "
        "either.</li>\n"
        "<li><b>KID</b>, where shown, is the kernel distance in the same features, over subsets; &plusmn; is the "
        "standard deviation over these subsets, not over seeds.</li>\n"
        "<li>A dash is a value that was not recorded or was not finite.</li>\n"
        "</ul></section>\n");
}

static void write_origin(html *out, const report *r)
{
    if (r->count == 0) return;
    html_element(out, "<p class=\"quiet\">", run_text(&r->runs[0].run, "tool"), "");
    html_element(out, *run_text(&r->runs[0].run, "started") ? " &middot; first run started " : "",
                 run_text(&r->runs[0].run, "started"), "</p>");
}

static dt_status write_runs(html *out, const report *r, dt_error *err)
{
    page_verdict(out, r);
    page_protocol(out, r);
    page_run_table(out, r);
    dt_status status = page_grids(out, r, err);
    if (status == DT_OK) status = page_convergence(out, r, err);
    page_distance_charts(out, r);
    page_diagnosis(out, r);
    page_forgetting_charts(out, r);
    page_weights(out, r);
    page_training_charts(out, r);
    page_data(out, r);
    page_differences(out, r);
    page_origins(out, r);
    return status;
}

/* Of diagnoses and chains alone there is less to tell. */
static dt_status write_sections(html *out, const report *r, dt_error *err)
{
    dt_status status = DT_OK;
    if (r->count)
        status = write_runs(out, r, err);
    else
        page_diagnosis(out, r);
    if (status == DT_OK) status = page_chains(out, r, err);
    if (r->count + r->chain_count > 0) write_notes(out);
    return status;
}

static dt_status write_all(html *out, const void *user, dt_error *err)
{
    const report *r = user;
    write_origin(out, r);
    html_markup(out, "</header>\n");
    return write_sections(out, r, err);
}

dt_status report_write(const char *output, const char *runs, const char *title, dt_error *err)
{
    report r = {0};
    dt_status status = open_runs(&r, runs, err);
    if (status == DT_OK) status = page_write(output, *title ? title : "Diff-Tuning report", write_all, &r, err);
    for (int64_t i = 0; i < r.count; i++) run_close(&r.runs[i].run);
    for (int64_t i = 0; i < r.chain_count; i++) report_chain_close(&r.chains[i]);
    for (int64_t i = 0; i < r.diagnosis_count; i++) json_decref(r.diagnoses[i].found);
    free(r.runs);
    free(r.chains);
    free(r.diagnoses);
    return status;
}
