/* Settings: one table row per key gives its type, range, default, help, the verbs that read it, what it affects and whose
 * identity it is part of. Flags, YAML files, --help, the man page, the checks and what recognises finished work all walk
 * this table; a new key is one member of dt_settings and one row. The words of enums stand there and nowhere else.
 *
 * Key names follow diffusers' training scripts where the meaning is the same. Names are written with underscores in
 * files and with hyphens as flags; both forms are read everywhere. */
#ifndef SETTINGS_SETTINGS_H
#define SETTINGS_SETTINGS_H

#include <stddef.h>
#include "base/error.h"

/* Verbs, as bits of settings_key.verbs. */
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
    SETTINGS_STUDY = 1024,
    SETTINGS_CHAIN = 2048,
    SETTINGS_DIAGNOSE = 4096,
    SETTINGS_IDEAL = 8192,
    SETTINGS_INSPECT = 16384,
    SETTINGS_ANNOTATE = 32768,
} settings_verb;

typedef enum settings_type {
    SETTINGS_TEXT, /* char[size], printable UTF-8, NUL-terminated */
    SETTINGS_INT,  /* int64_t */
    SETTINGS_REAL, /* double, finite */
    SETTINGS_BOOL, /* bool */
    SETTINGS_ENUM, /* an enum of int's size that counts from 0 in the order of `words` */
} settings_type;

/* What another value of a key changes. */
typedef enum settings_affects {
    SETTINGS_RESULT,   /* what is made, or its bits */
    SETTINGS_MEMORY,   /* how much memory a step takes, and how long; to the same bits */
    SETTINGS_SPEED,    /* how long it takes */
    SETTINGS_WATCHING, /* what is written on the way */
    SETTINGS_PLACE,    /* where the result goes */
} settings_affects;

/* Where a key stands in the help. */
typedef enum settings_group {
    SETTINGS_GROUP_MACHINE,
    SETTINGS_GROUP_MODEL,
    SETTINGS_GROUP_DATA,
    SETTINGS_GROUP_METHOD,
    SETTINGS_GROUP_ADAPTER,
    SETTINGS_GROUP_TRAINING,
    SETTINGS_GROUP_WATCHING,
    SETTINGS_GROUP_SAMPLING,
    SETTINGS_GROUP_BANK,
    SETTINGS_GROUP_MEASURES,
    SETTINGS_GROUP_EXPERIMENT,
    SETTINGS_GROUP_FILES,
} settings_group;

/* Their headings. */
extern const char *const settings_group_names[];

/* What a text names. */
typedef enum settings_path {
    SETTINGS_NO_PATH,
    SETTINGS_FILE,     /* a file, or a folder that is no set of pictures where it is read */
    SETTINGS_PICTURES, /* a set of pictures or what stands for one: a folder, an archive, statistics */
} settings_path;

/* What another program calls a word of an enum. */
typedef struct settings_alias {
    const char *word;
    int number; /* of ours */
} settings_alias;

typedef struct settings_key {
    settings_group group;
    const char *name;
    settings_type type;
    size_t offset, size;           /* of the member in dt_settings, in bytes */
    const char *initial;           /* default, as text */
    double min, max;               /* SETTINGS_INT and SETTINGS_REAL, both allowed */
    const char *const *words;      /* SETTINGS_ENUM: ends with NULL */
    const settings_alias *aliases; /* read, never written; ends with a NULL word. NULL: none */
    unsigned verbs;
    settings_path path; /* SETTINGS_TEXT */
    bool is_list;       /* SETTINGS_TEXT: items with commas between them; in a file a sequence too */
    unsigned written;   /* verbs that write at the path; the others read it */
    settings_affects affects;
    unsigned
        identity; /* verbs whose folder keeps the value as part of what it is, and refuses a call with another one */
    const char *metavar; /* placeholder in help */
    const char *help;    /* one line, no full stop */
} settings_key;

/* The table; rows of one group stand together. */
extern const settings_key settings_keys[];
extern const int settings_key_count;

/* The row of `name` (hyphens or underscores), or NULL. */
const settings_key *settings_find(const char *name);

/* Whether the names with blanks between them (NULL: none) have the key's among them. */
bool settings_is_listed(const char *names, const settings_key *key);

/* The name of those verbs' keys with the smallest edit distance to `name`; NULL where none is so near that a slip of the
 * fingers explains it. */
const char *settings_nearest(const char *name, unsigned verbs);

/* What an unknown `name` may have meant to those verbs, as the end of a sentence: what other programs' words are here, else
 * the nearest name; "" where there is nothing to say. `flags`: keys are written as flags. */
void settings_hint(char text[DT_TEXT_MAX], const char *name, unsigned verbs, bool flags);

/* Whether one of the verbs makes something else, or in another amount of memory, with another value of the key: what the
 * stages of an experiment are recognised by. */
bool settings_shapes(const settings_key *key, unsigned verbs);

/* Whether the key can change a training at all while the others are as they are: the method's keys are Diff-Tuning's, and those of an
 * adapter need one. */
bool settings_matter(const dt_settings *s, const settings_key *key);

/* Whether a and b have the same values of all those keys. */
bool settings_same(const dt_settings *a, const dt_settings *b, unsigned verbs);

/* The word that an enum of *s stands at, e.g. settings_word(s, "sampler") is "ddim" or "ddpm". Static text; `name` must be
 * in the table as an enum. */
const char *settings_word(const dt_settings *s, const char *name);

/* Whether a model is told control pictures: one that is named with them, or by a ControlNet. */
bool settings_tell_control(const dt_settings *s);

/* Whether something is kept in cache_dir: latents, control maps or prompts. */
bool settings_keep_cache(const dt_settings *s);

/* The form of xi that is asked for; never DT_XI_PRESET, but what the preset makes of it. */
dt_xi settings_xi(const dt_settings *s);

/* What is asked to be retained; never DT_RETENTION_PRESET, but what the preset makes of it. Of distil it is what came out ahead in
 * docs/results.md, and with a control in docs/controlnet.md. */
dt_retention settings_retention(const dt_settings *s);

/* *s with what is retained named, which the preset chooses otherwise. */
dt_settings settings_settled(const dt_settings *s);

/* The number of a word of an enum, or of an alias of one; -1: it is none. */
int settings_word_number(const char *name, const char *word);

/* The word of a number of an enum, e.g. settings_word_at("retention", DT_RETENTION_NONE) is "none". Static text; `name` must be in
 * the table as an enum that has the number. */
const char *settings_word_at(const char *name, int number);

/* What people call a method, by its number: "Diff-Tuning", "plain fine-tuning", "pre-training". */
extern const char *const settings_method_names[];

/* dt_settings_set with a dt_error: DT_ERR_ARG, *s unchanged, when the key is unknown or the text is not allowed. */
dt_status settings_set(dt_settings *s, const char *name, const char *text, dt_error *err);

enum { SETTINGS_VALUE_MAX = DT_LIST_MAX };

/* The value of one key as text that settings_set reads back to the same bits. */
void settings_text(char text[SETTINGS_VALUE_MAX], const dt_settings *s, const settings_key *key);

/* The same of settings that nobody touched. */
void settings_initial_text(char text[SETTINGS_VALUE_MAX], const settings_key *key);

/* Whether the member holds a value that settings_set could have put there. */
bool settings_in_range(const dt_settings *s, const settings_key *key);

/* What may be written for a key, e.g. "a whole number from 1 to 64" or "one of: ema, last". */
void settings_allowed(char text[DT_TEXT_MAX], const settings_key *key);

/* dt_settings_load and dt_settings_save with a dt_error. A file that is not a YAML mapping of known keys to single
 * values is DT_ERR_ARG with its line; *s is changed only when the whole file is good. Where the file holds the mapping
 * `arms`, or another part of a study, that is checked as well, and s->arms becomes the file's own path. */
dt_status settings_load(dt_settings *s, const char *path, dt_error *err);
dt_status settings_save(const dt_settings *s, const char *path, dt_error *err);

/* ---- arms: what an experiment compares; each is a name and settings of its own on top of the recipe's ---- */

/* A name in a file has SETTINGS_NAME_MAX bytes at most, its zero byte included; one that a study puts together may be longer.
 * A file names SETTINGS_ARMS_MAX arms at most; an experiment, whose arms may be a study's product, has SETTINGS_CASES_MAX at most. */
enum { SETTINGS_NAME_MAX = 48, SETTINGS_ARM_NAME_MAX = 160, SETTINGS_ARMS_MAX = 256, SETTINGS_CASES_MAX = 512 };

typedef struct settings_arm {
    char name[SETTINGS_ARM_NAME_MAX]; /* letters, digits, hyphens and underscores */
    struct settings_override {
        const settings_key *key;
        char *text; /* a value that settings_set takes */
    } * override;
    int count;
} settings_arm;

typedef struct settings_arms {
    settings_arm *arm; /* no two of one name */
    int count;
} settings_arms;

/* Reads the mapping `arms` of a YAML file, whose other keys are checked and passed over. DT_ERR_ARG with the line: as
 * settings_load, more than SETTINGS_ARMS_MAX arms, a name that is none or is there twice, a key that an arm cannot set, parts of
 * a study beside the arms. On failure *arms is empty. */
dt_status settings_arms_load(settings_arms *arms, const char *path, dt_error *err);
void settings_arms_free(settings_arms *arms);

/* Whether an arm may set the key: what an experiment uses, other than where results go and what is one for all arms. */
bool settings_suits_arm(const settings_key *key);

/* Adds an arm without overrides, or an override. DT_ERR_MEMORY (NULL for the arm). */
settings_arm *settings_arms_add(settings_arms *arms, const char *name, dt_error *err);
dt_status settings_arm_add(settings_arm *arm, const settings_key *key, const char *text, dt_error *err);

/* Puts the arm's settings on top of *s. */
void settings_arm_apply(dt_settings *s, const settings_arm *arm);

/* Plain fine-tuning and Diff-Tuning, each called by its method's word. On failure *arms is empty. */
dt_status settings_arms_default(settings_arms *arms, dt_error *err);

/* ---- a study: what its file holds beside settings, all of it lists of alternatives ---- */

enum { SETTINGS_AXES_MAX = 8 };

/* An axis of the grid: values of one key, or groups of settings with names. */
typedef struct settings_axis {
    char name[SETTINGS_NAME_MAX];
    const settings_key *key; /* NULL: groups */
    settings_arms value;     /* a value of a key is an arm that sets it alone */
} settings_axis;

typedef struct settings_study {
    settings_arms arms;
    settings_arms data;  /* the data sets */
    settings_arms seeds; /* each sets seed alone */
    settings_arms draw;  /* the ways to draw, with settings that drawing alone uses */
    settings_axis axis[SETTINGS_AXES_MAX];
    int axis_count;
} settings_study;

/* Reads `arms`, `grid`, `data`, `seeds` and `draw` of a YAML file, whose other keys are checked and passed over; any may be
 * missing. DT_ERR_ARG as settings_arms_load. On failure *study is empty. */
dt_status settings_study_load(settings_study *study, const char *path, dt_error *err);
void settings_study_free(settings_study *study);

/* settings_save, with the parts themselves in place of the key `arms`. */
dt_status settings_save_with(const dt_settings *s, const settings_study *study, const char *path, dt_error *err);

/* Whether a way to draw may set the key: of those for drawing samples what training and the bank do not hang on. */
bool settings_suits_draw(const settings_key *key);

#endif
