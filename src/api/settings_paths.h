/* What a call writes must not be what it reads, nor lie among pictures that it reads: the user's files stay as they are, and
 * what is put beside pictures would be taken for some of them the next time. */
#ifndef API_SETTINGS_PATHS_H
#define API_SETTINGS_PATHS_H

#include "settings/settings.h"

/* DT_ERR_ARG where an output of the verb is one of its inputs, another of its outputs, or inside a folder of pictures, also
 * by way of links. Paths that are not there yet are judged by the part of them that is. */
dt_status settings_check_paths(const dt_settings *s, settings_verb verb, dt_error *err);

#endif
