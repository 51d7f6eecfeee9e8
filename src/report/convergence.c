/* When samples begin to obey their controls (the paper's Appendix C): the measure over steps, where its curve jumps, where it reaches
 * the threshold, beside the paper's table 4, and what was drawn on the way. */
#include <math.h>
#include <string.h>

#include "report/page.h"
#include "report/plot.h"

/* ---- the curve ---- */

static void write_curves(html *out, const report *r)
{
    plot p = {.chart = {.title = "Obedience to the control", .x_label = "step", .y_label = "SSIM, MSE or accuracy"}};
    for (int64_t i = 0; i < r->count; i++) {
        const run *one = &r->runs[i].run;
        const int64_t n = one->convergence_count;
        double *x = n ? plot_add(&p, r->runs[i].label, r->runs[i].colour, r->runs[i].dashed, n) : NULL;
        for (int64_t k = 0; x && k < n; k++) {
            x[k] = one->convergence[k].step;
            x[n + k] = one->convergence[k].value;
            x[2 * n + k] = one->convergence[k].value - 1.96 * one->convergence[k].error;
            x[3 * n + k] = one->convergence[k].value + 1.96 * one->convergence[k].error;
        }
        if (!x) continue;
        plot_newest(&p)->markers = n <= 50;
        plot_newest(&p)->low = x + 2 * n;
        plot_newest(&p)->high = x + 3 * n;
    }
    plot_write(out, &p);
}

/* ---- the table ---- */

static void cell_number(html *out, double value)
{
    html_markup(out, "<td>");
    html_number(out, value);
    html_markup(out, "</td>");
}

static void cell_range(html *out, double from, double to, const char *between)
{
    html_markup(out, "<td>");
    html_number(out, from);
    if (!isnan(from) || !isnan(to)) {
        html_markup(out, "%s", between);
        html_number(out, to);
    }
    html_markup(out, "</td>");
}

static void write_row(html *out, const report_run *r)
{
    const run_convergence *last = &r->run.convergence[r->run.convergence_count - 1];
    const run_obedience o = run_find_obedience(&r->run);
    html_element(out, "<tr><th scope=\"row\">", r->label, "</th>");
    html_element(out, "<td>", last->control, "</td>");
    html_element(out, "<td>", last->measure, "</td>");
    cell_number(out, last->value);
    cell_number(out, o.threshold);
    cell_number(out, o.reached);
    cell_range(out, o.early, o.late, " to ");
    cell_number(out, o.jump);
    cell_range(out, o.jump_first, o.jump_last, " to ");
    cell_range(out, o.before, o.after, " \xe2\x86\x92 ");
    html_markup(out, "</tr>\n");
}

static void write_table(html *out, const report *r)
{
    html_markup(out, "<div class=\"wide\"><table><thead><tr><th>Run</th><th>Control</th><th>Measure</th><th>Last</th>"
                     "<th>Threshold</th><th>Reached at step</th><th>95 %% of it</th><th>Jump at step</th>"
                     "<th>95 %% of it</th>"
                     "<th>Before and after</th></tr></thead><tbody>\n");
    for (int64_t i = 0; i < r->count; i++)
        if (r->runs[i].run.convergence_count) write_row(out, &r->runs[i]);
    html_markup(out, "</tbody></table></div>\n");
}

/* ---- beside the paper ---- */

static void write_steps(html *out, const char *label, run_steps s, double published)
{
    html_element(out, "<tr><th scope=\"row\">", label, "</th>");
    cell_number(out, s.step);
    cell_range(out, s.first, s.last, " to ");
    cell_number(out, published);
    html_markup(out, "</tr>\n");
}

/* Of the first run of a method that is about the row; NULL: none. */
static const report_run *find_run(const report *r, const map_published *row, dt_method method)
{
    for (int64_t i = 0; i < r->count; i++)
        if (run_published_row(&r->runs[i].run) == row && run_is(&r->runs[i].run, method)) return &r->runs[i];
    return NULL;
}

/* As far apart as both intervals allow. */
static run_steps ratio_of(run_steps a, run_steps b)
{
    return (run_steps){a.step / b.step, a.first / b.last, a.last / b.first, false};
}

static void write_published_row(html *out, const report *r, const map_published *row)
{
    html_markup(out,
                "<h3>Beside the paper&rsquo;s table 4: %s</h3>\n<p class=\"quiet\">There at 512 pixels, threshold "
                "%.3g. A step here is that of the run&rsquo;s threshold, or of its jump where it has none.</p>\n"
                "<div class=\"wide\"><table><thead><tr><td></td><th>Obeys from step</th><th>95 %% of it</th><th>In the "
                "paper</th></tr></thead><tbody>\n",
                row->row, row->threshold);
    for (int64_t i = 0; i < r->count; i++) {
        const report_run *one = &r->runs[i];
        if (run_published_row(&one->run) != row) continue;
        write_steps(out, one->label, run_obeys_from(&one->run),
                    run_is(&one->run, DT_METHOD_DIFF_TUNING) ? row->difftuning : row->plain);
    }
    const report_run *plain = find_run(r, row, DT_METHOD_FINETUNE), *tuned = find_run(r, row, DT_METHOD_DIFF_TUNING);
    if (plain && tuned)
        write_steps(out, "Diff-Tuning over plain", ratio_of(run_obeys_from(&tuned->run), run_obeys_from(&plain->run)),
                    row->difftuning / row->plain);
    html_markup(out, "</tbody></table></div>\n");
}

static void write_published(html *out, const report *r)
{
    for (const map_published *row = map_published_rows; row < map_published_rows + MAP_PUBLISHED; row++) {
        bool any = false;
        for (int64_t i = 0; i < r->count; i++) any = any || run_published_row(&r->runs[i].run) == row;
        if (any) write_published_row(out, r, row);
    }
}

dt_status page_convergence(html *out, const report *r, dt_error *err)
{
    int64_t total = 0;
    dt_status status = DT_OK;
    for (int64_t i = 0; i < r->count; i++) total += r->runs[i].run.convergence_count;
    if (total == 0) return DT_OK;
    html_markup(
        out, "<section class=\"card\"><h2>When samples obey their control</h2>\n"
             "<p>The annotator that made the controls of held-out pictures reads what is drawn by them, from the same "
             "noise each time, and its maps are compared with the controls. The paper calls the jump of this curve "
             "<i>sudden convergence</i>. The jump is where two levels fit the curve best; it is told where they fit "
             "it clearly better than one and are farther apart than the measure&rsquo;s error.</p>\n<div "
             "class=\"charts\">\n");
    write_curves(out, r);
    html_markup(out, "</div>\n");
    write_table(out, r);
    write_published(out, r);
    for (int64_t i = 0; status == DT_OK && i < r->count; i++) {
        const run *one = &r->runs[i].run;
        if (one->strip_count)
            status = page_strip(out, r->runs[i].label, ": controls, samples, maps of the samples", one->strip,
                                one->strip_count, err);
    }
    html_markup(out, "</section>\n");
    return status;
}
