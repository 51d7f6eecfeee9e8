/* What a call writes must not be what it reads, nor lie among pictures that it reads: the user's files stay as they are, and
 * what is put beside pictures would be taken for some of them the next time. */
#ifndef API_SETTINGS_PATHS_H
#define API_SETTINGS_PATHS_H

#include "settings/settings.h"

/* The paths that a verb works with, one after the other; of an experiment those of all its stages. */
typedef struct settings_paths {
    const settings_key *key;
    char path[DT_PATH_MAX]; /* without the split of "PATH:SPLIT" and the weight of "PATH:WEIGHT" */
    const dt_settings *s;
    settings_verb verb;
    int index;
    const char *rest; /* of the key's value */
} settings_paths;

/* Before the first one. *s is read while it goes on. */
settings_paths settings_paths_of(const dt_settings *s, settings_verb verb);

/* Goes to the next one, whose key and path it fills in; false: there is no more. Values that name no path, such as an annotator's
 * name, are passed over. */
bool settings_paths_next(settings_paths *w);

/* Whether the verb writes at this one; it reads the others. */
bool settings_paths_writes(const settings_paths *w);

/* DT_ERR_IO: the one at hand, which is read, is not there. Says so with what might have been meant. */
dt_status settings_path_missing(const settings_paths *w, dt_error *err);

/* The same of the first that is read and not there. */
dt_status settings_check_inputs(const dt_settings *s, settings_verb verb, dt_error *err);

/* DT_ERR_ARG where an output of the verb is one of its inputs, another of its outputs, or inside a folder of pictures, also
 * by way of links. Paths that are not there yet are judged by the part of them that is. */
dt_status settings_check_paths(const dt_settings *s, settings_verb verb, dt_error *err);

#endif
