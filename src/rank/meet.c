#include "rank/meet.h"

#include <errno.h>
#include <ifaddrs.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

typedef struct greeting {
    uint64_t token[2];
    int32_t index;
} greeting;

static const int32_t WELCOME = 0x77656c63;

static const double CONNECTING_SECONDS = 5;
static const double GREETING_SECONDS = 1; /* that who connects has to say who it is */

void meet_machine(char *name, size_t size)
{
    gethostname(name, size / 2);
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    const size_t used = strlen(name);
    if (f && !fgets(name + used, (int)(size - used), f)) name[used] = '\0';
    if (f) fclose(f);
}

/* ---- any connection ---- */

/* A machine that is gone closes nothing: it is asked every 5 seconds, and counts as gone after 3 questions. Small messages go at once. */
static void prepare(int fd)
{
    static const int yes = 1, seconds = 5, questions = 3;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &questions, sizeof questions);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
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

bool meet_read(int fd, void *data, size_t bytes, double until_s)
{
    for (size_t done = 0; done < bytes;) {
        if (!wait_for(fd, POLLIN, until_s)) return false;
        const ssize_t n = recv(fd, (char *)data + done, bytes - done, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return false;
        if (n > 0) done += (size_t)n;
    }
    return true;
}

bool meet_write(int fd, const void *data, size_t bytes, double until_s)
{
    for (size_t done = 0; done < bytes;) {
        if (!wait_for(fd, POLLOUT, until_s)) return false;
        const ssize_t n = send(fd, (const char *)data + done, bytes - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
        if (n > 0) done += (size_t)n;
    }
    return true;
}

bool meet_say(int fd, const void *data, size_t bytes)
{
    return send(fd, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)bytes;
}

/* Where nobody listens at a port of this machine yet, the system may give the very same port to who connects. */
static bool reaches_itself(int fd)
{
    struct sockaddr_storage here = {0}, there = {0};
    socklen_t size = sizeof here, other = sizeof there;
    return getsockname(fd, (void *)&here, &size) == 0 && getpeername(fd, (void *)&there, &other) == 0 &&
           size == other && !memcmp(&here, &there, size);
}

/* A connection to one address; -1: none. An address that says nothing does not keep one from the others. */
static int connect_to(const struct sockaddr *to, socklen_t size, double until_s)
{
    int failure = 0;
    socklen_t failure_size = sizeof failure;
    const double soon_s = fmin(until_s, clock_s() + CONNECTING_SECONDS);
    const int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if ((connect(fd, to, size) == 0 || errno == EINPROGRESS) && wait_for(fd, POLLOUT, soon_s) &&
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &failure_size) == 0 && failure == 0 && !reaches_itself(fd)) {
        prepare(fd);
        return fd;
    }
    close(fd);
    return -1;
}

int meet_connect_host(const char *host, const char *port, double until_s)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int fd = -1;
    do {
        struct addrinfo *list;
        if (getaddrinfo(host, port, &hints, &list) == 0) {
            for (const struct addrinfo *i = list; i && fd < 0; i = i->ai_next)
                fd = connect_to(i->ai_addr, i->ai_addrlen, until_s);
            freeaddrinfo(list);
        }
        if (fd < 0) nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    } while (fd < 0 && clock_s() < until_s);
    return fd;
}

/* ---- who listens ---- */

static void list_addresses(meet_place *place)
{
    struct ifaddrs *list = NULL;
    int count = 0;
    if (getifaddrs(&list) != 0) return;
    for (const struct ifaddrs *i = list; i && count < MEET_ADDRESSES; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET) continue;
        const struct sockaddr_in *a = (const void *)i->ifa_addr;
        if (a->sin_addr.s_addr != htonl(INADDR_LOOPBACK)) place->address[count++] = a->sin_addr.s_addr;
    }
    freeifaddrs(list);
}

/* On all addresses of this machine; port 0: one that is free. -1: it cannot. */
static int listen_on(uint16_t port, int count)
{
    static const int yes = 1;
    const struct sockaddr_in any = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_ANY)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (const void *)&any, sizeof any) == 0 && listen(fd, count) == 0) return fd;
    close(fd);
    return -1;
}

int meet_listen_at(const char *port, int count)
{
    char *end;
    const long number = strtol(port, &end, 10);
    return *end || number < 1 || number > UINT16_MAX ? -1 : listen_on((uint16_t)number, count);
}

int meet_listen(meet_place *place, int count)
{
    struct sockaddr_in at;
    socklen_t size = sizeof at;
    *place = (meet_place){0};
    const int fd = listen_on(0, count);
    if (fd < 0) return -1;
    if (getsockname(fd, (void *)&at, &size) == 0 &&
        getrandom(place->token, sizeof place->token, 0) == sizeof place->token) {
        gethostname(place->host, sizeof place->host - 1);
        list_addresses(place);
        place->port = at.sin_port;
        return fd;
    }
    close(fd);
    return -1;
}

int meet_next(int listening, double until_s)
{
    while (wait_for(listening, POLLIN, until_s)) {
        const int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) prepare(fd);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)) return fd;
    }
    return -1;
}

bool meet_accept(int listening, const meet_place *place, int first, int count, int fd[], double until_s)
{
    for (int left = count - first; left > 0;) {
        greeting g;
        const int from = meet_next(listening, until_s);
        if (from < 0) return false;
        if (meet_read(from, &g, sizeof g, fmin(until_s, clock_s() + GREETING_SECONDS)) &&
            !memcmp(g.token, place->token, sizeof g.token) && g.index >= first && g.index < count) {
            if (fd[g.index] >= 0) close(fd[g.index]); /* it was given up */
            left -= fd[g.index] < 0;
            fd[g.index] = from;
            meet_say(from, &WELCOME, sizeof WELCOME);
        } else {
            close(from);
        }
    }
    return true;
}

/* ---- who connects ---- */

/* A connection to one address that answers as the rank does that listens at that place; -1: none. */
static int greet(uint32_t address, const meet_place *place, int index, double until_s)
{
    const struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = place->port, .sin_addr.s_addr = address};
    greeting g = {.index = index};
    int32_t answer;
    memcpy(g.token, place->token, sizeof g.token);
    const int fd = connect_to((const void *)&to, sizeof to, until_s);
    if (fd < 0) return -1;
    if (meet_say(fd, &g, sizeof g) && meet_read(fd, &answer, sizeof answer, until_s) && answer == WELCOME) return fd;
    close(fd);
    return -1;
}

int meet_connect(const meet_place *place, int index, double until_s)
{
    char host[sizeof place->host] = "";
    const double quarter_s = (until_s - clock_s()) / 4;
    int fd = -1;
    gethostname(host, sizeof host - 1);
    if (!strncmp(host, place->host, sizeof host))
        fd = greet(htonl(INADDR_LOOPBACK), place, index, clock_s() + quarter_s);
    for (int i = 0; i < MEET_ADDRESSES && fd < 0 && clock_s() < until_s; i++)
        if (place->address[i]) fd = greet(place->address[i], place, index, clock_s() + quarter_s);
    return fd;
}
