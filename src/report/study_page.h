/* The parts of a study's page. Each writes one section and none fails: the page remembers a lack of memory itself. */
#ifndef REPORT_STUDY_PAGE_H
#define REPORT_STUDY_PAGE_H

#include "report/html.h"
#include "report/study_statistics.h"

/* A measure as the page has it. */
typedef struct study_column {
    study_measure measure;
    const char *title;
    study_difference pooled; /* how differences are taken over data sets, whose scales differ */
    bool of_training;        /* not of what is drawn: the same in all ways to draw */
} study_column;

/* Those that tell arms apart, first; of the others only what was measured. The title of the distance is the table's measure. */
extern const study_column study_columns[];
extern const int study_column_count, study_main_columns;

/* Whether any row has a value. */
bool study_has(const study_table *t, study_measure measure);

/* What the column is called on this page. */
const char *study_title(const study_table *t, const study_column *column);

/* "ARM", or "ARM, WAY" where there are several ways to draw. */
void study_label(char label[DT_TEXT_MAX], const study_table *t, int arm, int way);

/* study_tables.c */
void study_page_data(html *out, const study_table *t, int data); /* means and spreads, differences to the first arm */
void study_page_together(html *out, const study_table *t); /* differences over all data sets; between ways to draw */
void study_page_failures(html *out, const study_table *t);

/* study_figures.c */
void study_page_figures(html *out, const study_table *t, int data);
void study_page_sensitivity(html *out, const study_table *t);

#endif
