/* Settings that are given and change nothing, because other settings leave them no place. */
#ifndef API_SETTINGS_UNUSED_H
#define API_SETTINGS_UNUSED_H

#include "settings/settings.h"

/* DT_ERR_ARG for one that says what a model is to be which says that itself, or what is to be trained that is not there: it would
 * train something else than was meant. Given is what differs from its default. */
dt_status settings_refuse_unused(const dt_settings *s, settings_verb verb, dt_error *err);

/* Tells of all the others, in a line: files of settings serve several verbs and methods. */
void settings_tell_unused(const dt_settings *s, settings_verb verb, const dt_observer *observer);

#endif
