/* The transfer gap: what difftune diagnose found before a run, or else what a run's first validation says of it. */
#include "report/page.h"
#include "report/plot.h"

#include "file/json_file.h"

enum { BANDS = RUN_BANDS };

static chart gap_axes(const char *title)
{
    return (chart){.title = title,
                   .x_label = "t (0: clean, 999: noise)",
                   .y_label = "loss above the other's, in %",
                   .x_high = BANDS * RUN_BAND_STEPS,
                   .zero_line = true};
}

/* ---- of a diagnosis ---- */

report_finding report_finding_at(const report *r, int64_t number)
{
    if (number < r->diagnosis_count) return (report_finding){r->diagnoses[number].folder, r->diagnoses[number].found};
    number -= r->diagnosis_count;
    for (const report_run *one = r->runs; one < r->runs + r->count; one++)
        if (one->run.diagnosis && number-- == 0) return (report_finding){one->label, one->run.diagnosis};
    return (report_finding){0};
}

/* A gap over t between the ends of its interval. */
static void gap_chart(html *out, const char *title, const json_t *gap)
{
    static const char *const ends[] = {"value", "low", "high"};
    double x[BANDS], y[3][BANDS];
    chart_series series[3];
    const json_t *bands = json_object_get(gap, "bands");
    if (json_array_size(bands) != BANDS) return;
    for (int k = 0; k < 3; k++) {
        for (int b = 0; b < BANDS; b++) {
            const json_t *relative = json_object_get(json_array_get(bands, (size_t)b), "relative");
            x[b] = run_band_middle(b);
            y[k][b] = 100 * json_number_at(relative, ends[k]);
        }
        series[k] = (chart_series){.label = k == 0   ? "gap"
                                            : k == 1 ? "95 % interval"
                                                     : NULL,
                                   .colour = k == 0 ? "s0" : "base",
                                   .markers = k == 0,
                                   .dashed = k > 0,
                                   .count = BANDS,
                                   .x = x,
                                   .y = y[k]};
    }
    chart axes = gap_axes(title);
    axes.series_count = 3;
    axes.series = series;
    chart_write(out, &axes);
}

static void write_lines(html *out, const json_t *lines)
{
    const json_t *line;
    size_t i;
    html_markup(out, "<ul>\n");
    json_array_foreach(lines, i, line)
    {
        if (json_is_string(line)) html_element(out, "<li>", json_string_value(line), "</li>\n");
    }
    html_markup(out, "</ul>\n");
}

static void write_diagnosis(html *out, const char *label, const json_t *found)
{
    html_element(out, "<h3>", label, "</h3>\n");
    write_lines(out, json_object_get(json_object_get(found, "advice"), "lines"));
    html_markup(out, "<div class=\"charts\">\n");
    gap_chart(out, "Your pictures against the base's own samples", json_object_get(found, "target_against_own"));
    gap_chart(out, "Your pictures against its source", json_object_get(found, "target_against_source"));
    gap_chart(out, "The base's own samples against its source", json_object_get(found, "own_against_source"));
    html_markup(out, "</div>\n");
}

/* ---- of a first validation ---- */

static const run_validation *first_validation(const run *r, int set)
{
    return r->validation_count[set] && r->validation[set][0].step == 0 ? &r->validation[set][0] : NULL;
}

static bool has_both(const report_run *r)
{
    return first_validation(&r->run, RUN_TARGET) && first_validation(&r->run, RUN_BANK);
}

static void first_chart(html *out, const report *r)
{
    plot p = {.chart = gap_axes("Target images against the memory bank, step 0")};
    for (int64_t i = 0; i < r->count; i++) {
        const report_run *one = &r->runs[i];
        if (one->run.diagnosis || !has_both(one)) continue;
        double *x = plot_add(&p, one->label, one->colour, one->dashed, BANDS);
        if (!x) continue;
        plot_newest(&p)->markers = true;
        for (int b = 0; b < BANDS; b++) {
            x[b] = run_band_middle(b);
            x[BANDS + b] = 100 * (first_validation(&one->run, RUN_TARGET)->band_mse[b] /
                                      first_validation(&one->run, RUN_BANK)->band_mse[b] -
                                  1);
        }
    }
    html_markup(out, "<p>From the first validation, before any step: the loss on the target images above that on the "
                     "memory bank, without intervals. difftune diagnose measures it with them.</p>\n"
                     "<div class=\"charts\">\n");
    plot_write(out, &p);
    html_markup(out, "</div>\n");
}

/* ---- the section ---- */

void page_diagnosis(html *out, const report *r)
{
    bool first = false;
    report_finding one = report_finding_at(r, 0);
    for (int64_t i = 0; i < r->count; i++) first = first || (!r->runs[i].run.diagnosis && has_both(&r->runs[i]));
    if (!one.found && !first) return;
    html_markup(
        out, "<section class=\"card\"><h2>Transfer gap</h2>\n"
             "<p>How much worse the untuned base denoises the new pictures than what it knows, over t. Where the gap "
             "rises with t, the premise of Diff-Tuning holds; where it is largest at small t, clean steps have to "
             "be learned too.</p>\n");
    for (int64_t i = 0; one.found; one = report_finding_at(r, ++i)) write_diagnosis(out, one.label, one.found);
    if (first) first_chart(out, r);
    html_markup(out, "</section>\n");
}
