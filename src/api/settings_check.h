/* The rules across keys, which need to know what the keys stand for. */
#ifndef API_SETTINGS_CHECK_H
#define API_SETTINGS_CHECK_H

#include "settings/settings.h"

/* The rules of one verb: what it cannot do without, and settings that contradict each other. DT_ERR_ARG with one sentence
 * that names the keys. For train, psi_table and xi_table are read as well, with their own errors. */
dt_status settings_check(const dt_settings *s, settings_verb verb, dt_error *err);

/* The rules of one arm of a run or a study: what its stages, which have the rules of their verbs, cannot be without. */
dt_status settings_check_arm(const dt_settings *s, dt_error *err);

#endif
