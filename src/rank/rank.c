#include "rank/rank.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "rank/launch.h"
#include "rank/wire_tcp.h"

#define MODULE "libdifftune_mpi.so"

static const double MEETING_SECONDS = 300; /* for all ranks to come; machines start them at different times */
static const double NAMING_SECONDS = 2;    /* from a broken connection to who has ended */
static const double WATCH_SECONDS = 20;    /* for all ranks to find the first, once they are there */

/* ---- waiting ---- */

/* The longer one has waited, the less often one looks: at first others are a moment late, later rank 0 measures. */
static void pause_after(double waited_s)
{
    if (waited_s < 2e-3)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = waited_s < 0.05 ? 50000 : waited_s < 1 ? 500000 : 2000000}, NULL);
}

static dt_status tell_lost(const rank_group *r, dt_error *err)
{
    return error_set(err, DT_ERR_IO, "rank %d of %d has ended before the work was done", r->lost, r->count);
}

bool rank_is_lost(rank_group *r)
{
    if (r && r->lost < 0) r->lost = watch_lost(&r->watch);
    return r && r->lost >= 0;
}

/* After a failure of the wire: where a rank has ended it is the one to name. */
static dt_status name_lost(rank_group *r, dt_error *err)
{
    const double until_s = clock_s() + NAMING_SECONDS;
    while (r->watch.fd && !rank_is_lost(r) && clock_s() < until_s) pause_after(1);
    if (r->lost < 0) return err->status;
    error_clear(err);
    return tell_lost(r, err);
}

static dt_status transfer_over(rank_group *r, const rank_wire *wire, const rank_part part[], int count, dt_error *err)
{
    const double began_s = clock_s();
    bool done = false;
    if (err->status != DT_OK) return err->status;
    if (r->lost >= 0) return tell_lost(r, err);
    if (wire->begin(wire->state, part, count, err) != DT_OK) return err->status;
    for (;;) {
        const double waited_s = clock_s() - began_s;
        if (wire->test(wire->state, &done, err) != DT_OK) return name_lost(r, err);
        if (done) return err->status;
        if (waited_s > 1e-3 && rank_is_lost(r)) return tell_lost(r, err);
        pause_after(waited_s);
    }
}

dt_status rank_transfer(rank_group *r, const rank_part part[], int count, dt_error *err)
{
    return transfer_over(r, &r->wire, part, count, err);
}

dt_status rank_transfer_device(rank_group *r, const rank_part part[], int count, dt_error *err)
{
    return transfer_over(r, &r->device, part, count, err);
}

dt_status rank_receipt(rank_group *r, int peer, bool sends, dt_error *err)
{
    char nothing = 0;
    return rank_transfer(r, &(rank_part){peer, sends, &nothing, sizeof nothing}, 1, err);
}

/* ---- all of them ---- */

/* Room for what is sent to and got from each other rank; NULL after a failure. */
static rank_part *parts_alloc(int count, dt_error *err)
{
    rank_part *part = malloc((size_t)count * sizeof *part);
    if (!part) error_set(err, DT_ERR_MEMORY, "no memory to list what %d ranks say", count);
    return part;
}

dt_status rank_gather(rank_group *r, void *all, const void *mine, size_t bytes, dt_error *err)
{
    if (rank_count(r) == 1) {
        memcpy(all, mine, bytes);
        return err->status;
    }
    int count = 0;
    rank_part *part = parts_alloc(2 * r->count, err);
    if (!part) return err->status;
    memcpy((char *)all + (size_t)r->index * bytes, mine, bytes);
    for (int i = 0; i < r->count; i++) {
        if (i == r->index) continue;
        part[count++] = (rank_part){i, true, (void *)(uintptr_t)mine, bytes};
        part[count++] = (rank_part){i, false, (char *)all + (size_t)i * bytes, bytes};
    }
    rank_transfer(r, part, count, err);
    free(part);
    return err->status;
}

dt_status rank_agree(rank_group *r, const char *text, dt_error *err)
{
    typedef struct word {
        dt_status status;
        char text[96];
    } word;
    dt_error unreachable = {0};
    if (rank_count(r) == 1) return err->status;
    word mine = {.status = err->status}, *all = calloc((size_t)r->count, sizeof *all);
    if (!all) return error_set(err, DT_ERR_MEMORY, "no memory for %d ranks", r->count);
    snprintf(mine.text, sizeof mine.text, "%s", text);
    if (rank_gather(r, all, &mine, sizeof mine, &unreachable) != DT_OK && err->status == DT_OK) *err = unreachable;
    for (int i = 0; i < r->count && err->status == DT_OK; i++)
        if (all[i].status != DT_OK)
            error_set(err, all[i].status, "rank %d of %d cannot begin", i, r->count);
        else if (strncmp(all[i].text, all[0].text, sizeof all[i].text) != 0)
            error_set(err, DT_ERR_CONFLICT, "rank %d is %.95s, rank 0 is %.95s: processes that make one call are alike",
                      i, all[i].text, all[0].text);
    r->ended = err->status == DT_OK;
    free(all);
    return err->status;
}

dt_status rank_spread(rank_group *r, void *data, size_t bytes, dt_error *err)
{
    if (rank_count(r) == 1) return err->status;
    if (r->index > 0) return rank_transfer(r, &(rank_part){0, false, data, bytes}, 1, err);
    rank_part *part = parts_alloc(r->count, err);
    if (!part) return err->status;
    for (int i = 1; i < r->count; i++) part[i - 1] = (rank_part){i, true, data, bytes};
    rank_transfer(r, part, r->count - 1, err);
    free(part);
    return err->status;
}

/* ---- orders ---- */

dt_status rank_tell(rank_group *r, rank_order order, dt_error *err)
{
    if (rank_count(r) > 1) r->order_open = order.what == RANK_STEP || order.what == RANK_COLLECT;
    return rank_spread(r, &order, sizeof order, err);
}

void rank_done(rank_group *r)
{
    if (r) r->order_open = false;
}

dt_status rank_tell_one(rank_group *r, int peer, rank_order order, dt_error *err)
{
    return rank_transfer(r, &(rank_part){peer, true, &order, sizeof order}, 1, err);
}

dt_status rank_hear(rank_group *r, rank_order *order, dt_error *err)
{
    return rank_transfer(r, &(rank_part){0, false, order, sizeof *order}, 1, err);
}

void rank_tell_end(rank_group *r, dt_status status)
{
    dt_error unreachable = {0};
    if (rank_count(r) > 1 && r->index == 0 && r->begun && !r->order_open)
        r->ended = rank_tell(r, (rank_order){RANK_END, (int32_t)status, 0}, &unreachable) == DT_OK;
}

void rank_begin(rank_group *r)
{
    if (r) r->ended = r->begun = r->order_open = r->obeys = r->stop_wanted = false;
}

void rank_begun(rank_group *r)
{
    if (r) r->begun = true;
}

dt_status rank_heard_end(rank_group *r, const rank_order *order, dt_error *err)
{
    r->ended = order->what == RANK_END;
    if (order->what != RANK_END)
        return error_set(err, DT_ERR_UNSUPPORTED, "rank 0 tells %d, which is no part of this call", (int)order->what);
    return order->number == DT_OK ? err->status : error_set(err, (dt_status)order->number, "%s", "");
}

/* ---- beginning and end ---- */

/* The module is looked for as that of an engine is (engine/device.c). Its MPI looks for parts of its own, which ask for the symbols of
 * all. */
static dt_status load_mpi(rank_wire *wire, const launch *l, dt_error *err)
{
    void *module = dlopen(MODULE, RTLD_NOW | RTLD_GLOBAL);
    if (!module)
        return error_set(
            err, DT_ERR_UNSUPPORTED,
            "%s started %d processes, and this one cannot reach the others: %s; build with -DDT_MPI=ON, or "
            "give --ranks alone for calls that have nothing to do with each other",
            l->by, l->count, dlerror());
    dt_status (*fill)(rank_wire *, dt_error *);
    void *symbol = dlsym(module, "difftune_wire_mpi");
    if (!symbol) return error_set(err, DT_ERR_UNSUPPORTED, MODULE " is of another version");
    memcpy(&fill, &symbol, sizeof fill);
    if (fill(wire, err) != DT_OK) return err->status;
    if (wire->count == l->count && wire->index == l->index) return DT_OK;
    error_set(err, DT_ERR_UNSUPPORTED,
              "%s started this process as rank %d of %d, but MPI takes it for rank %d of %d: it was started by another "
              "MPI than the program was built with",
              l->by, l->index, l->count, wire->index, wire->count);
    wire->close(wire->state, false);
    return err->status;
}

dt_status ranks_open(rank_group **out, dt_error *err)
{
    launch l;
    rank_wire wire;
    *out = NULL;
    if (launch_find(&l, err) != DT_OK || l.count == 1) return err->status;
    if ((l.has_mpi ? load_mpi(&wire, &l, err) : wire_tcp_open(&wire, &l, MEETING_SECONDS, err)) != DT_OK)
        return err->status;
    return ranks_open_over(out, &wire, err);
}

/* Where a network lets no connection through, nobody watches, and what started the processes ends them. */
static dt_status open_watch(rank_group *r, dt_error *err)
{
    meet_place place = {0};
    bool *connected = malloc((size_t)r->count * sizeof *connected), mine;
    if (!connected) return error_set(err, DT_ERR_MEMORY, "no memory for %d ranks", r->count);
    const bool listens = r->index > 0 || watch_listen(&r->watch, r->count, &place);
    if (rank_spread(r, &place, sizeof place, err) == DT_OK) {
        mine = r->index > 0 ? place.port && watch_connect(&r->watch, r->index, &place, WATCH_SECONDS)
                            : listens && watch_accept(&r->watch, &place, WATCH_SECONDS);
        rank_gather(r, connected, &mine, sizeof mine, err);
        for (int i = 0; i < r->count && err->status == DT_OK; i++) mine = mine && connected[i];
        if (!mine) watch_close(&r->watch, false);
    }
    free(connected);
    return err->status;
}

/* Which of the ranks are on this machine. */
static dt_status count_local(rank_group *r, dt_error *err)
{
    typedef char machine_name[128];
    machine_name *all = calloc((size_t)r->count, sizeof *all), mine = "";
    if (!all) return error_set(err, DT_ERR_MEMORY, "no memory for %d ranks", r->count);
    meet_machine(mine, sizeof mine);
    if (rank_gather(r, all, mine, sizeof mine, err) == DT_OK)
        for (int i = 0; i < r->count; i++) {
            const bool local = !strcmp(all[i], mine);
            r->local_index += local && i < r->index;
            r->local_count += local;
        }
    free(all);
    return err->status;
}

dt_status ranks_open_over(rank_group **out, const rank_wire *wire, dt_error *err)
{
    rank_group *r = malloc(sizeof *r);
    *out = r;
    if (!r) {
        wire->close(wire->state, false);
        return error_set(err, DT_ERR_MEMORY, "no memory for the ranks");
    }
    *r = (rank_group){.index = wire->index, .count = wire->count, .wire = *wire, .lost = -1};
    return count_local(r, err) == DT_OK ? open_watch(r, err) : err->status;
}

void ranks_close(rank_group *r)
{
    dt_error ignored = {0};
    if (!r) return;
    char *all = r->ended ? malloc((size_t)r->count) : NULL;
    const bool reached = all && rank_gather(r, all, "", 1, &ignored) == DT_OK;
    free(all);
    watch_close(&r->watch, reached);
    if (r->reaches_devices) r->device.close(r->device.state, reached);
    r->wire.close(r->wire.state, reached);
    free(r);
}
