/* A study as a table: one row for each training and way to draw, with everything that was measured; and what follows from it over
 * seeds. The page and study.csv are written from the same table. */
#ifndef REPORT_STUDY_TABLE_H
#define REPORT_STUDY_TABLE_H

#include "report/run.h"
#include "settings/settings.h"

typedef enum study_measure {
    STUDY_FRECHET,
    STUDY_KERNEL,
    STUDY_KERNEL_STD, /* over subsets of pictures, not over seeds */
    STUDY_LOSS,       /* held-out, all t */
    STUDY_BANK_LOSS,  /* on the bank: what it rises by is forgotten */
    STUDY_COPIED,     /* eval/memorisation.h, with the two below */
    STUDY_COPIED_HELD_OUT,
    STUDY_NEAREST_RATIO,
    STUDY_PRECISION,
    STUDY_RECALL,
    STUDY_SPATIAL,
    STUDY_SCORE,
    STUDY_REACHED, /* steps at which samples obey their control, with what belongs to it up to STUDY_OBEDIENCE: run_obedience */
    STUDY_REACHED_EARLY,
    STUDY_REACHED_LATE,
    STUDY_JUMP,
    STUDY_JUMP_FIRST,
    STUDY_JUMP_LAST,
    STUDY_OBEDIENCE, /* the last measure */
    STUDY_THRESHOLD,
    STUDY_LOSS_BEFORE, /* before tuning */
    STUDY_BANK_LOSS_BEFORE,
    STUDY_LOSS_BAND, /* held-out, of each band of t */
    STUDY_LOSS_BAND_BEFORE = STUDY_LOSS_BAND + RUN_BANDS,
    STUDY_MEASURES = STUDY_LOSS_BAND_BEFORE + RUN_BANDS
} study_measure;

enum { STUDY_AXES_MAX = SETTINGS_AXES_MAX, STUDY_SEEDS_MAX = SETTINGS_ARMS_MAX, STUDY_TIMES = 3 };

typedef struct study_row {
    int arm, data, seed, way;
    double value[STUDY_MEASURES]; /* NaN: not measured */
    double seconds[STUDY_TIMES];  /* training, drawing, measuring; NaN: not done */
    const char *failure;          /* why there is nothing; NULL: it has not failed */
    bool measured;                /* all of it */
    const run *run;               /* of the training; NULL: none yet */
} study_row;

typedef struct study_names {
    const char **name;
    int count;
} study_names;

typedef struct study_table {
    const char *title, *tool;
    const char *settings; /* of all arms, as YAML */
    const char *measure;  /* "FD-squeezenet"; "" while nothing is measured */
    study_names arm, data, seed, way, axis;
    bool draws; /* some arms are drawn from */
    /* Of each arm: its value on each axis; "" where the grid has no part in it. */
    const char *(*axis_text)[STUDY_AXES_MAX];
    bool axis_is_number[STUDY_AXES_MAX];
    study_row *row; /* arms outermost, then data sets, seeds, ways */
    int row_count;
} study_table;

/* Row of these numbers. */
static inline study_row *study_row_at(const study_table *t, int arm, int data, int seed, int way)
{
    return &t->row[((arm * t->data.count + data) * t->seed.count + seed) * t->way.count + way];
}

/* Name of a measure in study.csv. */
void study_measure_name(char name[RUN_NAME_MAX], study_measure measure);

/* study.csv: a row for each training and way to draw, everything measured; the same bytes however often the study was stopped.
 * times.csv: how long each took. */
dt_status study_csv_write(const study_table *t, const char *path, dt_error *err);
dt_status study_times_write(const study_table *t, const char *path, dt_error *err);

/* The page. */
dt_status study_page_write(const study_table *t, const char *path, dt_error *err);

#endif
