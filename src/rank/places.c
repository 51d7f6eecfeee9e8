#include "rank/places.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "rank/store.h"

/* ---- at a port that all know ---- */

static const char MAGIC[8] = "difftune";

static const double INTRODUCTION_SECONDS = 1; /* that who connects has for it */

typedef struct introduction {
    char magic[8];
    int32_t index, count;
    meet_place place;
} introduction;

/* Takes one of the others in; false: it is none, or the time is up. */
static bool take_in(int fd, const launch *l, meet_place all[], int of[], double until_s)
{
    introduction who;
    if (!meet_read(fd, &who, sizeof who, until_s) || memcmp(who.magic, MAGIC, sizeof MAGIC) != 0) return false;
    if (who.count != l->count || who.index < 1 || who.index >= l->count || of[who.index] >= 0) return false;
    of[who.index] = fd;
    all[who.index] = who.place;
    return true;
}

static dt_status by_collecting(const launch *l, const char *port, meet_place all[], int of[], double until_s,
                               dt_error *err)
{
    const int listening = meet_listen_at(port, l->count);
    if (listening < 0) return error_set(err, DT_ERR_IO, "rank 0 cannot listen at MASTER_PORT %s", port);
    for (int left = l->count - 1; left > 0 && err->status == DT_OK;) {
        const int fd = meet_next(listening, until_s);
        if (fd < 0)
            error_set(err, DT_ERR_IO, "%d of %d ranks have not come to rank 0", left, l->count);
        else if (take_in(fd, l, all, of, fmin(until_s, clock_s() + INTRODUCTION_SECONDS)))
            left--;
        else
            close(fd);
    }
    close(listening);
    return err->status;
}

static int by_asking(const launch *l, const char *host, const char *port, const meet_place *mine, double until_s)
{
    introduction me = {.index = l->index, .count = l->count, .place = *mine};
    memcpy(me.magic, MAGIC, sizeof MAGIC);
    const int fd = meet_connect_host(host, port, until_s);
    if (fd < 0 || meet_write(fd, &me, sizeof me, until_s)) return fd;
    close(fd);
    return -1;
}

/* ---- at a place that the store names ---- */

/* One for all calls of a run: who comes to a place that rank 0 of an earlier call had finds nobody, and asks again. */
static void name_key(char key[static 256])
{
    const char *run = getenv("TORCHELASTIC_RUN_ID");
    snprintf(key, 256, "difftune/%.128s", run ? run : "");
}

static dt_status by_telling(const launch *l, int store, meet_place all[], int of[], double until_s, dt_error *err)
{
    char key[256];
    meet_place here;
    const int listening = meet_listen(&here, l->count);
    name_key(key);
    if (listening < 0 || !store_set(store, key, &here, sizeof here, until_s))
        error_set(err, DT_ERR_IO, "rank 0 cannot say in %s's store where it listens", l->by);
    else if (!meet_accept(listening, &here, 1, l->count, of, until_s))
        error_set(err, DT_ERR_IO, "not all of %d ranks have come to rank 0", l->count);
    for (int i = 1; i < l->count && err->status == DT_OK; i++)
        if (!meet_read(of[i], &all[i], sizeof *all, until_s))
            error_set(err, DT_ERR_IO, "rank %d of %d has ended before the work began", i, l->count);
    if (listening >= 0) close(listening);
    return err->status;
}

static int by_hearing(const launch *l, int store, const meet_place *mine, double until_s)
{
    char key[256];
    meet_place first;
    int fd = -1;
    name_key(key);
    while (fd < 0 && store_get(store, key, &first, sizeof first, until_s)) {
        fd = meet_connect(&first, l->index, until_s);
        if (fd < 0) nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    if (fd < 0 || meet_write(fd, mine, sizeof *mine, until_s)) return fd;
    close(fd);
    return -1;
}

/* ---- both ---- */

/* Rank 0 learns where the others are, and tells all. `store` < 0: without one. */
static dt_status lead(const launch *l, int store, const char *port, meet_place all[], double until_s, dt_error *err)
{
    int *of = malloc((size_t)l->count * sizeof *of);
    if (!of) return error_set(err, DT_ERR_MEMORY, "no memory for %d ranks", l->count);
    for (int i = 0; i < l->count; i++) of[i] = -1;
    if (store >= 0)
        by_telling(l, store, all, of, until_s, err);
    else
        by_collecting(l, port, all, of, until_s, err);
    for (int i = 1; i < l->count && err->status == DT_OK; i++)
        if (!meet_write(of[i], all, (size_t)l->count * sizeof *all, until_s))
            error_set(err, DT_ERR_IO, "rank %d of %d has ended before the work began", i, l->count);
    for (int i = 0; i < l->count; i++)
        if (of[i] >= 0) close(of[i]);
    free(of);
    return err->status;
}

static dt_status follow(const launch *l, int store, const char *host, const char *port, meet_place all[],
                        double until_s, dt_error *err)
{
    const meet_place *mine = &all[l->index];
    const int fd = store >= 0 ? by_hearing(l, store, mine, until_s) : by_asking(l, host, port, mine, until_s);
    if (fd < 0 || !meet_read(fd, all, (size_t)l->count * sizeof *all, until_s))
        error_set(err, DT_ERR_IO, "rank %d of %d: rank 0 does not answer %s %s, port %s", l->index, l->count,
                  store >= 0 ? "where the store says that is at" : "at", host, port);
    if (fd >= 0) close(fd);
    return err->status;
}

dt_status places_exchange(const launch *l, meet_place all[], double until_s, dt_error *err)
{
    const char *host = getenv("MASTER_ADDR"), *port = getenv("MASTER_PORT");
    const char *agent = getenv("TORCHELASTIC_USE_AGENT_STORE");
    const bool has_store = agent && !strcmp(agent, "True");
    if (!host || !*host || !port || !*port)
        return error_set(err, DT_ERR_UNSUPPORTED,
                         "%s started %d processes, which find each other at MASTER_ADDR and MASTER_PORT: set both, or "
                         "give --ranks alone for calls that have nothing to do with each other",
                         l->by, l->count);
    const int store = has_store ? store_open(host, port, until_s) : -1;
    if (has_store && store < 0)
        error_set(err, DT_ERR_IO, "%s keeps no store at %s, port %s", l->by, host, port);
    else if (l->index == 0)
        lead(l, store, port, all, until_s, err);
    else
        follow(l, store, host, port, all, until_s, err);
    if (store >= 0) close(store);
    return err->status;
}
