/* How far the weights of each run went from where they started: figure 5 of the paper. */
#include "report/page.h"
#include "report/chart.h"

#include <math.h>
#include <stdlib.h>
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

/* What the lines of a chart lie in: one for each run that has points. */
typedef struct lines {
    chart_series *series;
    double *points;
    int64_t count, used;
} lines;

static bool lines_open(lines *l, const report *r, int64_t points)
{
    const size_t runs = r->count > 0 ? (size_t)r->count : 0, room = points > 0 ? 2 * (size_t)points : 0;
    *l = (lines){.series = calloc(runs + 1, sizeof *l->series), .points = calloc(room + 1, sizeof *l->points)};
    return l->series && l->points;
}

/* Room for a line of `count` points: x first, y behind. */
static double *lines_add(lines *l, const report_run *r, int64_t count)
{
    double *x = l->points + l->used;
    l->series[l->count++] = (chart_series){.label = r->label,
                                           .colour = r->colour,
                                           .dashed = r->dashed,
                                           .markers = true,
                                           .count = count,
                                           .x = x,
                                           .y = x + count};
    l->used += 2 * count;
    return x;
}

static void lines_write(html *out, lines *l, chart c)
{
    c.series = l->series;
    c.series_count = l->count;
    if (l->count > 0) chart_write(out, &c);
    free(l->series);
    free(l->points);
}

static void over_steps(html *out, const report *r, const char *title, double (*get)(const run_weights *))
{
    lines l;
    int64_t points = 0;
    for (int64_t i = 0; i < r->count; i++) points += r->runs[i].run.weights_count;
    if (lines_open(&l, r, points))
        for (int64_t i = 0; i < r->count; i++) {
            const run *one = &r->runs[i].run;
            if (one->weights_count == 0) continue;
            double *x = lines_add(&l, &r->runs[i], one->weights_count), *y = x + one->weights_count;
            for (int64_t k = 0; k < one->weights_count; k++) {
                x[k] = one->weights[k].step;
                y[k] = get(&one->weights[k]);
            }
        }
    lines_write(out, &l, (chart){.title = title, .x_label = "step", .y_label = "squared distance"});
}

static void over_blocks(html *out, const report *r)
{
    lines l;
    int64_t points = 0, most = 1;
    for (int64_t i = 0; i < r->count; i++) points += last_of(&r->runs[i]) ? last_of(&r->runs[i])->blocks : 0;
    if (lines_open(&l, r, points))
        for (int64_t i = 0; i < r->count; i++) {
            const run_weights *last = last_of(&r->runs[i]);
            if (!last || last->blocks == 0) continue;
            double *x = lines_add(&l, &r->runs[i], last->blocks), *y = x + last->blocks;
            for (int b = 0; b < last->blocks; b++) x[b] = b, y[b] = last->block[b];
            if (last->blocks > most) most = last->blocks;
        }
    lines_write(out, &l,
                (chart){.title = "For each trained value, by block, at the end",
                        .x_label = "block (0: nearest to the input)",
                        .y_label = "squared distance",
                        .x_high = (double)most - 1});
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
