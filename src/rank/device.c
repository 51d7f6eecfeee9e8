#include "rank/device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define MODULE "libdifftune_nccl.so"

static const double JOINING_SECONDS = 60;

typedef struct module {
    dt_status (*key)(device_key *out, dt_error *err);
    dt_status (*gpu)(char text[static DEVICE_TEXT], dt_error *err);
    dt_status (*wire)(rank_wire *out, int index, int count, const device_key *key, dt_error *err);
} module;

/* A rank's word on whether it is ready for the next step, and if not, why. */
typedef struct word {
    bool ready;
    char why[sizeof((rank_group *)0)->note];
} word;

/* The module is looked for as that of an engine is (engine/device.c). */
static void load(module *m, word *w)
{
    void *library = dlopen(MODULE, RTLD_NOW | RTLD_LOCAL);
    if (!library) snprintf(w->why, sizeof w->why, "%s", dlerror());
    void *key = library ? dlsym(library, "difftune_nccl_key") : NULL;
    void *gpu = library ? dlsym(library, "difftune_nccl_gpu") : NULL;
    void *wire = library ? dlsym(library, "difftune_nccl_wire") : NULL;
    w->ready = key && gpu && wire;
    if (library && !w->ready) snprintf(w->why, sizeof w->why, "%s is of another version", MODULE);
    memcpy(&m->key, &key, sizeof key);
    memcpy(&m->gpu, &gpu, sizeof gpu);
    memcpy(&m->wire, &wire, sizeof wire);
}

/* Whether all ranks are ready; the first that is not says why. */
static bool all_ready(rank_group *r, const word *mine, dt_error *err)
{
    word *all = malloc((size_t)r->count * sizeof *all);
    bool ready = false;
    if (!all)
        error_set(err, DT_ERR_MEMORY, "no memory for %d ranks", r->count);
    else if (rank_gather(r, all, mine, sizeof *mine, err) == DT_OK) {
        int first = 0;
        while (first < r->count && all[first].ready) first++;
        ready = first == r->count;
        if (!ready) snprintf(r->note, sizeof r->note, "rank %d: %.*s", first, (int)sizeof r->note - 32, all[first].why);
    }
    free(all);
    return ready;
}

static void note_failure(word *w, const dt_error *failure)
{
    w->ready = failure->status == DT_OK;
    snprintf(w->why, sizeof w->why, "%.*s", (int)sizeof w->why - 1, failure->message);
}

/* NCCL refuses two ranks on one GPU, but only to these two. */
static bool has_each_its_own(rank_group *r, const module *m, word *w, dt_error *err)
{
    typedef struct gpu {
        char machine[128], place[DEVICE_TEXT];
    } gpu;
    gpu *all = calloc((size_t)r->count, sizeof *all), mine = {"", ""};
    dt_error failure = {0};
    bool own = all != NULL;
    if (!all) error_set(err, DT_ERR_MEMORY, "no memory for %d ranks", r->count);
    meet_machine(mine.machine, sizeof mine.machine);
    m->gpu(mine.place, &failure);
    note_failure(w, &failure);
    if (all) rank_gather(r, all, &mine, sizeof mine, err);
    for (int i = 0; own && i < r->count; i++)
        for (int k = 0; own && k < i; k++) {
            own = strcmp(all[i].machine, all[k].machine) != 0 || strcmp(all[i].place, all[k].place) != 0;
            if (!own) snprintf(r->note, sizeof r->note, "ranks %d and %d share a GPU", k, i);
        }
    free(all);
    return own && all_ready(r, w, err);
}

/* Waits until all are there, but not for ever: one that cannot begin leaves the others without an answer. */
static void wait_for_all(rank_group *r, dt_error *failure)
{
    const double until_s = clock_s() + JOINING_SECONDS;
    bool done = false;
    r->device.begin(r->device.state, NULL, 0, failure);
    while (failure->status == DT_OK && !done && !rank_is_lost(r) && clock_s() < until_s)
        if (r->device.test(r->device.state, &done, failure) == DT_OK && !done)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    if (!done) error_set(failure, DT_ERR_IO, "NCCL: not all ranks have come");
}

/* Rank 0 makes the key and all connect by it. */
static void connect_by_key(rank_group *r, const module *m, word *w, dt_error *err)
{
    device_key key = {""};
    dt_error failure = {0};
    if (r->index == 0) m->key(&key, &failure);
    note_failure(w, &failure);
    rank_spread(r, &key, sizeof key, err);
    if (!all_ready(r, w, err)) return;
    const bool opened = m->wire(&r->device, r->index, r->count, &key, &failure) == DT_OK;
    if (opened) wait_for_all(r, &failure);
    note_failure(w, &failure);
    r->reaches_devices = all_ready(r, w, err);
    if (opened && !r->reaches_devices) r->device.close(r->device.state, false);
}

dt_status ranks_join_devices(rank_group *r, dt_error *err)
{
    module m;
    word w = {0};
    load(&m, &w);
    if (all_ready(r, &w, err) && has_each_its_own(r, &m, &w, err)) connect_by_key(r, &m, &w, err);
    return err->status;
}
