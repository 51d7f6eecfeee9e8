#include "report/plot.h"

#include <stdio.h>
#include <stdlib.h>

/* What the points and the label of one series lie in. */
struct plot_line {
    char label[REPORT_LABEL_MAX];
    double x[]; /* and the y behind them, and the band's two ends */
};

static bool plot_reserve(plot *p)
{
    size_t count = (size_t)p->chart.series_count + 1;
    chart_series *series = realloc(p->series, count * sizeof *series);
    if (series) p->series = series;
    plot_line **line = realloc(p->line, count * sizeof *line);
    if (line) p->line = line;
    return series && line;
}

double *plot_add(plot *p, const char *label, const char *colour, bool dashed, int64_t count)
{
    int64_t at = p->chart.series_count;
    plot_line *line = calloc(1, sizeof *line + 4 * (size_t)count * sizeof line->x[0]);
    if (!line || !plot_reserve(p)) {
        free(line);
        return NULL;
    }
    snprintf(line->label, sizeof line->label, "%s", label ? label : "");
    p->line[at] = line;
    p->series[at] = (chart_series){.label = label ? line->label : NULL,
                                   .colour = colour,
                                   .dashed = dashed,
                                   .count = count,
                                   .x = line->x,
                                   .y = line->x + count};
    p->chart.series_count++;
    return line->x;
}

chart_series *plot_newest(plot *p)
{
    return &p->series[p->chart.series_count - 1];
}

void plot_write(html *out, plot *p)
{
    p->chart.series = p->series;
    if (p->chart.series_count > 0) chart_write(out, &p->chart);
    for (int64_t i = 0; i < p->chart.series_count; i++) free(p->line[i]);
    free(p->line);
    free(p->series);
}
