/* A chart whose series are added one by one, with room of their own. */
#ifndef REPORT_PLOT_H
#define REPORT_PLOT_H

#include "report/chart.h"
#include "report/page.h"

typedef struct plot_line plot_line;

/* Begins as {.chart = {title, labels, ..}}. */
typedef struct plot {
    chart chart;
    chart_series *series;
    plot_line **line;
} plot;

/* Room for a series of `count` points: x first, y behind, then room for a band's lower and upper ends, which is drawn where the
 * series' `low` and `high` are set to it. NULL when memory is out; the line is then missing. */
double *plot_add(plot *p, const char *label, const char *colour, bool dashed, int64_t count);

/* Of the series that was added last. */
chart_series *plot_newest(plot *p);

/* Writes the chart and gives its room back. A chart that nothing was recorded for is left out. */
void plot_write(html *out, plot *p);

#endif
