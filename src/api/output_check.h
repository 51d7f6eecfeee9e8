/* Whether what a verb will write can be written: asked before its work, not found out after it. */
#ifndef API_OUTPUT_CHECK_H
#define API_OUTPUT_CHECK_H

#include "settings/settings.h"

/* DT_ERR_IO naming the first output of this verb whose file or folder cannot be made or written to. Nothing stays behind. */
dt_status output_check(const dt_settings *s, settings_verb verb, dt_error *err);

#endif
