#include "study/unused.h"

#include <string.h>

#include "api/settings_unused.h"

/* Why no stage uses the key, of this arm (NULL: of any); NULL: one does, or none has it. */
static const char *why_unused(const study_plan *plan, const study_arm *arm, const settings_key *key)
{
    const char *why = NULL;
    for (int i = 0; i < plan->stage_count; i++) {
        const study_stage *stage = &plan->stage[i];
        dt_settings s;
        if ((arm && stage->arm != arm) || !(key->verbs & stage->verb)) continue;
        study_stage_settings(&s, plan, stage);
        why = settings_why_unused(&s, stage->verb, key);
        if (!why) return NULL;
    }
    return why;
}

void study_tell_unused(const study_plan *plan, const dt_settings *recipe, const settings_arms *arms,
                       const dt_observer *observer)
{
    unused_list list = {0};
    const char *why;
    for (int i = 0; i < settings_key_count; i++) {
        const settings_key *key = &settings_keys[i];
        if (settings_is_given(recipe, key) && (why = why_unused(plan, NULL, key))) unused_add(&list, "", key, why);
    }
    for (int a = 0; a < arms->count; a++)
        for (int i = 0; i < arms->arm[a].count; i++) {
            const settings_key *key = arms->arm[a].override[i].key;
            if ((why = why_unused(plan, &plan->arm[a], key))) unused_add(&list, arms->arm[a].name, key, why);
        }
    unused_tell(&list, observer);
}
