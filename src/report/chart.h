/* Line charts as inline SVG, without script: coloured by classes of the page's style, so that they follow its light or
 * dark theme. Hovering (or a screen reader) tells each marked point's values. */
#ifndef REPORT_CHART_H
#define REPORT_CHART_H

#include <stdbool.h>
#include <stdint.h>

#include "report/html.h"

/* Colour slots of style.c: runs "s0".."s7" differ also for colour-blind readers; bands "b0".."b9" are an ordered ramp;
 * "base" is grey. */
typedef struct chart_series {
    const char *label;  /* shown in the legend where there is a point; NULL: not in the legend */
    const char *colour; /* class of the style */
    bool markers, faint, dashed;
    int64_t count;
    const double *x, *y;      /* count values each; a NaN or an infinity in y is a gap in the line */
    const double *low, *high; /* a band around the line, where both ends are finite; NULL: none */
} chart_series;

typedef struct chart {
    const char *title, *x_label, *y_label;
    double x_high;  /* 0 and x_high are always in view, whatever the points are */
    bool zero_line; /* y is a change: 0 is drawn, and always in view */
    bool allow_log; /* logarithmic y where all y are positive and span more than a factor of 8 */
    int64_t series_count;
    const chart_series *series;
} chart;

/* The colour of one of many runs or arms. *dashed tells it from an earlier one of the same colour. */
const char *chart_colour(int64_t number, bool *dashed);

/* Writes <figure>: title, legend, picture. A chart without one finite point says so instead of a picture. */
void chart_write(html *out, const chart *c);

/* Horizontal bars, one below the other, with whiskers. */
typedef struct chart_bar {
    const char *label, *colour;
    double value;     /* NaN or an infinity: no bar */
    double low, high; /* ends of its whisker; NaN: none */
} chart_bar;

/* Writes <figure>: title and bars from 0 on, with their values. Nothing where no value is finite. */
void chart_write_bars(html *out, const char *title, const chart_bar bars[], int64_t count);

/* Means of at most `limit` groups of neighbours, in place, so that long runs stay small on the page; gaps in y are left
 * out of the means. Returns the new count. */
int64_t chart_thin(double x[], double y[], int64_t count, int64_t limit);

/* y -> exponential mean with the given half-life in points, without the start's bias; gaps stay gaps. */
void chart_smooth(double smooth[], const double y[], int64_t count, double half_life);

#endif
