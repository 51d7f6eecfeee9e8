#include "rank/wire_tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "rank/places.h"

/* How far one has come with what goes to a peer, or comes from it, in the order of the list. */
typedef struct lane {
    int at;      /* number of the part in the list */
    size_t done; /* bytes of it */
} lane;

typedef struct tcp_wire {
    int count;
    int *fd;        /* [count], -1: none */
    lane (*way)[2]; /* [count]: from each peer and to it */
    const rank_part *part;
    int part_count;
} tcp_wire;

/* ---- carrying ---- */

static dt_status begin(void *state, const rank_part part[], int count, dt_error *err)
{
    tcp_wire *w = state;
    w->part = part;
    w->part_count = count;
    for (int i = 0; i < w->count; i++) w->way[i][false] = w->way[i][true] = (lane){0};
    return err->status;
}

/* Whether all of a lane is done; goes as far as is possible without waiting. */
static bool go_on(const tcp_wire *w, int peer, bool sends, dt_error *err)
{
    lane *l = &w->way[peer][sends];
    for (; l->at < w->part_count; *l = (lane){.at = l->at + 1}) {
        const rank_part *p = &w->part[l->at];
        while (p->peer == peer && p->sends == sends && l->done < p->bytes) {
            char *at = (char *)p->data + l->done;
            const size_t left = p->bytes - l->done;
            const ssize_t n = sends ? send(w->fd[peer], at, left, MSG_DONTWAIT | MSG_NOSIGNAL)
                                    : recv(w->fd[peer], at, left, MSG_DONTWAIT);
            if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
                error_set(err, DT_ERR_IO, "the connection to rank %d has ended", peer);
            if (n <= 0) return false;
            l->done += (size_t)n;
        }
    }
    return true;
}

static dt_status test(void *state, bool *done, dt_error *err)
{
    const tcp_wire *w = state;
    *done = true;
    for (int i = 0; i < w->count; i++) {
        *done &= go_on(w, i, false, err);
        *done &= go_on(w, i, true, err);
    }
    return err->status;
}

static void free_wire(tcp_wire *w)
{
    for (int i = 0; w && w->fd && i < w->count; i++)
        if (w->fd[i] >= 0) close(w->fd[i]);
    if (w) {
        free(w->fd);
        free(w->way);
    }
    free(w);
}

static void close_wire(void *state, bool together)
{
    (void)together;
    free_wire(state);
}

/* ---- connecting ---- */

static tcp_wire *new_wire(int count, dt_error *err)
{
    tcp_wire *w = calloc(1, sizeof *w);
    if (w) {
        w->count = count;
        w->fd = malloc((size_t)count * sizeof *w->fd);
        w->way = malloc((size_t)count * sizeof *w->way);
    }
    for (int i = 0; w && w->fd && i < count; i++) w->fd[i] = -1;
    if (w && w->fd && w->way) return w;
    free_wire(w);
    error_set(err, DT_ERR_MEMORY, "no memory for %d ranks", count);
    return NULL;
}

/* Who comes later connects to who came before, so that each waits only for ranks that wait for none of higher numbers. */
static dt_status connect_all(tcp_wire *w, int index, const meet_place place[], int listening, double until_s,
                             dt_error *err)
{
    for (int i = 0; i < index; i++) {
        w->fd[i] = meet_connect(&place[i], index, until_s);
        if (w->fd[i] < 0)
            return error_set(err, DT_ERR_IO, "rank %d of %d does not reach rank %d at %.63s", index, w->count, i,
                             place[i].host);
    }
    if (!meet_accept(listening, &place[index], index + 1, w->count, w->fd, until_s))
        return error_set(err, DT_ERR_IO, "rank %d of %d was not reached by all of the ranks behind it", index,
                         w->count);
    return err->status;
}

static void meet_all(tcp_wire *w, const launch *l, double until_s, dt_error *err)
{
    meet_place *place = calloc((size_t)l->count, sizeof *place);
    const int listening = place ? meet_listen(&place[l->index], l->count) : -1;
    if (!place)
        error_set(err, DT_ERR_MEMORY, "no memory for %d ranks", l->count);
    else if (listening < 0)
        error_set(err, DT_ERR_IO, "rank %d cannot listen for the others", l->index);
    else if (places_exchange(l, place, until_s, err) == DT_OK)
        connect_all(w, l->index, place, listening, until_s, err);
    if (listening >= 0) close(listening);
    free(place);
}

static void fill(rank_wire *out, tcp_wire *w, int index)
{
    *out = (rank_wire){index, w->count, w, begin, test, close_wire};
}

dt_status wire_tcp_open(rank_wire *out, const launch *l, double seconds, dt_error *err)
{
    tcp_wire *w = new_wire(l->count, err);
    if (!w) return err->status;
    meet_all(w, l, clock_s() + seconds, err);
    if (err->status == DT_OK)
        fill(out, w, l->index);
    else
        free_wire(w);
    return err->status;
}

dt_status wire_tcp_over(rank_wire *out, int index, int count, const int fd[], dt_error *err)
{
    tcp_wire *w = new_wire(count, err);
    for (int i = 0; i < count; i++) {
        if (i == index) continue;
        if (w)
            w->fd[i] = fd[i];
        else
            close(fd[i]);
    }
    if (w) fill(out, w, index);
    return err->status;
}
