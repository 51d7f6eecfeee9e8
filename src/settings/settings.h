/* Settings: one table row per key gives its type, range, default, help and the verbs that read it. Flags, YAML files,
 * --help, the man page and the checks all walk this table; a new key is one member of dt_settings and one row.
 *
 * Key names follow diffusers' training scripts where the meaning is the same. Names are written with underscores in
 * files and with hyphens as flags; both forms are read everywhere. */
#ifndef SETTINGS_SETTINGS_H
#define SETTINGS_SETTINGS_H

#include <stddef.h>
#include "base/error.h"

/* Verbs, as bits of settings_key.verbs. `inspect` takes a path and no keys. */
typedef enum settings_verb {
    SETTINGS_BANK = 1,
    SETTINGS_TRAIN = 2,
    SETTINGS_SAMPLE = 4,
    SETTINGS_EVAL = 8,
    SETTINGS_PREDICT = 16,
    SETTINGS_REPORT = 32,
    SETTINGS_CONVERT = 64,
    SETTINGS_CACHE = 128,
    SETTINGS_DATA = 256,
    SETTINGS_RUN = 512,
} settings_verb;

typedef enum settings_type {
    SETTINGS_TEXT, /* char[size], printable UTF-8, NUL-terminated */
    SETTINGS_INT,  /* int64_t */
    SETTINGS_REAL, /* double, finite */
    SETTINGS_BOOL, /* bool */
    SETTINGS_ENUM, /* an enum of int's size that counts from 0 in the order of `words` */
} settings_type;

typedef struct settings_key {
    const char *group, *name;
    settings_type type;
    size_t offset, size;      /* of the member in dt_settings, in bytes */
    const char *initial;      /* default, as text */
    double min, max;          /* SETTINGS_INT and SETTINGS_REAL, both allowed */
    const char *const *words; /* SETTINGS_ENUM: ends with NULL */
    unsigned verbs;
    const char *metavar; /* placeholder in help */
    const char *help;    /* one line, no full stop */
} settings_key;

/* The table; rows of one group stand together. */
extern const settings_key settings_keys[];
extern const int settings_key_count;

/* The row of `name` (hyphens or underscores), or NULL. */
const settings_key *settings_find(const char *name);

/* The name in the table with the smallest edit distance to `name`. */
const char *settings_nearest(const char *name);

/* dt_settings_set with a dt_error: DT_ERR_ARG, *s unchanged, when the key is unknown or the text is not allowed. */
dt_status settings_set(dt_settings *s, const char *name, const char *text, dt_error *err);

enum { SETTINGS_VALUE_MAX = DT_PATH_MAX };

/* The value of one key as text that settings_set reads back to the same bits. */
void settings_text(char text[SETTINGS_VALUE_MAX], const dt_settings *s, const settings_key *key);

/* Whether the member holds a value that settings_set could have put there. */
bool settings_in_range(const dt_settings *s, const settings_key *key);

/* What may be written for a key, e.g. "a whole number from 1 to 64" or "one of: ema, last". */
void settings_allowed(char text[DT_TEXT_MAX], const settings_key *key);

/* dt_settings_load and dt_settings_save with a dt_error. A file that is not a YAML mapping of known keys to single
 * values is DT_ERR_ARG with its line; *s is changed only when the whole file is good. */
dt_status settings_load(dt_settings *s, const char *path, dt_error *err);
dt_status settings_save(const dt_settings *s, const char *path, dt_error *err);

/* The rules across keys for one verb: what it cannot do without, and settings that contradict each other. DT_ERR_ARG
 * with one sentence that names the keys. For train, psi_table and xi_table are read as well, with their own errors. */
dt_status settings_check(const dt_settings *s, settings_verb verb, dt_error *err);

#endif
