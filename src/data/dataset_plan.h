/* Which of the listed files are taken, and under which class: the rules are told in dataset.h. */
#ifndef DATA_DATASET_PLAN_H
#define DATA_DATASET_PLAN_H

#include "data/dataset_source.h"

typedef struct class_plan {
    char **class_name; /* [class_count] */
    int64_t class_count;
    char split[16]; /* the split taken, "" where there are none */
    size_t prefix;  /* number of characters of each file's name above its class folder */
} class_plan;

typedef struct class_plan_options {
    char *const *known; /* the classes to label by, of which those found must be some; NULL: those found */
    int64_t known_count;
    bool held_out; /* of splits, where none is asked for, the one for validation instead of that for training */
} class_plan_options;

/* Chooses split and classes: keeps the files that are taken, sorted, with labels; notes what is passed over in the report.
 * On failure *p may only be closed. */
dt_status class_plan_make(class_plan *p, source *s, dataset_report *report, const class_plan_options *options,
                          dt_error *err);
void class_plan_close(class_plan *p);

#endif
