#include "report/chart.h"

#include <math.h>
#include <string.h>

/* The picture's own units; the style scales it to the column. */
enum { WIDTH = 480, HEIGHT = 300, LEFT = 64, RIGHT = 14, TOP = 30, BOTTOM = 46, TICKS_MAX = 32 };

typedef struct axis {
    double low, high; /* data range; logarithms to base ten where log */
    bool log;
    int64_t tick_count;
    double ticks[TICKS_MAX]; /* data values */
} axis;

static double axis_value(const axis *a, double v)
{
    return a->log ? log10(v) : v;
}

static double axis_place(const axis *a, double v)
{
    return (axis_value(a, v) - a->low) / (a->high - a->low);
}

static double x_place(const axis *a, double v)
{
    return LEFT + axis_place(a, v) * (WIDTH - LEFT - RIGHT);
}

static double y_place(const axis *a, double v)
{
    return HEIGHT - BOTTOM - axis_place(a, v) * (HEIGHT - TOP - BOTTOM);
}

/* 1, 2 or 5 times a power of ten, about `range` / `count`. */
static double nice_step(double range, int64_t count)
{
    double raw = range / (double)count, power = pow(10.0, floor(log10(raw))), lead = raw / power;
    return power * (lead <= 1.0 ? 1.0 : lead <= 2.0 ? 2.0 : lead <= 5.0 ? 5.0 : 10.0);
}

static void linear_axis(axis *a, double low, double high, int64_t count)
{
    if (!(high - low > 1e-9 * fmax(fabs(low), fabs(high)))) { /* one value only: give it room */
        low -= 0.1 * fabs(low);
        high += high == 0 ? 1 : 0.1 * fabs(high);
    }
    double step = nice_step(high - low, count);
    a->low = low, a->high = high, a->log = false, a->tick_count = 0;
    for (double k = ceil(low / step - 1e-6); k * step <= high + 1e-6 * step && a->tick_count < TICKS_MAX; k++)
        a->ticks[a->tick_count++] = k * step;
}

/* Ticks at 1, 2 and 5 of each decade, or at whole (every n-th) decades when that would be crowded. */
static void log_axis(axis *a, double low, double high)
{
    static const double leads[] = {1, 2, 5};
    a->low = log10(low), a->high = log10(high), a->log = true, a->tick_count = 0;
    double decades = a->high - a->low, stride = ceil(decades / 8);
    for (double k = floor(a->low); k <= ceil(a->high); k += stride) {
        for (int i = 0; i < (decades > 3 ? 1 : 3); i++) {
            double v = pow(10.0, k) * leads[i];
            if (v >= low * (1 - 1e-9) && v <= high * (1 + 1e-9) && a->tick_count < TICKS_MAX)
                a->ticks[a->tick_count++] = v;
        }
    }
}

const char *chart_colour(int64_t number, bool *dashed)
{
    static const char *const colours[] = {"s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"};
    enum { COLOURS = sizeof colours / sizeof *colours };
    *dashed = number / COLOURS % 2;
    return colours[number % COLOURS];
}

typedef struct range {
    double low, high; /* low > high: nothing finite was seen */
} range;

static void widen(range *r, double v)
{
    r->low = fmin(r->low, v), r->high = fmax(r->high, v);
}

static bool is_point(const chart_series *s, int64_t i)
{
    return isfinite(s->x[i]) && isfinite(s->y[i]);
}

static bool has_point(const chart_series *s)
{
    bool has = false;
    for (int64_t i = 0; i < s->count; i++) has = has || is_point(s, i);
    return has;
}

static bool has_band(const chart_series *s, int64_t i)
{
    return s->low && s->high && isfinite(s->low[i]) && isfinite(s->high[i]);
}

/* False when there is nothing to draw. */
static bool choose_axes(axis *x, axis *y, const chart *c)
{
    range rx = {0, c->x_high}, ry = {INFINITY, -INFINITY};
    for (int64_t s = 0; s < c->series_count; s++) {
        for (int64_t i = 0; i < c->series[s].count; i++) {
            if (!is_point(&c->series[s], i)) continue;
            widen(&rx, c->series[s].x[i]);
            widen(&ry, c->series[s].y[i]);
            if (!has_band(&c->series[s], i)) continue;
            widen(&ry, c->series[s].low[i]);
            widen(&ry, c->series[s].high[i]);
        }
    }
    if (ry.low > ry.high) return false;
    linear_axis(x, rx.low, rx.high, 5);
    if (c->allow_log && ry.low > 0 && ry.high > 8 * ry.low) {
        log_axis(y, ry.low / 1.1, ry.high * 1.1);
        return true;
    }
    if (c->zero_line) widen(&ry, 0);
    double room = 0.06 * (ry.high - ry.low);
    bool touches_zero = ry.low >= 0 && ry.low - room < 0;
    linear_axis(y, touches_zero ? 0 : ry.low - room, ry.high + room, 5);
    return true;
}

static void tick_text(html *out, double v)
{
    if (fabs(v) >= 1e6)
        html_markup(out, "%gM", v / 1e6);
    else
        html_markup(out, "%.6g", fabs(v) < 1e-12 ? 0.0 : v);
}

static void draw_frame(html *out, const chart *c, const axis *x, const axis *y)
{
    for (int64_t i = 0; i < y->tick_count; i++) {
        double at = y_place(y, y->ticks[i]);
        bool zero = c->zero_line && fabs(y->ticks[i]) < 1e-12;
        html_markup(out, "<line class=\"%s\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", zero ? "zero" : "grid",
                    LEFT, WIDTH - RIGHT, at, at);
        html_markup(out, "<text x=\"%d\" y=\"%.1f\" class=\"end\">", LEFT - 6, at + 4);
        tick_text(out, y->ticks[i]);
        html_markup(out, "</text>");
    }
    for (int64_t i = 0; i < x->tick_count; i++) {
        double at = x_place(x, x->ticks[i]);
        html_markup(out, "<line class=\"tick\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", at, at, HEIGHT - BOTTOM,
                    HEIGHT - BOTTOM + 4);
        html_markup(out, "<text x=\"%.1f\" y=\"%d\" class=\"mid\">", at, HEIGHT - BOTTOM + 18);
        tick_text(out, x->ticks[i]);
        html_markup(out, "</text>");
    }
    html_markup(out, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>", LEFT, WIDTH - RIGHT,
                HEIGHT - BOTTOM, HEIGHT - BOTTOM);
    html_markup(out, "<text class=\"mid\" x=\"%d\" y=\"%d\">", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8);
    html_element(out, "", c->x_label, "</text>");
    html_markup(out, "<text x=\"0\" y=\"12\">");
    html_element(out, "", c->y_label, y->log ? ", log scale</text>\n" : "</text>\n");
}

static void draw_line(html *out, const chart_series *s, const axis *x, const axis *y)
{
    html_markup(out, "<path class=\"line %s%s%s\" d=\"", s->colour, s->faint ? " faint" : "",
                s->dashed ? " dashed" : "");
    bool pen_down = false;
    for (int64_t i = 0; i < s->count; i++) {
        bool point = is_point(s, i);
        if (point) html_markup(out, "%c%.1f %.1f", pen_down ? 'L' : 'M', x_place(x, s->x[i]), y_place(y, s->y[i]));
        pen_down = point;
    }
    html_markup(out, "\"/>");
}

/* Of each stretch between two points that both have it. On a logarithmic axis all of it is above 0, or the axis were none. */
static void draw_band(html *out, const chart_series *s, const axis *x, const axis *y)
{
    for (int64_t i = 0; i + 1 < s->count; i++) {
        if (!is_point(s, i) || !is_point(s, i + 1) || !has_band(s, i) || !has_band(s, i + 1)) continue;
        const double from = x_place(x, s->x[i]), to = x_place(x, s->x[i + 1]);
        html_markup(out, "<path class=\"band %s\" d=\"M%.1f %.1fL%.1f %.1fL%.1f %.1fL%.1f %.1fZ\"/>", s->colour, from,
                    y_place(y, s->low[i]), to, y_place(y, s->low[i + 1]), to, y_place(y, s->high[i + 1]), from,
                    y_place(y, s->high[i]));
    }
}

static void draw_markers(html *out, const chart *c, const chart_series *s, const axis *x, const axis *y)
{
    for (int64_t i = 0; i < s->count; i++) {
        if (!is_point(s, i)) continue;
        html_markup(out, "<circle class=\"dot %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\"><title>", s->colour,
                    x_place(x, s->x[i]), y_place(y, s->y[i]));
        html_element(out, "", s->label ? s->label : "", "\n");
        html_element(out, "", c->x_label, " ");
        html_number(out, s->x[i]);
        html_element(out, "\n", c->y_label, " ");
        html_number(out, s->y[i]);
        html_markup(out, "</title></circle>");
    }
}

static void draw_legend(html *out, const chart *c)
{
    html_markup(out, "<div class=\"legend\">");
    for (int64_t i = 0; i < c->series_count; i++) {
        const chart_series *s = &c->series[i];
        if (!s->label || !has_point(s)) continue;
        html_markup(out,
                    "<span class=\"key\"><svg class=\"swatch\" viewBox=\"0 0 22 10\" aria-hidden=\"true\">"
                    "<path class=\"line %s%s\" d=\"M1 5L21 5\"/></svg>",
                    s->colour, s->dashed ? " dashed" : "");
        html_element(out, "", s->label, "</span> ");
    }
    html_markup(out, "</div>\n");
}

void chart_write(html *out, const chart *c)
{
    axis x, y;
    html_element(out, "<figure class=\"chart\"><figcaption>", c->title, "</figcaption>\n");
    if (!choose_axes(&x, &y, c)) {
        html_markup(out, "<p class=\"empty\">No finite values were recorded.</p></figure>\n");
        return;
    }
    draw_legend(out, c);
    html_markup(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    html_element(out, "", c->title, "\">\n");
    draw_frame(out, c, &x, &y);
    for (int64_t i = 0; i < c->series_count; i++) draw_band(out, &c->series[i], &x, &y);
    for (int64_t i = 0; i < c->series_count; i++) draw_line(out, &c->series[i], &x, &y);
    for (int64_t i = 0; i < c->series_count; i++)
        if (c->series[i].markers) draw_markers(out, c, &c->series[i], &x, &y);
    html_markup(out, "</svg></figure>\n");
}

/* ---- bars ---- */

enum { BAR_HEIGHT = 22, BAR_RIGHT = 70, LETTER = 7 };

/* Where 0 lies among the values, and how much room the labels take on its left. */
typedef struct bar_axis {
    range values;
    double left;
} bar_axis;

static double bar_place(double v, const bar_axis *a)
{
    return a->left + (v - a->values.low) / (a->values.high - a->values.low) * (WIDTH - a->left - BAR_RIGHT);
}

static void draw_bar(html *out, const chart_bar *bar, const bar_axis *a, int64_t at)
{
    const double top = (double)at * BAR_HEIGHT, zero = bar_place(0, a);
    html_markup(out, "<text class=\"end\" x=\"%.1f\" y=\"%.1f\">", a->left - 8, top + 15);
    html_element(out, "", bar->label, "</text>");
    if (!isfinite(bar->value)) return;
    const double end = bar_place(bar->value, a);
    html_markup(out, "<rect class=\"bar %s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"/>", bar->colour,
                fmin(zero, end), top + 3, fabs(end - zero), BAR_HEIGHT - 6);
    double right = fmax(zero, end);
    if (isfinite(bar->low) && isfinite(bar->high)) {
        html_markup(out, "<line class=\"whisker\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>",
                    bar_place(bar->low, a), bar_place(bar->high, a), top + 11, top + 11);
        right = fmax(right, bar_place(bar->high, a));
    }
    html_markup(out, "<text x=\"%.1f\" y=\"%.1f\">", right + 6, top + 15);
    html_number(out, bar->value);
    html_markup(out, "</text>\n");
}

void chart_write_bars(html *out, const char *title, const chart_bar bars[], int64_t count)
{
    bar_axis a = {.left = 60};
    bool any = false;
    for (int64_t i = 0; i < count; i++) {
        a.left = fmin(fmax(a.left, (double)(LETTER * strlen(bars[i].label) + 12)), 0.6 * WIDTH);
        if (!isfinite(bars[i].value)) continue;
        any = true;
        widen(&a.values, bars[i].value);
        if (isfinite(bars[i].low)) widen(&a.values, bars[i].low);
        if (isfinite(bars[i].high)) widen(&a.values, bars[i].high);
    }
    if (!any) return;
    if (!(a.values.high > a.values.low)) a.values.high = a.values.low + 1;
    html_element(out, "<figure class=\"chart\"><figcaption>", title, "</figcaption>\n");
    html_markup(out, "<svg viewBox=\"0 0 %d %lld\" role=\"img\" aria-label=\"", WIDTH,
                (long long)count * BAR_HEIGHT + 4);
    html_element(out, "", title, "\">\n");
    for (int64_t i = 0; i < count; i++) draw_bar(out, &bars[i], &a, i);
    html_markup(out, "</svg></figure>\n");
}

int64_t chart_thin(double x[], double y[], int64_t count, int64_t limit)
{
    if (count <= limit) return count;
    for (int64_t group = 0; group < limit; group++) {
        int64_t first = group * count / limit, end = (group + 1) * count / limit, finite = 0;
        double sum_x = 0, sum_y = 0;
        for (int64_t i = first; i < end; i++) {
            sum_x += x[i];
            if (!isfinite(y[i])) continue;
            sum_y += y[i];
            finite++;
        }
        x[group] = sum_x / (double)(end - first);
        y[group] = finite ? sum_y / (double)finite : NAN;
    }
    return limit;
}

void chart_smooth(double smooth[], const double y[], int64_t count, double half_life)
{
    double keep = exp2(-1.0 / half_life), sum = 0, weight = 0;
    for (int64_t i = 0; i < count; i++) {
        smooth[i] = NAN;
        if (!isfinite(y[i])) continue;
        sum = keep * sum + (1 - keep) * y[i];
        weight = keep * weight + (1 - keep);
        smooth[i] = sum / weight;
    }
}
