/* Settings that are given and change nothing, because other settings leave them no place. */
#ifndef API_SETTINGS_UNUSED_H
#define API_SETTINGS_UNUSED_H

#include "settings/settings.h"

/* DT_ERR_ARG for one that says what a model is to be which says that itself, or what is to be trained that is not there: it would
 * train something else than was meant. Given is what differs from its default. */
dt_status settings_refuse_unused(const dt_settings *s, settings_verb verb, dt_error *err);

/* Whether the key has another value than its default. */
bool settings_is_given(const dt_settings *s, const settings_key *key);

/* What the verb, which has the key, would need to use it with these settings; NULL: nothing, it does. */
const char *settings_why_unused(const dt_settings *s, settings_verb verb, const settings_key *key);

/* Of those that are given and not used all but the refused ones: files of settings serve several verbs and methods. */
typedef struct unused_list {
    char text[4 * DT_TEXT_MAX];
    size_t used;
} unused_list;

/* `arm` is whose the key is; empty: everybody's. */
void unused_add(unused_list *l, const char *arm, const settings_key *key, const char *why);

/* Tells of them in a line; of none nothing. */
void unused_tell(const unused_list *l, const dt_observer *observer);

/* All that for the settings of one call. */
void settings_tell_unused(const dt_settings *s, settings_verb verb, const dt_observer *observer);

#endif
