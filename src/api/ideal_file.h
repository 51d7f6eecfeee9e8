/* What dt_ideal leaves: ideal.json and ideal.csv. */
#ifndef API_IDEAL_FILE_H
#define API_IDEAL_FILE_H

#include "base/error.h"

/* Writes both into s->output_dir; model_sha256 is empty where there is no model. */
dt_status ideal_write(const dt_settings *s, const char *model_sha256, const dt_ideal_result *r, dt_error *err);

#endif
