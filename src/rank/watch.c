#include "rank/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

/* What is said on a connection: the number of a rank that has ended, or this. */
static const int32_t FAREWELL = -1;

/* ---- beginning ---- */

static bool room_for(rank_watch *w, int index, int count)
{
    *w = (rank_watch){.index = index, .count = count, .listening = -1};
    w->fd = malloc((size_t)count * sizeof *w->fd);
    for (int i = 0; w->fd && i < count; i++) w->fd[i] = -1;
    return w->fd != NULL;
}

bool watch_listen(rank_watch *w, int count, meet_place *place)
{
    *place = (meet_place){0};
    if (!room_for(w, 0, count)) return false;
    w->listening = meet_listen(place, count);
    return w->listening >= 0;
}

bool watch_accept(rank_watch *w, const meet_place *place, double seconds)
{
    if (!meet_accept(w->listening, place, 1, w->count, w->fd, clock_s() + seconds)) return false;
    close(w->listening);
    w->listening = -1;
    return true;
}

bool watch_connect(rank_watch *w, int index, const meet_place *place, double seconds)
{
    if (!room_for(w, index, 1)) return false;
    w->fd[0] = meet_connect(place, index, clock_s() + seconds);
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
            if (w->fd[k] >= 0) meet_say(w->fd[k], &word, sizeof word);
        return lost;
    }
    return -1;
}

void watch_close(rank_watch *w, bool farewell)
{
    for (int i = 0; w->fd && i < w->count; i++) {
        if (w->fd[i] < 0) continue;
        if (farewell) meet_say(w->fd[i], &FAREWELL, sizeof FAREWELL);
        close(w->fd[i]);
    }
    if (w->fd && w->listening >= 0) close(w->listening);
    free(w->fd);
    w->fd = NULL;
}
