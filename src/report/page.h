/* The parts of the report page. Each writes one section and none fails: the page remembers a lack of memory itself,
 * and a section without data says so or stays away. */
#ifndef REPORT_PAGE_H
#define REPORT_PAGE_H

#include "report/html.h"
#include "report/run.h"
#include "settings/settings.h"

enum { REPORT_LABEL_MAX = 320 };

/* Distances closer than this share are called a tie: one seed of a few hundred samples does not resolve less. */
#define REPORT_TIE 0.02

typedef struct report_run {
    run run;
    run_summary summary;
    char arm[SETTINGS_ARM_NAME_MAX]; /* its name in an experiment; empty: the run was named by itself */
    /* Unique in the report: the arm's or method's name, with the folder's where it is shared. */
    char label[REPORT_LABEL_MAX];
    const char *colour; /* class of the style, for lines and swatches */
    bool dashed;        /* lines: what tells it from an earlier run of the same colour */
} report_run;

typedef struct report_chain_point {
    double tail, frechet_distance, kernel_distance, kernel_distance_std; /* NaN: not there */
    char folder[32];                                                     /* its samples', in the chain's */
} report_chain_point;

/* A folder of difftune chain. */
typedef struct report_chain {
    char folder[DT_PATH_MAX];
    int64_t run;  /* whose it is, by its number in the report; -1: it was named by itself */
    json_t *info; /* chain.json */
    int64_t count, best;
    report_chain_point point[DT_CHAIN_POINTS_MAX];
} report_chain;

/* A folder of difftune diagnose, named beside the runs. */
typedef struct report_diagnosis {
    char folder[DT_PATH_MAX];
    json_t *found;
} report_diagnosis;

typedef struct report {
    report_run *runs;
    int64_t count;
    report_chain *chains;
    int64_t chain_count;
    report_diagnosis *diagnoses;
    int64_t diagnosis_count;
    char measures[RUN_MEASURES_MAX][RUN_NAME_MAX]; /* in order of appearance */
    int64_t measure_count;
} report;

extern const char report_style[]; /* the page's CSS */

/* A whole page: what `print` prints stands behind the heading, in a <header> that it ends. The status of `print`, DT_ERR_IO or
 * DT_ERR_MEMORY. */
dt_status page_write(const char *path, const char *heading,
                     dt_status (*print)(html *out, const void *user, dt_error *err), const void *user, dt_error *err);

/* verdict.c: what came out, in sentences made from the numbers. */
void page_verdict(html *out, const report *r);

/* protocol.c: runs of a recipe beside the paper; nothing where no run has one */
void page_protocol(html *out, const report *r);

/* diagnosis.c: the transfer gap; nothing where it is not known */
void page_diagnosis(html *out, const report *r);

/* What was found before training: first the diagnoses named beside the runs, then those that runs keep. */
typedef struct report_finding {
    const char *label;   /* the folder's name, or the run's */
    const json_t *found; /* NULL: there are no more */
} report_finding;
report_finding report_finding_at(const report *r, int64_t number);

/* weights.c: distances to the start; nothing where no run has one */
void page_weights(html *out, const report *r);

/* tables.c */
void page_run_table(html *out, const report *r);
void page_differences(html *out, const report *r); /* settings that the runs do not share, and every config.yaml */
void page_data(html *out, const report *r);        /* data reports */
void page_origins(html *out, const report *r);     /* folders, tool, hashes, classes */

/* convergence.c: obedience to controls; nothing where no run has one. DT_ERR_FORMAT as page_grids */
dt_status page_convergence(html *out, const report *r, dt_error *err);

/* figures.c */
void page_distance_charts(html *out, const report *r);
void page_training_charts(html *out, const report *r);
void page_forgetting_charts(html *out, const report *r);

/* chain.c. DT_ERR_FORMAT naming a chain.json that is none; on failure *c is empty. */
dt_status report_chain_open(report_chain *c, const char *folder, dt_error *err);
void report_chain_close(report_chain *c);
dt_status page_chains(html *out, const report *r, dt_error *err);

/* grids.c: the sample grids, embedded. DT_ERR_FORMAT when a grid is not a PNG or above 32 MiB. */
dt_status page_grids(html *out, const report *r, dt_error *err);
dt_status page_grid(html *out, const char *path, const char *caption, dt_error *err);

/* A few of these grids, evenly spread over the course of a run, behind "LABEL" and `what` is seen. */
dt_status page_strip(html *out, const char *label, const char *what, const run_grid grid[], int64_t count,
                     dt_error *err);

#endif
