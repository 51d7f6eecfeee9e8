/* What an experiment does: stages, each a call of a public verb with settings of its own, made from the recipe and its arms.
 *
 * An arm is the recipe with a few settings of its own, such as another method or another tau. Each has the stages train,
 * sample and distance. What stands before them (statistics of the reference, the cache of latents, the memory bank) is
 * shared by the arms whose settings for it are the same: the first such stage is called "bank", one for other settings
 * "bank-ARM" by the arm that needs it first. An arm whose bank is a folder of pictures needs none drawn. The report comes last.
 *
 * The stages of an arm called NAME are NAME (training), NAME-samples and NAME-distance; so are their folders.
 *
 * A study's plan is the same with more: an arm is drawn from in several ways, NAME-WAY-samples and NAME-WAY-distance each;
 * features of every picture are kept for the measures that need them, of the training pictures too ("training"); pictures to
 * measure on serve as reference and as validation_data where one of the two is not given.
 *
 * An arm that tells its model a control is measured by its training: when samples obey the control. Samples and their distance
 * are made of it only where `reference` names what to compare with. */
#ifndef STUDY_PLAN_H
#define STUDY_PLAN_H

#include "settings/settings.h"

enum { STUDY_NAME_MAX = SETTINGS_ARM_NAME_MAX + SETTINGS_NAME_MAX + 16, STUDY_NEEDS_MAX = 4 };

typedef enum study_kind {
    STUDY_REFERENCE, /* up to STUDY_BANK: shared */
    STUDY_TRAINING,  /* features of the training pictures */
    STUDY_CACHE,
    STUDY_BANK,
    STUDY_TRAIN,
    STUDY_SAMPLES,
    STUDY_DISTANCE,
    STUDY_REPORT,
} study_kind;

typedef struct study_stage study_stage;

typedef struct study_arm {
    char name[SETTINGS_ARM_NAME_MAX];
    dt_settings s; /* the recipe's with the arm's own, the data set's splits and the bank's folder filled in */
    bool draws;    /* it has samples and their distance; else its training is all */
    const study_stage *shared[STUDY_BANK + 1]; /* by their kind; NULL: none of it */
} study_arm;

struct study_stage {
    char name[STUDY_NAME_MAX]; /* unique in the plan */
    const char *title;
    study_kind kind;
    settings_verb verb;
    const study_arm *arm; /* the one it belongs to, or the first of those that share it; NULL: the report */
    int way;              /* samples and distance: of the ways to draw; 0 where there is one alone */
    bool measures;        /* behind it the arm is measured, as drawn from in this way */
    const study_stage *needs[STUDY_NEEDS_MAX]; /* what must be finished before; up to the first NULL */
};

typedef struct study_plan {
    const dt_settings *recipe;
    const settings_arms *draw; /* ways to draw; NULL: of no study */
    study_arm *arm;            /* in the order of the recipe */
    int arm_count;
    int way_count;
    bool study; /* what fails does not stop the rest, and results and times are kept; it has a page of its own */
    bool draws; /* an arm does */
    study_stage *stage; /* in the order in which they are done: what can fail for a missing file comes first */
    int stage_count;
} study_plan;

/* Makes the plan of an experiment in recipe->output_dir and checks every stage's settings. `draw` are the ways to draw of a study,
 * none or more; NULL for an experiment that is none. The plan reads *recipe and *draw as long as it is open. DT_ERR_ARG names the arm whose settings contradict each other, or whose name
 * another stage has. On failure *plan is closed. */
dt_status study_plan_open(study_plan *plan, const dt_settings *recipe, const settings_arms *arms,
                          const settings_arms *draw, dt_error *err);
void study_plan_close(study_plan *plan);

/* The settings that a stage's verb is called with. */
void study_stage_settings(dt_settings *out, const study_plan *plan, const study_stage *stage);

/* DT_ERR_IO naming the first arm with a path to read from that is not there. */
dt_status study_plan_check_inputs(const study_plan *plan, dt_error *err);

/* Looks at the bases of arms that tell a control. DT_ERR_UNSUPPORTED naming the arm whose base is told none; as model_file_open_as
 * where it cannot be read. */
dt_status study_plan_check_bases(const study_plan *plan, dt_error *err);

/* Whether the stage is one that arms share. */
static inline bool study_is_shared(const study_stage *stage)
{
    return stage->kind <= STUDY_BANK;
}

#endif
