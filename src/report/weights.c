/* How far the weights of each run went from where they started: figure 5 of the paper. */
#include "report/page.h"
#include "report/plot.h"

#include <math.h>
#include <string.h>

static double get_squares(const run_weights *w)
{
    return w->squares;
}

static double get_per_value(const run_weights *w)
{
    return w->per_value;
}

static const run_weights *last_of(const report_run *r)
{
    const int64_t count = r->run.weights_count;
    return count ? &r->run.weights[count - 1] : NULL;
}

/* Room for a line of a run: x first, y behind; NULL when memory is out. */
static double *add_line(plot *p, const report_run *r, int64_t count)
{
    double *x = plot_add(p, r->label, r->colour, r->dashed, count);
    if (x) plot_newest(p)->markers = true;
    return x;
}

static void over_steps(html *out, const report *r, const char *title, double (*get)(const run_weights *))
{
    plot p = {.chart = {.title = title, .x_label = "step", .y_label = "squared distance"}};
    for (int64_t i = 0; i < r->count; i++) {
        const run *one = &r->runs[i].run;
        double *x = one->weights_count > 0 ? add_line(&p, &r->runs[i], one->weights_count) : NULL;
        for (int64_t k = 0; x && k < one->weights_count; k++) {
            x[k] = one->weights[k].step;
            x[one->weights_count + k] = get(&one->weights[k]);
        }
    }
    plot_write(out, &p);
}

static void over_blocks(html *out, const report *r)
{
    plot p = {.chart = {.title = "For each trained value, by block, at the end",
                        .x_label = "block (0: nearest to the input)",
                        .y_label = "squared distance"}};
    for (int64_t i = 0; i < r->count; i++) {
        const run_weights *last = last_of(&r->runs[i]);
        double *x = last && last->blocks > 0 ? add_line(&p, &r->runs[i], last->blocks) : NULL;
        for (int b = 0; x && b < last->blocks; b++) {
            x[b] = b;
            x[last->blocks + b] = last->block[b];
            p.chart.x_high = fmax(p.chart.x_high, b);
        }
    }
    plot_write(out, &p);
}

static double of_kind(const run_weights *w, const char *kind)
{
    for (int k = 0; w && k < w->kinds; k++)
        if (!strcmp(w->layers[k].kind, kind)) return w->layers[k].per_value;
    return (double)NAN;
}

/* A row for each kind of layer that a run before has not had. */
static void by_kind(html *out, const report *r)
{
    html_markup(out, "<div class=\"wide\"><table><thead><tr><th>Layers, for each trained value</th>");
    for (int64_t i = 0; i < r->count; i++)
        if (last_of(&r->runs[i])) html_element(out, "<th>", r->runs[i].label, "</th>");
    html_markup(out, "</tr></thead><tbody>\n");
    for (int64_t i = 0; i < r->count; i++) {
        const run_weights *mine = last_of(&r->runs[i]);
        for (int k = 0; mine && k < mine->kinds; k++) {
            bool told = false;
            for (int64_t j = 0; j < i; j++) told = told || !isnan(of_kind(last_of(&r->runs[j]), mine->layers[k].kind));
            if (told) continue;
            html_element(out, "<tr><th>", mine->layers[k].kind, "</th>");
            for (int64_t j = 0; j < r->count; j++) {
                if (!last_of(&r->runs[j])) continue;
                html_markup(out, "<td>");
                html_number(out, of_kind(last_of(&r->runs[j]), mine->layers[k].kind));
                html_markup(out, "</td>");
            }
            html_markup(out, "</tr>\n");
        }
    }
    html_markup(out, "</tbody></table></div>\n");
}

void page_weights(html *out, const report *r)
{
    bool any = false;
    for (int64_t i = 0; i < r->count; i++) any = any || last_of(&r->runs[i]);
    if (!any) return;
    html_markup(out,
                "<section class=\"card\"><h2>How far the weights went</h2>\n"
                "<p>Squared L2 distance of what trains to where it started, which the paper calls EWC and reads as "
                "forgetting. Runs that train different weights compare for each trained value only.</p>\n"
                "<div class=\"charts\">\n");
    over_steps(out, r, "Squared distance to the start", get_squares);
    over_steps(out, r, "Squared distance to the start, for each trained value", get_per_value);
    over_blocks(out, r);
    html_markup(out, "</div>\n");
    by_kind(out, r);
    html_markup(out, "</section>\n");
}
