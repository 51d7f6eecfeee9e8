/* Processes with torchrun's variables find each other: over the store of torchrun's agent, whose part a thread plays here, and by
 * themselves. */
#include "rank_fixture.h"

#include <arpa/inet.h>
#include <pthread.h>

#include "base/clock.h"
#include "rank/places.h"
#include "rank/store.h"

enum { KEYS_MAX = 16, KEY_BYTES = 300 };

/* ---- a store as torchrun's agent keeps one ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char key[KEYS_MAX][KEY_BYTES], value[KEYS_MAX][4096];
    uint64_t size[KEYS_MAX];
    int count;
} store = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, {{0}}, {{0}}, {0}, 0};

static bool take(int fd, void *data, size_t bytes)
{
    return recv(fd, data, bytes, MSG_WAITALL) == (ssize_t)bytes;
}

static uint64_t take_string(int fd, char *text, size_t room)
{
    uint64_t length = 0;
    if (!take(fd, &length, sizeof length) || length >= room || !take(fd, text, length)) return UINT64_MAX;
    text[length] = '\0';
    return length;
}

static int find_key(const char *key)
{
    int i = 0;
    while (i < store.count && strcmp(store.key[i], key) != 0) i++;
    return i;
}

static bool answer_one(int fd)
{
    uint8_t query;
    uint64_t keys;
    char key[KEY_BYTES], value[4096];
    if (!take(fd, &query, 1) || (query == 6 && (!take(fd, &keys, sizeof keys) || keys != 1))) return false;
    if (take_string(fd, key, sizeof key) == UINT64_MAX) return false;
    const uint64_t size = query == 1 ? take_string(fd, value, sizeof value) : 0;
    if (size == UINT64_MAX) return false;
    pthread_mutex_lock(&store.lock);
    while (query == 6 && find_key(key) == store.count) pthread_cond_wait(&store.changed, &store.lock);
    const int i = find_key(key);
    bool good = query == 6 && send(fd, "", 1, MSG_NOSIGNAL) == 1;
    if (query == 1 && i < KEYS_MAX) {
        snprintf(store.key[i], KEY_BYTES, "%s", key);
        memcpy(store.value[i], value, size);
        store.size[i] = size;
        store.count += i == store.count;
        pthread_cond_broadcast(&store.changed);
        good = true;
    }
    if (query == 3 && i < store.count)
        good = send(fd, &store.size[i], 8, MSG_NOSIGNAL) == 8 &&
               send(fd, store.value[i], store.size[i], MSG_NOSIGNAL) == (ssize_t)store.size[i];
    pthread_mutex_unlock(&store.lock);
    return good;
}

static void *serve_one(void *user)
{
    static const uint8_t validation[5] = {0, 0xCE, 0xF7, 0x85, 0x3C};
    const int fd = (int)(intptr_t)user;
    uint8_t first[5];
    if (take(fd, first, sizeof first) && !memcmp(first, validation, sizeof first))
        while (answer_one(fd)) continue;
    close(fd);
    return NULL;
}

static void *serve(void *user)
{
    const int listening = *(const int *)user;
    for (;;) {
        pthread_t one;
        const int fd = accept(listening, NULL, NULL);
        if (fd < 0) return NULL;
        pthread_create(&one, NULL, serve_one, (void *)(intptr_t)fd);
        pthread_detach(one);
    }
}

/* ---- variables ---- */

static int listen_anywhere(char port[static 8])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (void *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (void *)&at, &size), 0);
    snprintf(port, 8, "%d", ntohs(at.sin_port));
    return fd;
}

static void set_variables(const char *port, bool agent)
{
    setenv("MASTER_ADDR", "localhost", 1);
    setenv("MASTER_PORT", port, 1);
    setenv("TORCHELASTIC_RUN_ID", "a run", 1);
    setenv("TORCHELASTIC_USE_AGENT_STORE", agent ? "True" : "False", 1);
}

static void unset_variables(void)
{
    static const char *const name[] = {"RANK",        "WORLD_SIZE",          "MASTER_ADDR",
                                       "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_USE_AGENT_STORE"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) unsetenv(name[i]);
}

/* ---- processes ---- */

/* As rank `index`: finds the others, hears from each, says good-bye. The exit code. */
static int meet_and_talk(int index, int count)
{
    char number[16], all[FIXTURE_RANKS_MAX];
    rank_group *g = NULL;
    dt_error err = {0};
    snprintf(number, sizeof number, "%d", index);
    setenv("RANK", number, 1);
    snprintf(number, sizeof number, "%d", count);
    setenv("WORLD_SIZE", number, 1);
    if (ranks_open(&g, &err) != DT_OK || g->index != index || g->count != count) return 1;
    const char mine = (char)('a' + index);
    if (rank_agree(g, "", &err) != DT_OK || rank_gather(g, all, &mine, 1, &err) != DT_OK) return 2;
    for (int i = 0; i < count; i++)
        if (all[i] != 'a' + i) return 3;
    if (g->local_count != count || !g->watch.fd) return 4;
    ranks_close(g);
    return 0;
}

static pid_t start(int index, int count)
{
    const pid_t child = fork();
    if (child == 0) _exit(meet_and_talk(index, count));
    return child;
}

static void assert_ends_well(pid_t child, int index, int count)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status)) fail_msg("rank %d of %d ended with %#x", index, count, status);
}

/* Rank 0 comes last, so that the others wait. */
static void assert_that_they_meet(int count)
{
    pid_t child[FIXTURE_RANKS_MAX];
    for (int i = count - 1; i > 0; i--) child[i] = start(i, count);
    usleep(100000);
    child[0] = start(0, count);
    for (int i = 0; i < count; i++) assert_ends_well(child[i], i, count);
}

static void they_meet_over_the_store_of_torchrun(void **state)
{
    (void)state;
    char port[8];
    int listening = listen_anywhere(port);
    pthread_t server;
    pthread_create(&server, NULL, serve, &listening);
    for (int count = 2; count <= FIXTURE_RANKS_MAX; count++) { /* the store keeps what the last ones said */
        set_variables(port, true);
        assert_that_they_meet(count);
        assert_that_they_meet(count);
    }
    unset_variables();
    shutdown(listening, SHUT_RDWR);
    pthread_join(server, NULL);
    close(listening);
}

static void they_meet_at_rank_0(void **state)
{
    (void)state;
    for (int count = 2; count <= FIXTURE_RANKS_MAX; count++) {
        char port[8];
        close(listen_anywhere(port));
        set_variables(port, false);
        assert_that_they_meet(count);
    }
    unset_variables();
}

/* ---- what is wrong ---- */

/* A web browser, half an introduction, one of another call: each is let go, and those who belong together meet. */
static void strangers_are_not_taken_in(void **state)
{
    (void)state;
    static const char said[][160] = {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "difftune",
                                     "difftune\1\0\0\0\7\0\0\0"};
    const double until_s = clock_s() + 20;
    char port[8], end;
    int stranger[3];
    close(listen_anywhere(port));
    set_variables(port, false);
    const pid_t first = start(0, 2);
    for (int i = 0; i < 3; i++) {
        stranger[i] = meet_connect_host("127.0.0.1", port, until_s);
        assert_true(meet_write(stranger[i], said[i], i == 1 ? 8 : sizeof said[i], until_s));
    }
    const pid_t second = start(1, 2);
    assert_ends_well(first, 0, 2);
    assert_ends_well(second, 1, 2);
    for (int i = 0; i < 3; i++) {
        assert_false(meet_read(stranger[i], &end, 1, until_s));
        close(stranger[i]);
    }
    assert_true(clock_s() < until_s);
    unset_variables();
}

static void assert_not_found(launch l, dt_status expected, const char *says)
{
    rank_wire wire;
    dt_error err = {0};
    const double began_s = clock_s();
    assert_int_equal(wire_tcp_open(&wire, &l, 0.3, &err), expected);
    if (!strstr(err.message, says)) fail_msg("%s", err.message);
    assert_true(clock_s() - began_s < 5);
}

static void who_does_not_come_is_told(void **state)
{
    (void)state;
    const launch first = {"torchrun", 0, 3, false}, last = {"torchrun", 2, 3, false};
    char port[8];
    assert_not_found(first, DT_ERR_UNSUPPORTED, "find each other at MASTER_ADDR and MASTER_PORT");
    const int listening = listen_anywhere(port);
    set_variables(port, false);
    assert_not_found(first, DT_ERR_IO, "rank 0 cannot listen at MASTER_PORT");
    set_variables(port, true); /* somebody listens who says nothing */
    assert_not_found(first, DT_ERR_IO, "not all of 3 ranks have come to rank 0");
    assert_not_found(last, DT_ERR_IO, "rank 2 of 3: rank 0 does not answer where the store says that is at localhost");
    close(listening);
    assert_not_found(first, DT_ERR_IO, "torchrun keeps no store at localhost");
    set_variables(port, false);
    assert_not_found(first, DT_ERR_IO, "2 of 3 ranks have not come to rank 0");
    assert_not_found(last, DT_ERR_IO, "rank 2 of 3: rank 0 does not answer at localhost");
    set_variables("no port", false);
    assert_not_found(first, DT_ERR_IO, "cannot listen at MASTER_PORT no port");
    unset_variables();
}

/* A value of another size, and one that is longer than what is asked for. */
static void values_of_another_size_are_none(void **state)
{
    (void)state;
    char port[8], value[8] = "";
    int listening = listen_anywhere(port);
    const double until_s = clock_s() + 5;
    pthread_t server;
    pthread_create(&server, NULL, serve, &listening);
    const int fd = store_open("127.0.0.1", port, until_s);
    assert_true(fd >= 0);
    assert_true(store_set(fd, "key", "1234", 4, until_s));
    assert_true(store_get(fd, "key", value, 4, until_s));
    assert_string_equal(value, "1234");
    assert_false(store_get(fd, "key", value, 3, until_s));
    close(fd);
    shutdown(listening, SHUT_RDWR);
    pthread_join(server, NULL);
    close(listening);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_meet_over_the_store_of_torchrun), cmocka_unit_test(they_meet_at_rank_0),
        cmocka_unit_test(strangers_are_not_taken_in),           cmocka_unit_test(who_does_not_come_is_told),
        cmocka_unit_test(values_of_another_size_are_none),
    };
    unset_variables();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
