/* Figures of a study's page: lines are means over seeds, bands and whiskers one standard deviation. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/plot.h"
#include "report/study_page.h"

/* Where a spread is known the band reaches from mean - sd to mean + sd; else there is none. */
static void put_point(double *x, int64_t room, int64_t at, double place, study_summary s)
{
    x[at] = place;
    x[room + at] = s.mean;
    x[2 * room + at] = s.mean - s.sd;
    x[3 * room + at] = s.mean + s.sd;
}

/* The series that was added last has `count` points, with a band. */
static void end_series(plot *p, const double *x, int64_t room, int64_t count, bool markers)
{
    chart_series *series = plot_newest(p);
    series->count = count;
    series->markers = markers;
    series->low = x + 2 * room;
    series->high = x + 3 * room;
}

/* ---- bars ---- */

static void bars_of(html *out, const study_table *t, const study_column *column, int data)
{
    const int count = t->arm.count * t->way.count;
    chart_bar *bars = calloc((size_t)count, sizeof *bars);
    char(*labels)[DT_TEXT_MAX] = calloc((size_t)count, sizeof *labels);
    for (int i = 0; bars && labels && i < count; i++) {
        const int arm = i / t->way.count, way = i % t->way.count;
        const study_summary s = study_over_seeds(t, column->measure, arm, data, way);
        bool dashed;
        study_label(labels[i], t, arm, way);
        bars[i] = (chart_bar){labels[i], chart_colour(arm, &dashed), s.mean, s.mean - s.sd, s.mean + s.sd};
    }
    if (bars && labels) chart_write_bars(out, study_title(t, column), bars, count);
    free(bars);
    free(labels);
}

/* ---- curves ---- */

/* Value of a run at record number i of its kind; false behind the last. */
typedef bool read_record(const run *r, int64_t i, double *step, double *value);

/* Distances on the way: those of as many samples as the first is of, as FD depends on their number. */
static bool read_distance(const run *r, int64_t i, double *step, double *value)
{
    if (i >= r->eval_count) return false;
    *step = r->eval[i].step;
    *value = r->eval[i].count == r->eval[0].count ? r->eval[i].frechet_distance : NAN;
    return true;
}

static bool read_loss(const run *r, int64_t i, double *step, double *value)
{
    if (i >= r->validation_count[RUN_TARGET]) return false;
    *step = r->validation[RUN_TARGET][i].step;
    *value = r->validation[RUN_TARGET][i].loss;
    return true;
}

static bool read_bank_loss(const run *r, int64_t i, double *step, double *value)
{
    if (i >= r->validation_count[RUN_BANK]) return false;
    *step = r->validation[RUN_BANK][i].step;
    *value = r->validation[RUN_BANK][i].loss;
    return true;
}

static bool read_obedience(const run *r, int64_t i, double *step, double *value)
{
    if (i >= r->convergence_count) return false;
    *step = r->convergence[i].step;
    *value = r->convergence[i].value;
    return true;
}

static double value_at(const run *r, read_record *read, double wanted)
{
    double step = 0, value = NAN;
    for (int64_t i = 0; read(r, i, &step, &value); i++)
        if (step == wanted) return value;
    return NAN;
}

static study_summary over_runs(const study_table *t, int arm, int data, read_record *read, double step)
{
    double value[STUDY_SEEDS_MAX];
    for (int seed = 0; seed < t->seed.count; seed++) {
        const run *r = study_row_at(t, arm, data, seed, 0)->run;
        value[seed] = r ? value_at(r, read, step) : NAN;
    }
    return study_summarise(value, t->seed.count);
}

/* Steps are those of the arm's run that has the most of them; an arm with fewer than two points has no curve. */
static void add_curve(plot *p, const study_table *t, int arm, int data, read_record *read)
{
    enum { POINTS_MAX = 400 };
    const run *longest = NULL;
    int64_t count = 0, used = 0;
    double step = 0, value = NAN;
    for (int seed = 0; seed < t->seed.count; seed++) {
        const run *r = study_row_at(t, arm, data, seed, 0)->run;
        int64_t records = 0;
        while (r && read(r, records, &step, &value)) records++;
        if (records > count) longest = r, count = records;
    }
    if (count < 2) return;
    bool dashed;
    const char *colour = chart_colour(arm, &dashed);
    const int64_t stride = (count + POINTS_MAX - 1) / POINTS_MAX, room = count / stride + 1;
    double *x = plot_add(p, t->arm.name[arm], colour, dashed, room);
    if (!x) return;
    for (int64_t i = 0; i < count && used < room; i += stride) {
        read(longest, i, &step, &value);
        const study_summary s = over_runs(t, arm, data, read, step);
        if (isfinite(s.mean)) put_point(x, room, used++, step, s);
    }
    end_series(p, x, room, used, false);
}

static void curves(html *out, const study_table *t, int data, const char *title, const char *label, read_record *read)
{
    plot p = {.chart = {.title = title, .x_label = "step", .y_label = label}};
    for (int arm = 0; arm < t->arm.count; arm++) add_curve(&p, t, arm, data, read);
    plot_write(out, &p);
}

/* ---- losses by t ---- */

/* By how many percent the held-out loss of a band of t changed by tuning, over seeds. */
static study_summary band_change(const study_table *t, int arm, int data, int band)
{
    double value[STUDY_SEEDS_MAX];
    for (int seed = 0; seed < t->seed.count; seed++) {
        const study_row *row = study_row_at(t, arm, data, seed, 0);
        value[seed] = 100 * (row->value[STUDY_LOSS_BAND + band] / row->value[STUDY_LOSS_BAND_BEFORE + band] - 1);
    }
    return study_summarise(value, t->seed.count);
}

static void band_chart(html *out, const study_table *t, int data)
{
    plot p = {.chart = {.title = "Held-out loss by t: change by tuning",
                        .x_label = "t (0: clean, 999: noise)",
                        .y_label = "percent",
                        .x_high = RUN_BANDS * RUN_BAND_STEPS,
                        .zero_line = true}};
    for (int arm = 0; arm < t->arm.count; arm++) {
        bool dashed;
        const char *colour = chart_colour(arm, &dashed);
        if (!isfinite(band_change(t, arm, data, 0).mean)) continue;
        double *x = plot_add(&p, t->arm.name[arm], colour, dashed, RUN_BANDS);
        if (!x) continue;
        for (int b = 0; b < RUN_BANDS; b++)
            put_point(x, RUN_BANDS, b, run_band_middle(b), band_change(t, arm, data, b));
        end_series(&p, x, RUN_BANDS, RUN_BANDS, true);
    }
    plot_write(out, &p);
}

void study_page_figures(html *out, const study_table *t, int data)
{
    html_element(out, "<section class=\"card\"><h2>Figures", t->data.count > 1 ? ": " : "", "");
    html_element(out, "", t->data.count > 1 ? t->data.name[data] : "",
                 "</h2>\n<p>Bands and whiskers are one standard deviation over seeds.</p>\n<div class=\"charts\">\n");
    for (int i = 0; i < study_main_columns; i++) bars_of(out, t, &study_columns[i], data);
    curves(out, t, data, "Distance over steps", t->measure[0] ? t->measure : "distance", read_distance);
    curves(out, t, data, "Obedience to the control over steps", "SSIM, MSE or accuracy", read_obedience);
    curves(out, t, data, "Held-out loss over steps", "loss", read_loss);
    curves(out, t, data, "Loss on the bank over steps", "loss", read_bank_loss);
    band_chart(out, t, data);
    html_markup(out, "</div></section>\n");
}

/* ---- sensitivity: a measure against an axis of numbers ---- */

/* Whether two arms differ on no axis but this one. */
static bool same_elsewhere(const study_table *t, int a, int b, int axis)
{
    for (int k = 0; k < t->axis.count; k++)
        if (k != axis && strcmp(t->axis_text[a][k], t->axis_text[b][k]) != 0) return false;
    return true;
}

/* The other axes' values of an arm, as the name of a line. */
static void name_line(char name[DT_TEXT_MAX], const study_table *t, int arm, int axis, int way)
{
    int used = 0;
    name[0] = '\0';
    for (int k = 0; k < t->axis.count && used < DT_TEXT_MAX; k++)
        if (k != axis)
            used += snprintf(name + used, (size_t)(DT_TEXT_MAX - used), "%s%s %s", used ? ", " : "", t->axis.name[k],
                             t->axis_text[arm][k]);
    if (t->way.count > 1 && used < DT_TEXT_MAX)
        used += snprintf(name + used, (size_t)(DT_TEXT_MAX - used), "%s%s", used ? ", " : "", t->way.name[way]);
    if (used == 0) snprintf(name, DT_TEXT_MAX, "all");
}

/* The line of all arms that differ from `first` on this axis alone; `number` counts lines. */
static void add_sensitivity(plot *p, const study_table *t, study_measure measure, int axis, int first, int data,
                            int way, int number)
{
    char name[DT_TEXT_MAX];
    bool dashed;
    int64_t used = 0;
    const int64_t room = t->arm.count;
    name_line(name, t, first, axis, way);
    const char *colour = chart_colour(number, &dashed);
    double *x = plot_add(p, name, colour, dashed, room);
    if (!x) return;
    for (int arm = first; arm < t->arm.count; arm++) {
        if (!t->axis_text[arm][axis][0] || !same_elsewhere(t, first, arm, axis)) continue;
        put_point(x, room, used++, strtod(t->axis_text[arm][axis], NULL), study_over_seeds(t, measure, arm, data, way));
    }
    end_series(p, x, room, used, true);
}

static void sensitivity_chart(html *out, const study_table *t, const study_column *column, int axis, int data)
{
    char title[DT_TEXT_MAX];
    int number = 0;
    snprintf(title, sizeof title, "%s against %s%s%s", study_title(t, column), t->axis.name[axis],
             t->data.count > 1 ? ", " : "", t->data.count > 1 ? t->data.name[data] : "");
    plot p = {.chart = {.title = title, .x_label = t->axis.name[axis], .y_label = study_title(t, column)}};
    for (int arm = 0; arm < t->arm.count; arm++) {
        bool seen = !t->axis_text[arm][axis][0];
        for (int k = 0; k < arm; k++) seen = seen || (t->axis_text[k][axis][0] && same_elsewhere(t, k, arm, axis));
        for (int way = 0; way < t->way.count && !seen; way++)
            add_sensitivity(&p, t, column->measure, axis, arm, data, way, number++);
    }
    plot_write(out, &p);
}

void study_page_sensitivity(html *out, const study_table *t)
{
    for (int axis = 0; axis < t->axis.count; axis++) {
        if (!t->axis_is_number[axis]) continue;
        html_element(out, "<section class=\"card\"><h2>Sensitivity to ", t->axis.name[axis],
                     "</h2>\n<div class=\"charts\">\n");
        for (int data = 0; data < t->data.count; data++)
            for (int i = 0; i < study_main_columns; i++)
                if (study_has(t, study_columns[i].measure)) sensitivity_chart(out, t, &study_columns[i], axis, data);
        html_markup(out, "</div></section>\n");
    }
}
