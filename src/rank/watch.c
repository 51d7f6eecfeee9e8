#include "rank/watch.h"

#include <errno.h>
#include <ifaddrs.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

/* What is said on a connection: the number of a rank that has ended, or this. */
static const int32_t FAREWELL = -1;

typedef struct greeting {
    uint64_t token[2];
    int32_t index;
} greeting;

/* ---- sockets ---- */

static int new_socket(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* A machine that is gone closes nothing: it is asked every 5 seconds, and counts as gone after 3 questions. */
static void keep_alive(int fd)
{
    static const int yes = 1, seconds = 5, questions = 3;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &questions, sizeof questions);
}

static bool wait_for(int fd, short events, double until_s)
{
    struct pollfd one = {.fd = fd, .events = events};
    for (;;) {
        const double left = until_s - clock_s();
        const int found = left > 0 ? poll(&one, 1, (int)(1000 * left) + 1) : 0;
        if (found > 0) return true;
        if (found == 0 || errno != EINTR) return false;
    }
}

/* All of the bytes before the time is up. */
static bool read_all(int fd, void *data, size_t bytes, double until_s)
{
    for (size_t done = 0; done < bytes;) {
        if (!wait_for(fd, POLLIN, until_s)) return false;
        const ssize_t n = recv(fd, (char *)data + done, bytes - done, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return false;
        if (n > 0) done += (size_t)n;
    }
    return true;
}

/* A few bytes, which the connection's empty buffer holds. */
static bool say(int fd, const void *data, size_t bytes)
{
    return send(fd, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)bytes;
}

/* ---- beginning ---- */

static bool room_for(rank_watch *w, int index, int count)
{
    *w = (rank_watch){.index = index, .count = count, .listening = -1};
    w->fd = malloc((size_t)count * sizeof *w->fd);
    for (int i = 0; w->fd && i < count; i++) w->fd[i] = -1;
    return w->fd != NULL;
}

static void list_addresses(watch_place *place)
{
    struct ifaddrs *list = NULL;
    int count = 0;
    if (getifaddrs(&list) != 0) return;
    for (const struct ifaddrs *i = list; i && count < WATCH_ADDRESSES; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET) continue;
        const struct sockaddr_in *a = (const void *)i->ifa_addr;
        if (a->sin_addr.s_addr != htonl(INADDR_LOOPBACK)) place->address[count++] = a->sin_addr.s_addr;
    }
    freeifaddrs(list);
}

bool watch_listen(rank_watch *w, int count, watch_place *place)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    socklen_t size = sizeof any;
    *place = (watch_place){0};
    if (!room_for(w, 0, count)) return false;
    gethostname(place->host, sizeof place->host - 1);
    list_addresses(place);
    w->listening = new_socket();
    if (w->listening < 0 || bind(w->listening, (void *)&any, sizeof any) != 0 || listen(w->listening, count) != 0 ||
        getsockname(w->listening, (void *)&any, &size) != 0)
        return false;
    place->port = any.sin_port;
    return getrandom(place->token, sizeof place->token, 0) == sizeof place->token;
}

bool watch_accept(rank_watch *w, const watch_place *place, double seconds)
{
    const double until_s = clock_s() + seconds;
    for (int left = w->count - 1; left > 0;) {
        if (!wait_for(w->listening, POLLIN, until_s)) return false;
        const int fd = accept4(w->listening, NULL, NULL, SOCK_CLOEXEC);
        greeting g;
        const bool known = fd >= 0 && read_all(fd, &g, sizeof g, fmin(until_s, clock_s() + 1)) &&
                           !memcmp(g.token, place->token, sizeof g.token) && g.index > 0 && g.index < w->count &&
                           w->fd[g.index] < 0;
        if (known) {
            keep_alive(fd);
            w->fd[g.index] = fd;
            say(fd, &FAREWELL, sizeof FAREWELL); /* as a word of welcome */
            left--;
        } else if (fd >= 0) {
            close(fd);
        }
    }
    close(w->listening);
    w->listening = -1;
    return true;
}

/* A connection to one address that answers as rank 0 does; -1: none. */
static int connect_to(uint32_t address, int index, const watch_place *place, double seconds)
{
    const double until_s = clock_s() + seconds;
    const struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = place->port, .sin_addr.s_addr = address};
    greeting g = {.index = index};
    int32_t welcome;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    memcpy(g.token, place->token, sizeof g.token);
    if (fd < 0) return -1;
    if ((connect(fd, (const void *)&to, sizeof to) == 0 || errno == EINPROGRESS) && wait_for(fd, POLLOUT, until_s) &&
        say(fd, &g, sizeof g) && read_all(fd, &welcome, sizeof welcome, until_s))
        return fd;
    close(fd);
    return -1;
}

bool watch_connect(rank_watch *w, int index, const watch_place *place, double seconds)
{
    char host[sizeof place->host] = "";
    const double until_s = clock_s() + seconds;
    if (!room_for(w, index, 1)) return false;
    gethostname(host, sizeof host - 1);
    if (!strcmp(host, place->host)) w->fd[0] = connect_to(htonl(INADDR_LOOPBACK), index, place, 1);
    for (int i = 0; i < WATCH_ADDRESSES && w->fd[0] < 0 && clock_s() < until_s; i++)
        if (place->address[i]) w->fd[0] = connect_to(place->address[i], index, place, seconds / 4);
    if (w->fd[0] >= 0) keep_alive(w->fd[0]);
    return w->fd[0] >= 0;
}

/* ---- watching ---- */

/* What has been heard of the rank at the other end: that `other` itself, or one that rank 0 names, has ended; -1: nothing. */
static int hear(int *fd, int other)
{
    int32_t word;
    const ssize_t n = recv(*fd, &word, sizeof word, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return -1;
    if (n == sizeof word && word != FAREWELL) return (int)word;
    close(*fd);
    *fd = -1;
    return n == sizeof word ? -1 : other;
}

int watch_lost(rank_watch *w)
{
    for (int i = 0; w->fd && i < w->count; i++) {
        const int lost = w->fd[i] >= 0 ? hear(&w->fd[i], i) : -1;
        if (lost < 0) continue;
        const int32_t word = lost;
        for (int k = 0; k < w->count && w->index == 0; k++)
            if (w->fd[k] >= 0) say(w->fd[k], &word, sizeof word);
        return lost;
    }
    return -1;
}

void watch_close(rank_watch *w, bool farewell)
{
    for (int i = 0; w->fd && i < w->count; i++) {
        if (w->fd[i] < 0) continue;
        if (farewell) say(w->fd[i], &FAREWELL, sizeof FAREWELL);
        close(w->fd[i]);
    }
    if (w->fd && w->listening >= 0) close(w->listening);
    free(w->fd);
    w->fd = NULL;
}
