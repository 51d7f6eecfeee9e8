/* The command line: one verb per file, listed in main.c. A verb says what it is and calls the library; reading flags,
 * help, progress, signals and exit codes are the same for all and live in the files beside. */
#ifndef TOOLS_CLI_H
#define TOOLS_CLI_H

#include <stdio.h>

#include "settings/settings.h"

/* Parts of the overview; the verbs of one stand together. */
typedef enum verb_section { VERB_STEP, VERB_WHOLE, VERB_ANALYSIS, VERB_FILES } verb_section;

typedef struct verb {
    verb_section section;
    const char *name, *summary; /* summary: half a line */
    const char *description;    /* sentences, wrapped by the help */
    const char *example;        /* shell lines */
    const char *needs;          /* keys without which a first call does not go, with blanks between; NULL: none */
    const char *often;          /* the same, keys to look at next */
    unsigned keys;              /* the settings_verb whose keys it takes */
    const char *operands;       /* its arguments without a flag, or NULL: placeholders in capitals, words as they are */
    bool operand_is_config;     /* its first argument is the file that --config names elsewhere */
    bool in_one_piece;          /* of its work nothing is kept before the end, so that a stop may end it at once */
    dt_status (*run)(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer);
} verb;

extern const verb data_verb, diagnose_verb, bank_verb, cache_verb, train_verb, sample_verb, eval_verb, predict_verb,
    convert_verb, inspect_verb, report_verb, run_verb, study_verb, chain_verb, ideal_verb, annotate_verb;
extern const verb *const verbs[]; /* ends with NULL */

/* NULL for an unknown name. */
const verb *verb_find(const char *name);

/* ---- arguments.c ---- */

enum { OPERANDS_MAX = 3 };

typedef struct arguments {
    bool help;                   /* --help or -h was there */
    char *operand[OPERANDS_MAX]; /* as many as the verb has; they point into operand_text */
    int operand_count;
    char operand_text[OPERANDS_MAX][DT_PATH_MAX];
} arguments;

/* Reads what follows the verb: the file of --config first, then the flags on top. DT_ERR_ARG for everything that `v`
 * does not take; *s is then half changed. Cuts argv's strings at '='. */
dt_status arguments_read(arguments *a, dt_settings *s, const verb *v, int argc, char **argv, dt_error *err);

/* ---- help.c ---- */

void help_overview(FILE *out);
void help_verb(FILE *out, const verb *v);

/* The sections VERBS and SETTINGS of the man page, in roff. */
void help_roff(FILE *out);

/* ---- completion.c ---- */

/* The completion script of a shell, "bash" or "zsh"; false for another one. */
bool completion_print(FILE *out, const char *shell);

/* ---- progress.c: a live line on a terminal, plain lines elsewhere ---- */

typedef struct progress {
    FILE *out;
    bool terminal;
    char live[256];        /* what stands in the terminal's last line; empty: nothing */
    int64_t logging_steps; /* 0: only the last step is shown in plain lines */
    double last_drawn_s;
} progress;

void progress_open(progress *p, FILE *out, const dt_settings *s);
void progress_step(void *user, const dt_progress *state);
void progress_log(void *user, const char *line);

/* Ends a line that is still open, so that what follows starts on its own. */
void progress_close(progress *p);

/* How the program ends. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_STOPPED = 75 /* EX_TEMPFAIL: the same command goes on */ };

/* ---- interrupt.c ---- */

/* From here on SIGINT, SIGTERM, SIGHUP and SIGXCPU ask for a stop: the first is answered by a line on standard error, those of
 * the next seconds change nothing, and a SIGINT or SIGTERM after them ends the process at once with 128 + its number. SIGUSR1
 * and SIGUSR2 ask for a checkpoint. Without `stops` the former do what they always do. */
void interrupt_install(bool stops);

/* Before this a wish to stop ends the process with EXIT_STOPPED: nothing has been done yet, and ranks may be waiting for others. */
void interrupt_work_begins(void);

/* dt_observer.should_stop and should_save. */
bool interrupt_requested(void *user);
bool interrupt_save_requested(void *user);

#endif
