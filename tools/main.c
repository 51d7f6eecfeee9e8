/* difftune VERB [--key VALUE]...: finds the verb, reads its settings, calls it, and makes its status an exit code. */
#include "cli.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "settings/settings_implied.h"

const verb *const verbs[] = {&diagnose_verb, &bank_verb,    &train_verb,   &sample_verb,  &eval_verb,  &report_verb,
                             &data_verb,     &run_verb,     &study_verb,   &chain_verb,   &ideal_verb, &cache_verb,
                             &annotate_verb, &inspect_verb, &convert_verb, &predict_verb, NULL};

const verb *verb_find(const char *name)
{
    for (const verb *const *v = verbs; *v; v++)
        if (!strcmp((*v)->name, name)) return *v;
    return NULL;
}

static int exit_code(dt_status status)
{
    switch (status) {
    case DT_OK: return EXIT_DONE;
    case DT_ERR_ARG: return EXIT_USAGE;
    case DT_ERR_INTERRUPTED: return EXIT_STOPPED;
    default: return EXIT_FAILED;
    }
}

static int fail(dt_status status, const char *sentence)
{
    if (sentence[0]) fprintf(stderr, "difftune: %s\n", sentence); /* of several ranks one speaks for all */
    return exit_code(status);
}

/* Whether standard output is a pipe that nobody reads any more. */
static bool reader_is_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
}

/* What was printed may be waiting still for a full disk. A reader that has seen enough, as head has, is no failure. */
static int close_output(int code)
{
    if ((fflush(stdout) == 0 && !ferror(stdout)) || reader_is_gone()) return code;
    return fail(DT_ERR_IO, "cannot write to standard output");
}

static int call_verb(const verb *v, int argc, char **argv)
{
    interrupt_install(!v->in_one_piece);
    dt_settings s;
    arguments a;
    dt_error err = {0};
    dt_settings_init(&s);
    if (arguments_read(&a, &s, v, argc, argv, &err) != DT_OK) return fail(err.status, err.message);
    if (a.help) {
        help_verb(stdout, v);
        return close_output(EXIT_DONE);
    }

    const bool has_stages = v->keys & (SETTINGS_RUN | SETTINGS_STUDY); /* whose models are known then */
    if (!has_stages) settings_imply(&s, v->keys);
    progress bar;
    progress_open(&bar, stderr, &s);
    dt_observer observer = {.user = &bar,
                            .progress = progress_step,
                            .log = progress_log,
                            .should_stop = interrupt_requested,
                            .should_save = interrupt_save_requested};
    dt_context *ctx = NULL;
    dt_status status = dt_open(&ctx, &s);
    interrupt_work_begins();
    if (status == DT_OK) status = v->run(ctx, &s, a.operand, &observer);
    progress_close(&bar);
    int code = status == DT_OK ? EXIT_DONE : fail(status, ctx ? dt_message(ctx) : "no memory to start");
    dt_close(ctx);
    return close_output(code);
}

static int show_help(const char *topic)
{
    const verb *v = topic ? verb_find(topic) : NULL;
    if (!topic)
        help_overview(stdout);
    else if (!strcmp(topic, "--roff"))
        help_roff(stdout);
    else if (v)
        help_verb(stdout, v);
    else
        return fail(DT_ERR_ARG, "help knows the verbs only; 'difftune help' lists them");
    return close_output(EXIT_DONE);
}

static int show_completion(const char *shell)
{
    if (!shell || !completion_print(stdout, shell)) return fail(DT_ERR_ARG, "completion needs a shell: bash or zsh");
    return close_output(EXIT_DONE);
}

int main(int argc, char **argv)
{
    /* A reader that goes away and a limit on the size of files are failed writes, no death in the middle of a run. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    if (argc < 2) {
        help_overview(stderr);
        return EXIT_USAGE;
    }
    if (!strcmp(argv[1], "--version")) {
        fputs(dt_version(), stdout);
        return close_output(EXIT_DONE);
    }
    if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return show_help(argc > 2 ? argv[2] : NULL);
    if (!strcmp(argv[1], "completion")) return show_completion(argc > 2 ? argv[2] : NULL);
    const verb *v = verb_find(argv[1]);
    if (v) return call_verb(v, argc - 2, argv + 2);
    fprintf(stderr, "difftune: unknown verb '%s'; 'difftune help' lists them\n", argv[1]);
    return EXIT_USAGE;
}
