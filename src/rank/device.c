#include "rank/device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODULE "libdifftune_nccl.so"

typedef struct module {
    dt_status (*name)(device_name *out, dt_error *err);
    dt_status (*wire)(rank_wire *out, int index, int count, const device_name *name, dt_error *err);
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
    void *name = library ? dlsym(library, "difftune_nccl_name") : NULL;
    void *wire = library ? dlsym(library, "difftune_nccl_wire") : NULL;
    w->ready = name && wire;
    if (library && !w->ready) snprintf(w->why, sizeof w->why, "%s is of another version", MODULE);
    memcpy(&m->name, &name, sizeof name);
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
        if (!ready) snprintf(r->note, sizeof r->note, "%.*s", (int)sizeof r->note - 1, all[first].why);
    }
    free(all);
    return ready;
}

static void note_failure(word *w, const dt_error *failure)
{
    w->ready = failure->status == DT_OK;
    snprintf(w->why, sizeof w->why, "%.*s", (int)sizeof w->why - 1, failure->message);
}

/* Rank 0 makes the name and all connect by it. */
static void connect_all(rank_group *r, const module *m, word *w, dt_error *err)
{
    device_name name = {""};
    dt_error failure = {0};
    if (r->index == 0) m->name(&name, &failure);
    note_failure(w, &failure);
    rank_spread(r, &name, sizeof name, err);
    if (!all_ready(r, w, err)) return;
    r->reaches_devices = m->wire(&r->device, r->index, r->count, &name, &failure) == DT_OK;
    if (r->reaches_devices) rank_transfer_device(r, NULL, 0, &failure); /* until all are there */
    note_failure(w, &failure);
    const bool reached = all_ready(r, w, err);
    if (r->reaches_devices && !reached) r->device.close(r->device.state, false);
    r->reaches_devices = reached;
}

dt_status ranks_join_devices(rank_group *r, dt_error *err)
{
    module m;
    word w = {0};
    load(&m, &w);
    if (all_ready(r, &w, err)) connect_all(r, &m, &w, err);
    return err->status;
}
