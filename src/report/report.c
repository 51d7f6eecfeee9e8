#include "report/report.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "file/file.h"
#include "report/page.h"
#include "settings/settings.h"

static const char *method_name(const run *r)
{
    const char *method = run_text(r, "method");
    int number = settings_word_number("method", method);
    return number >= 0 ? settings_method_names[number] : *method ? method : "run";
}

bool report_is(const report_run *r, dt_method method)
{
    return settings_word_number("method", run_text(&r->run, "method")) == (int)method;
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
    static const char *const colours[REPORT_RUNS_MAX] = {"s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"};
    for (int64_t i = 0; i < r->count; i++) {
        bool shared = false;
        const char *name = method_name(&r->runs[i].run);
        for (int64_t j = 0; j < r->count; j++)
            shared = shared || (i != j && strcmp(name, method_name(&r->runs[j].run)) == 0);
        if (shared)
            snprintf(r->runs[i].label, REPORT_LABEL_MAX, "%.60s (%.240s)", name, folder_name(r, i));
        else
            snprintf(r->runs[i].label, REPORT_LABEL_MAX, "%.300s", name);
        r->runs[i].colour = colours[i];
        r->runs[i].summary = run_summarise(&r->runs[i].run);
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

/* The next of the comma-separated folders, without blanks and slashes around it; false after the last. */
static bool next_folder(char folder[DT_PATH_MAX], const char **at)
{
    while (**at == ',' || isspace((unsigned char)**at)) ++*at;
    size_t length = strcspn(*at, ",");
    const char *start = *at;
    *at += length;
    while (length > 1 && (isspace((unsigned char)start[length - 1]) || start[length - 1] == '/')) length--;
    snprintf(folder, DT_PATH_MAX, "%.*s", (int)length, start);
    return length > 0;
}

static dt_status open_runs(report *r, const char *runs, dt_error *err)
{
    char folder[DT_PATH_MAX];
    if (strlen(runs) >= DT_PATH_MAX) return error_set(err, DT_ERR_ARG, "runs: longer than %d bytes", DT_PATH_MAX - 1);
    while (next_folder(folder, &runs)) {
        if (r->count == REPORT_RUNS_MAX)
            return error_set(err, DT_ERR_ARG, "runs: more than %d run folders in one report", REPORT_RUNS_MAX);
        dt_status status = run_open(&r->runs[r->count].run, folder, err);
        if (status != DT_OK) return status;
        r->count++;
    }
    if (r->count == 0) return error_set(err, DT_ERR_ARG, "runs: expected run folders, separated by commas; found none");
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
        "standard "
        "deviation over these subsets, not over seeds.</li>\n"
        "<li>A dash is a value that was not recorded or was not finite.</li>\n"
        "</ul></section>\n");
}

static dt_status write_page(html *out, const report *r, const char *title, dt_error *err)
{
    const char *heading = *title ? title : "Diff-Tuning report";
    html_element(out,
                 "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                 "<meta name=\"color-scheme\" content=\"light dark\">\n<title>",
                 heading, "</title>\n<style>\n");
    html_markup(out, "%s", report_style);
    html_element(out, "</style></head><body><main>\n<header><h1>", heading, "</h1>\n");
    html_element(out, "<p class=\"quiet\">", run_text(&r->runs[0].run, "tool"), "");
    html_element(out, *run_text(&r->runs[0].run, "started") ? " &middot; first run started " : "",
                 run_text(&r->runs[0].run, "started"), "</p></header>\n");
    page_verdict(out, r);
    page_protocol(out, r);
    page_run_table(out, r);
    dt_status status = page_grids(out, r, err);
    page_distance_charts(out, r);
    page_forgetting_charts(out, r);
    page_training_charts(out, r);
    page_data(out, r);
    page_differences(out, r);
    page_origins(out, r);
    write_notes(out);
    html_markup(out, "</main></body></html>\n");
    return status;
}

static dt_status write_report(const char *output, const report *r, const char *title, dt_error *err)
{
    html page;
    dt_status status = html_open(&page, err);
    if (status == DT_OK) status = write_page(&page, r, title, err);
    if (status == DT_OK) status = html_close(&page, err);
    if (status == DT_OK) status = file_write_atomic(output, page.text, page.size, err);
    html_free(&page);
    return status;
}

dt_status report_write(const char *output, const char *runs, const char *title, dt_error *err)
{
    report *r = calloc(1, sizeof *r);
    text_c_numbers
        numbers; /* those of SVG and CSS have a decimal point, whatever language the calling program speaks */
    dt_status status = DT_OK;
    if (!text_enter_c_numbers(&numbers) || !r) status = error_set(err, DT_ERR_MEMORY, "report: not enough memory");
    if (status == DT_OK) status = open_runs(r, runs, err);
    if (status == DT_OK) status = write_report(output, r, title, err);
    for (int64_t i = 0; r && i < r->count; i++) run_close(&r->runs[i].run);
    free(r);
    text_leave_c_numbers(&numbers);
    return status;
}
