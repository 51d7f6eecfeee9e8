#include "rank/places.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "rank/store.h"

/* ---- by the store ---- */

/* A restart of the processes by torchrun finds the store as they left it. */
static void name_key(char key[static 256], int index)
{
    const char *run = getenv("TORCHELASTIC_RUN_ID"), *restart = getenv("TORCHELASTIC_RESTART_COUNT");
    snprintf(key, 256, "difftune/%.128s/%.16s/%d", run ? run : "", restart ? restart : "", index);
}

static dt_status by_store(const launch *l, const char *host, const char *port, meet_place all[], double until_s,
                          dt_error *err)
{
    char key[256];
    const int fd = store_open(host, port, until_s);
    if (fd < 0) return error_set(err, DT_ERR_IO, "%s keeps no store at %s, port %s", l->by, host, port);
    name_key(key, l->index);
    if (!store_set(fd, key, &all[l->index], sizeof *all, until_s))
        error_set(err, DT_ERR_IO, "%s's store at %s, port %s, takes nothing", l->by, host, port);
    for (int i = 0; i < l->count && err->status == DT_OK; i++) {
        name_key(key, i);
        if (i != l->index && !store_get(fd, key, &all[i], sizeof *all, until_s))
            error_set(err, DT_ERR_IO, "rank %d of %d has not come to %s's store at %s, port %s", i, l->count, l->by,
                      host, port);
    }
    close(fd);
    return err->status;
}

/* ---- by rank 0 ---- */

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

static dt_status collect(const launch *l, int listening, meet_place all[], int of[], double until_s, dt_error *err)
{
    for (int i = 0; i < l->count; i++) of[i] = -1;
    for (int left = l->count - 1; left > 0;) {
        const int fd = meet_next(listening, until_s);
        if (fd < 0) return error_set(err, DT_ERR_IO, "%d of %d ranks have not come to rank 0", left, l->count);
        if (take_in(fd, l, all, of, fmin(until_s, clock_s() + INTRODUCTION_SECONDS)))
            left--;
        else
            close(fd);
    }
    for (int i = 1; i < l->count && err->status == DT_OK; i++)
        if (!meet_write(of[i], all, (size_t)l->count * sizeof *all, until_s))
            error_set(err, DT_ERR_IO, "rank %d of %d has ended before the work began", i, l->count);
    return err->status;
}

static dt_status by_collecting(const launch *l, const char *port, meet_place all[], double until_s, dt_error *err)
{
    const int listening = meet_listen_at(port, l->count);
    int *of = malloc((size_t)l->count * sizeof *of);
    if (!of)
        error_set(err, DT_ERR_MEMORY, "no memory for %d ranks", l->count);
    else if (listening < 0)
        error_set(err, DT_ERR_IO, "rank 0 cannot listen at MASTER_PORT %s", port);
    else
        collect(l, listening, all, of, until_s, err);
    for (int i = 0; of && listening >= 0 && i < l->count; i++)
        if (of[i] >= 0) close(of[i]);
    if (listening >= 0) close(listening);
    free(of);
    return err->status;
}

static dt_status by_asking(const launch *l, const char *host, const char *port, meet_place all[], double until_s,
                           dt_error *err)
{
    introduction me = {.index = l->index, .count = l->count, .place = all[l->index]};
    memcpy(me.magic, MAGIC, sizeof MAGIC);
    const int fd = meet_connect_host(host, port, until_s);
    if (fd < 0 || !meet_write(fd, &me, sizeof me, until_s) ||
        !meet_read(fd, all, (size_t)l->count * sizeof *all, until_s))
        error_set(err, DT_ERR_IO, "rank %d of %d: rank 0 does not answer at %s, port %s", l->index, l->count, host,
                  port);
    if (fd >= 0) close(fd);
    return err->status;
}

dt_status places_exchange(const launch *l, meet_place all[], double until_s, dt_error *err)
{
    const char *host = getenv("MASTER_ADDR"), *port = getenv("MASTER_PORT");
    const char *agent = getenv("TORCHELASTIC_USE_AGENT_STORE");
    if (!host || !*host || !port || !*port)
        return error_set(err, DT_ERR_UNSUPPORTED,
                         "%s started %d processes, which find each other at MASTER_ADDR and MASTER_PORT: set both, or "
                         "give --ranks alone for calls that have nothing to do with each other",
                         l->by, l->count);
    if (agent && !strcmp(agent, "True")) return by_store(l, host, port, all, until_s, err);
    return l->index == 0 ? by_collecting(l, port, all, until_s, err) : by_asking(l, host, port, all, until_s, err);
}
