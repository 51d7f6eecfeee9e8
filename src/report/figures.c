/* The curves of the report. A series is gathered from the records of one run through a function that reads a value. */
#include "report/page.h"
#include "report/plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS_MAX = 400 }; /* of a line; longer ones are thinned to means */
enum { MARKERS_MAX = 40 }; /* points of a line that are marked one by one */
enum { T_HIGH = RUN_BANDS * RUN_BAND_STEPS };
static const char t_label[] = "t (0: clean, 999: noise)";

/* ---- distances ---- */

static double get_frechet(const run_eval *e)
{
    return e->frechet_distance;
}

static double get_kernel(const run_eval *e)
{
    return e->kernel_distance;
}

static void eval_chart(html *out, const report *r, const char *measure, const char *title, const char *y_label,
                       double (*get)(const run_eval *))
{
    plot p = {.chart = {.title = title, .x_label = "step", .y_label = y_label, .allow_log = true}};
    for (int64_t i = 0; i < r->count; i++) {
        const run *one = &r->runs[i].run;
        double *x = plot_add(&p, r->runs[i].label, r->runs[i].colour, r->runs[i].dashed, one->eval_count);
        if (!x) continue;
        double *y = x + one->eval_count;
        int64_t count = 0;
        for (int64_t e = 0; e < one->eval_count; e++) {
            if (strcmp(one->eval[e].measure, measure) != 0) continue;
            x[count] = one->eval[e].step;
            y[count++] = get(&one->eval[e]);
        }
        plot_newest(&p)->count = count;
        plot_newest(&p)->markers = true;
    }
    plot_write(out, &p);
}

void page_distance_charts(html *out, const report *r)
{
    if (r->measure_count == 0) return;
    html_markup(out, "<section class=\"card\"><h2>Distance to held-out images</h2>\n"
                     "<p>Between samples of the tuned model and images it has not seen; lower is better. Step 0 is the "
                     "model before tuning.</p>\n<div class=\"charts\">\n");
    for (int64_t m = 0; m < r->measure_count; m++) {
        char title[RUN_NAME_MAX + 32];
        snprintf(title, sizeof title, "%s over steps", r->measures[m]);
        eval_chart(out, r, r->measures[m], title, r->measures[m], get_frechet);
        snprintf(title, sizeof title, "KID, features of %s", r->measures[m]);
        eval_chart(out, r, r->measures[m], title, "kernel distance", get_kernel);
    }
    html_markup(out, "</div></section>\n");
}

/* ---- training ---- */

static double get_loss_target(const run_train *t)
{
    return t->loss_target;
}

static double get_loss_bank(const run_train *t)
{
    return t->loss_bank;
}

static double get_loss_retained(const run_train *t)
{
    return t->loss_retained;
}

static double get_grad_norm(const run_train *t)
{
    return t->grad_norm;
}

static double get_rate(const run_train *t)
{
    return t->lr;
}

/* One faint line of the records and one smoothed line; the smoothed one alone for the learning rate's like. */
static void train_series(plot *p, const report_run *r, double (*get)(const run_train *), bool smooth)
{
    int64_t count = r->run.train_count;
    double *x = plot_add(p, smooth ? NULL : r->label, r->colour, r->dashed && !smooth, count);
    if (!x) return;
    double *y = x + count;
    for (int64_t i = 0; i < count; i++) {
        x[i] = r->run.train[i].step;
        y[i] = get(&r->run.train[i]);
    }
    int64_t raw = p->chart.series_count - 1;
    if (smooth) {
        double *smooth_x = plot_add(p, r->label, r->colour, r->dashed, count);
        if (!smooth_x) return;
        memcpy(smooth_x, x, (size_t)count * sizeof *x);
        chart_smooth(smooth_x + count, y, count, fmax(1, (double)count / 50));
        plot_newest(p)->count = chart_thin(smooth_x, smooth_x + count, count, POINTS_MAX);
        plot_newest(p)->markers = count <= MARKERS_MAX;
        p->series[raw].faint = true;
    }
    p->series[raw].count = chart_thin(x, y, count, POINTS_MAX);
}

static void train_chart(html *out, const report *r, const char *title, const char *y_label,
                        double (*get)(const run_train *), bool smooth)
{
    plot p = {.chart = {.title = title, .x_label = "step", .y_label = y_label, .allow_log = smooth}};
    for (int64_t i = 0; i < r->count; i++) {
        bool has = false;
        for (int64_t t = 0; t < r->runs[i].run.train_count; t++) has = has || isfinite(get(&r->runs[i].run.train[t]));
        if (has) train_series(&p, &r->runs[i], get, smooth);
        if (has) p.chart.x_high = fmax(p.chart.x_high, r->runs[i].summary.steps);
    }
    plot_write(out, &p);
}

/* What psi was measured to be; nothing where it was given. */
static void psi_chart(html *out, const report *r)
{
    plot p = {
        .chart = {
            .title = "psi, measured before the first step", .x_label = t_label, .x_high = T_HIGH, .y_label = "psi(t)"}};
    for (int64_t i = 0; i < r->count; i++) {
        const double *psi = r->runs[i].run.psi;
        double *x = psi ? plot_add(&p, r->runs[i].label, r->runs[i].colour, r->runs[i].dashed, T_HIGH) : NULL;
        if (!x) continue;
        for (int t = 0; t < T_HIGH; t++) x[t] = t;
        memcpy(x + T_HIGH, psi, T_HIGH * sizeof *psi);
        plot_newest(&p)->count = chart_thin(x, x + T_HIGH, T_HIGH, POINTS_MAX);
    }
    plot_write(out, &p);
}

void page_training_charts(html *out, const report *r)
{
    html_markup(out, "<section class=\"card\"><h2>Training loss</h2>\n"
                     "<p>Faint: as recorded. Strong: exponential mean. The two parts of a batch draw t from different "
                     "laws under Diff-Tuning, so that levels of different methods do not compare; trends do.</p>\n"
                     "<div class=\"charts\">\n");
    train_chart(out, r, "On the target images", "loss", get_loss_target, true);
    train_chart(out, r, "On the memory bank", "loss", get_loss_bank, true);
    train_chart(out, r, "Distance to the frozen base", "mean square", get_loss_retained, true);
    psi_chart(out, r);
    html_markup(out, "</div><details><summary>Gradient norm and learning rate</summary><div class=\"charts\">\n");
    train_chart(out, r, "Gradient norm before clipping", "norm", get_grad_norm, true);
    train_chart(out, r, "Learning rate", "rate", get_rate, false);
    html_markup(out, "</div></details></section>\n");
}

/* ---- the chain of forgetting ---- */

static const char *const set_names[RUN_SETS] = {
    [RUN_TARGET] = "target images", [RUN_BANK] = "memory bank", [RUN_TRAIN] = "training images"};

static const run_validation *last_validation(const run *r, int set)
{
    return r->validation_count[set] ? &r->validation[set][r->validation_count[set] - 1] : NULL;
}

static void loss_chart(html *out, const report *r, int set)
{
    char title[64];
    snprintf(title, sizeof title, "Over steps, %s", set_names[set]);
    plot p = {.chart = {.title = title,
                        .x_label = "step",
                        .y_label = set == RUN_TRAIN ? "loss" : "validation loss",
                        .allow_log = true}};
    for (int64_t i = 0; i < r->count; i++) {
        int64_t count = r->runs[i].run.validation_count[set];
        double *x = count ? plot_add(&p, r->runs[i].label, r->runs[i].colour, r->runs[i].dashed, count) : NULL;
        for (int64_t v = 0; x && v < count; v++) {
            x[v] = r->runs[i].run.validation[set][v].step;
            x[count + v] = r->runs[i].run.validation[set][v].loss;
        }
        if (!x) continue;
        plot_newest(&p)->count = chart_thin(x, x + count, count, POINTS_MAX);
        plot_newest(&p)->markers = count <= MARKERS_MAX;
    }
    plot_write(out, &p);
}

static void profile_series(plot *p, const char *label, const char *colour, bool dashed, const double mse[RUN_BANDS])
{
    double *x = plot_add(p, label, colour, dashed, RUN_BANDS);
    if (!x) return;
    for (int b = 0; b < RUN_BANDS; b++) {
        x[b] = run_band_middle(b);
        x[RUN_BANDS + b] = mse[b];
    }
    plot_newest(p)->markers = true;
}

/* The last validation of every run over t, and the first run's validation at step 0 as the model before tuning. */
static void profile_chart(html *out, const report *r, int set)
{
    char title[64];
    snprintf(title, sizeof title, "Last, by t, %s", set_names[set]);
    plot p = {.chart = {.title = title, .x_label = t_label, .x_high = T_HIGH, .y_label = "MSE", .allow_log = true}};
    bool base_done = false;
    for (int64_t i = 0; i < r->count; i++) {
        const run *one = &r->runs[i].run;
        if (!base_done && one->validation_count[set] && one->validation[set][0].step == 0) {
            profile_series(&p, "before tuning", "base", true, one->validation[set][0].band_mse);
            base_done = true;
        }
    }
    for (int64_t i = 0; i < r->count; i++) {
        const run_validation *last = last_validation(&r->runs[i].run, set);
        if (last && last->step > 0)
            profile_series(&p, r->runs[i].label, r->runs[i].colour, r->runs[i].dashed, last->band_mse);
    }
    plot_write(out, &p);
}

static double change(double now, double then)
{
    return then > 0 ? 100 * (now / then - 1) : NAN;
}

static void change_chart(html *out, const report *r, int set)
{
    char title[64];
    snprintf(title, sizeof title, "Change since the start, by t, %s", set_names[set]);
    plot p = {
        .chart = {
            .title = title, .x_label = t_label, .x_high = T_HIGH, .y_label = "MSE, change in %", .zero_line = true}};
    for (int64_t i = 0; i < r->count; i++) {
        const run *one = &r->runs[i].run;
        double moved[RUN_BANDS];
        if (one->validation_count[set] < 2) continue;
        for (int b = 0; b < RUN_BANDS; b++)
            moved[b] = change(last_validation(one, set)->band_mse[b], one->validation[set][0].band_mse[b]);
        profile_series(&p, r->runs[i].label, r->runs[i].colour, r->runs[i].dashed, moved);
    }
    plot_write(out, &p);
}

static void bands_chart(html *out, const report_run *r, int set)
{
    static const char *const colours[RUN_BANDS] = {"b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b9"};
    char title[REPORT_LABEL_MAX + 32];
    snprintf(title, sizeof title, "%s, %s", r->label, set_names[set]);
    plot p = {.chart = {.title = title, .x_label = "step", .y_label = "MSE, change in %", .zero_line = true}};
    int64_t count = r->run.validation_count[set];
    const run_validation *v = r->run.validation[set];
    for (int b = 0; count > 1 && b < RUN_BANDS; b++) {
        char label[16];
        snprintf(label, sizeof label, "t %d\xe2\x80\x93%d", b * RUN_BAND_STEPS, (b + 1) * RUN_BAND_STEPS - 1);
        double *x = plot_add(&p, label, colours[b], false, count);
        for (int64_t i = 0; x && i < count; i++) {
            x[i] = v[i].step;
            x[count + i] = change(v[i].band_mse[b], v[0].band_mse[b]);
        }
        if (x) plot_newest(&p)->count = chart_thin(x, x + count, count, POINTS_MAX);
    }
    plot_write(out, &p);
}

static void bands_charts(html *out, const report *r)
{
    html_markup(out, "<details><summary>Every band of t over steps</summary><div class=\"charts\">\n");
    for (int64_t i = 0; i < r->count; i++)
        for (int set = 0; set < RUN_SETS; set++)
            if (r->runs[i].run.validation_count[set] > 1) bands_chart(out, &r->runs[i], set);
    html_markup(out, "</div></details>\n");
}

void page_forgetting_charts(html *out, const report *r)
{
    static void (*const charts[])(html *, const report *, int) = {change_chart, profile_chart, loss_chart};
    int64_t most = 0;
    for (int64_t i = 0; i < r->count; i++)
        for (int set = 0; set < RUN_SETS; set++)
            if (r->runs[i].run.validation_count[set] > most) most = r->runs[i].run.validation_count[set];
    if (most == 0) return;
    html_markup(
        out,
        "<section class=\"card\"><h2>What was learned and what was forgotten</h2>\n"
        "<p>The validation loss at fixed noise and fixed t, on the target images and on the memory bank, which "
        "stands for what the base model knew. The paper&rsquo;s <i>chain of forgetting</i> says that denoising at "
        "small t (clean images) is general skill that transfers, and that with growing t the knowledge belongs more "
        "and more to the old images and has to be replaced. A line above zero on the memory bank is forgetting at "
        "that t; a line below zero on the target images is learning. Training images stand for them in "
        "runs without validation data; there learning by heart looks the same.</p>\n");
    html_markup(out, "<div class=\"charts\">\n");
    for (size_t i = 0; i < sizeof charts / sizeof *charts; i++)
        for (int set = 0; set < RUN_SETS; set++) charts[i](out, r, set);
    html_markup(out, "</div>\n");
    if (most > 1) bands_charts(out, r);
    html_markup(out, "</section>\n");
}
