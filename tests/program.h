/* The program as a user starts it, in the temporary folder, with images and a tiny model of its own there. */
#ifndef TESTS_PROGRAM_H
#define TESTS_PROGRAM_H

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run_fixture.h"

enum { ARGUMENTS_MAX = 64 };

static char base[512];
static char *printed, *complained; /* what the last call wrote to its standard output and standard error */

/* Starts it with these descriptors as standard output and standard error; it works below the temporary folder. */
static inline pid_t start_with(const char *command, int out, int err)
{
    char text[4096], *argument[ARGUMENTS_MAX] = {DT_PROGRAM};
    snprintf(text, sizeof text, "%s", command);
    int n = 1;
    for (char *rest, *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) argument[n++] = word;
    pid_t child = fork();
    if (child != 0) return child;
    signal(SIGINT, SIG_DFL); /* a shell ignores these for what it runs in the background */
    signal(SIGHUP, SIG_DFL);
    if (out < 0 || err < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0 || chdir(temp_folder)) _exit(99);
    execv(argument[0], argument);
    _exit(99);
}

static inline pid_t start(const char *command)
{
    int out = open(temp_path("out"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int err = open(temp_path("err"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const pid_t child = start_with(command, out, err);
    close(out);
    close(err);
    return child;
}

/* The exit status; -n when signal n ended it. */
static inline int finish(pid_t child)
{
    int status;
    size_t size;
    dt_error err = {0};
    assert_int_equal(waitpid(child, &status, 0), child);
    free(printed);
    free(complained);
    printed = complained = NULL;
    assert_int_equal(file_read_all(&printed, &size, temp_path("out"), 1 << 24, &err), DT_OK);
    assert_int_equal(file_read_all(&complained, &size, temp_path("err"), 1 << 24, &err), DT_OK);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline int run(const char *command)
{
    return finish(start(command));
}

/* The call fails with `code`, prints nothing, and ends in the one line of complaint, which mentions `part`. */
static inline void assert_refused(const char *command, int code, const char *part)
{
    int got = run(command);
    if (got != code) fail_msg("'%s' ended with %d, not %d: %s", command, got, code, complained);
    assert_string_equal(printed, "");
    char *line = strstr(complained, "difftune: ");
    if (!line) fail_msg("'%s' said nothing: %s", command, complained);
    assert_says(line, part);
    char *end = strchr(line, '\n');
    assert_true(end && end[1] == '\0');
    if (code == 2) assert_ptr_equal(line, complained); /* before any work there is nothing else to say */
}

/* ---- a folder with images and a tiny model of its own ---- */

static inline int open_folder(void **state)
{
    if (temp_folder_make(state)) return -1;
    fixture_images("images", 2, 8, 8, 0);
    int code =
        run("train --method pretrain --train-data images --output-dir base --resolution 8 --hidden-size 16 "
            "--depth 1 --num-heads 2 --patch-size 4 --max-train-steps 1 --train-batch-size 2 --validation-steps 0 "
            "--sample-steps 0");
    if (code != 0) fprintf(stderr, "no tiny base model: %s", complained);
    snprintf(base, sizeof base, "%s", temp_path("base/final/model.safetensors"));
    return code;
}

static inline int close_folder(void **state)
{
    free(printed);
    free(complained);
    return temp_folder_remove(state);
}

#endif
