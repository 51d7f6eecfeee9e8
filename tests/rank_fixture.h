/* Calls that several processes make together, without an MPI: children of the test, each pair of them joined by a socket. What each said
 * last lies in the file message-<rank> of the temporary folder. */
#ifndef TESTS_RANK_FIXTURE_H
#define TESTS_RANK_FIXTURE_H

#include "run_fixture.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rank/rank.h"
#include "rank/wire_tcp.h"

enum { FIXTURE_RANKS_MAX = 4 };

/* ---- children ---- */

/* What a rank does: the process's exit code. It must not use cmocka's assertions. */
typedef int rank_body(rank_group *g, void *user);

static inline int rank_child(int fd[][FIXTURE_RANKS_MAX], int index, int count, rank_body *body, void *user)
{
    rank_group *g = NULL;
    rank_wire wire;
    dt_error err = {0};
    for (int i = 0; i < count; i++)
        for (int k = 0; k < count; k++)
            if (i != index && i != k) close(fd[i][k]);
    if (wire_tcp_over(&wire, index, count, fd[index], &err) != DT_OK) return 99;
    if (ranks_open_over(&g, &wire, &err) != DT_OK || rank_agree(g, "", &err) != DT_OK) return 99;
    return body(g, user);
}

/* Runs the body on so many ranks at once and waits; code[rank] is how each ended, 128 + its number where by a signal. */
static inline void rank_run(int count, rank_body *body, void *user, int code[])
{
    int fd[FIXTURE_RANKS_MAX][FIXTURE_RANKS_MAX] = {{0}}; /* of a rank to itself none */
    pid_t child[FIXTURE_RANKS_MAX];
    for (int i = 0; i < count; i++)
        for (int k = 0; k < i; k++) {
            int pair[2];
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
            fd[i][k] = pair[0];
            fd[k][i] = pair[1];
        }
    fflush(NULL);
    for (int i = 0; i < count; i++) {
        child[i] = fork();
        assert_true(child[i] >= 0);
        if (child[i] == 0) _exit(rank_child(fd, i, count, body, user));
    }
    for (int i = 0; i < count; i++)
        for (int k = 0; k < count; k++)
            if (i != k) close(fd[i][k]);
    for (int i = 0; i < count; i++) {
        int status;
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        code[i] = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}

/* ---- calls ---- */

static inline const char *rank_message_path(int rank)
{
    char name[32];
    snprintf(name, sizeof name, "message-%d", rank);
    return temp_path(name);
}

/* A call of the library as this rank. */
static inline dt_status rank_call(rank_group *g, fixture_verb *verb, const dt_settings *s, const dt_observer *observer)
{
    dt_context *c = NULL;
    dt_settings alone = *s;
    dt_error ignored = {0};
    alone.ranks = DT_RANKS_ALONE;
    fixture_choose_device(&alone);
    dt_status status = dt_open(&c, &alone);
    c->ranks = g;
    if (status == DT_OK) status = verb(c, &alone, observer);
    file_write_atomic(rank_message_path(g->index), dt_message(c), strlen(dt_message(c)), &ignored);
    dt_close(c);
    return status;
}

/* What a rank said last, until the next question. */
static inline const char *rank_message(int rank)
{
    static char *text;
    size_t size;
    dt_error err = {0};
    free(text);
    assert_int_equal(file_read_all(&text, &size, rank_message_path(rank), 1 << 16, &err), DT_OK);
    return text;
}

#endif
