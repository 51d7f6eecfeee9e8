/* Settings of an experiment that none of its calls uses. Each call by itself would speak of those that another call uses. */
#ifndef STUDY_UNUSED_H
#define STUDY_UNUSED_H

#include "study/plan.h"

/* Tells in a line of the recipe's settings that are given and not used by any stage, and of each arm's own that no stage of the arm
 * uses. `arms` are those of the plan. */
void study_tell_unused(const study_plan *plan, const dt_settings *recipe, const settings_arms *arms,
                       const dt_observer *observer);

#endif
