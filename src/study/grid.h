/* What a study's file comes to: its arms, those that it names and the product of its grid; and its cases, each an arm on a data
 * set with a seed, which are the arms of the plan. */
#ifndef STUDY_GRID_H
#define STUDY_GRID_H

#include "settings/settings.h"

enum { STUDY_CASES_MAX = SETTINGS_CASES_MAX };

typedef struct study_case {
    int arm;        /* of study_grid.arms */
    int data, seed; /* of the file's; 0 where it has none */
} study_case;

typedef struct study_grid {
    settings_arms arms; /* in the order of the file; the product's last axis changes fastest */
    int (*place)
        [SETTINGS_AXES_MAX]; /* of each arm: which value of each axis it has; -1 where the grid has no part in it */
    settings_arms cases;     /* seed after seed, in each data set after data set, so that each seed is whole early */
    study_case *kase;        /* of each case */
} study_grid;

/* Where the file has neither arms nor a grid the arms are the usual two. DT_ERR_ARG: an arm that sets a key twice, by itself, its
 * axes, its data set or the list of seeds; a name that is too long or is there twice; more than STUDY_CASES_MAX cases. On failure
 * *g is closed. */
dt_status study_grid_open(study_grid *g, const settings_study *file, dt_error *err);
void study_grid_close(study_grid *g);

#endif
