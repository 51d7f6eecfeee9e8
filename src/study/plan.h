/* What an experiment does: stages, each a call of a public verb with settings of its own, made from the recipe and its arms.
 *
 * An arm is the recipe with a few settings of its own, such as another method or another tau. Each has the stages train,
 * sample and distance. What stands before them (statistics of the reference, the cache of latents, the memory bank) is
 * shared by the arms whose settings for it are the same: the first such stage is called "bank", one for other settings
 * "bank-ARM" by the arm that needs it first. The report comes last.
 *
 * The stages of an arm called NAME are NAME (training), NAME-samples and NAME-distance; so are their folders. */
#ifndef STUDY_PLAN_H
#define STUDY_PLAN_H

#include "settings/settings.h"

enum { STUDY_NAME_MAX = SETTINGS_ARM_NAME_MAX + 16 };

typedef struct study_stage study_stage;

typedef struct study_arm {
    char name[SETTINGS_ARM_NAME_MAX];
    dt_settings s; /* the recipe's with the arm's own, the data set's splits and the bank's folder filled in */
    const study_stage *reference, *bank;
} study_arm;

struct study_stage {
    char name[STUDY_NAME_MAX]; /* unique in the plan */
    const char *title;
    settings_verb verb;
    const study_arm *arm; /* the one it belongs to, or the first of those that share it; NULL: the report */
    bool shared;
    dt_settings s;
};

typedef struct study_plan {
    study_arm *arm; /* in the order of the recipe */
    int arm_count;
    study_stage *stage; /* in the order in which they are done: what can fail for a missing file comes first */
    int stage_count;
} study_plan;

/* Makes the plan of an experiment in recipe->output_dir and checks every stage's settings. DT_ERR_ARG names the arm whose
 * settings contradict each other, or whose name another stage has. On failure *plan is closed. */
dt_status study_plan_open(study_plan *plan, const dt_settings *recipe, const settings_arms *arms, dt_error *err);
void study_plan_close(study_plan *plan);

#endif
