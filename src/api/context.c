#include "api/api.h"
#include "engine/open.h"
#include "api/output_check.h"
#include "api/settings_check.h"
#include "api/settings_paths.h"
#include "api/settings_unused.h"
#include "api/together.h"
#include "base/clock.h"
#include "base/cpus.h"
#include "base/say.h"
#include "diffusion/solver.h"
#include "rank/device.h"

#include <stdio.h>
#include <stdlib.h>

dt_status dt_open(dt_context **out, const dt_settings *s)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return DT_ERR_MEMORY;
    dt_error unreachable = {0};
    rank_group *all = NULL;
    int threads = (int)s->threads;
    char kind[96];
    snprintf(kind, sizeof kind, "difftune %s (settings of %zu bytes) on %s", DT_VERSION, sizeof *s,
             s->device == DT_DEVICE_CPU ? "the CPU" : "a GPU");
    if (s->ranks == DT_RANKS_AUTO) ranks_open(&all, &unreachable);
    if (all && unreachable.status == DT_OK && threads == 0) threads = cpus_of_share(all->local_count);
    ctx_open_on(*out, s->device, all ? all->local_index : 0, threads, s->isa);
    (*out)->ranks = all;
    if (unreachable.status != DT_OK)
        error_set(&(*out)->error, unreachable.status, "%s", unreachable.message);
    else if (rank_agree(all, kind, &(*out)->error) == DT_OK && all && s->device != DT_DEVICE_CPU)
        ranks_join_devices(all, &(*out)->error);
    return (*out)->error.status;
}

void dt_close(dt_context *c)
{
    if (!c) return;
    ranks_close(c->ranks);
    ctx_close(c);
    free(c);
}

const char *dt_message(const dt_context *c)
{
    return c ? c->error.message : "out of memory";
}

void dt_free(void *p)
{
    free(p);
}

void api_tell_beyond(const dt_observer *observer, const char *folder, int64_t holds, const char *key, int64_t asked)
{
    if (holds > asked)
        say(observer->log, observer->user, "%s holds %lld images, %s is %lld: those beyond stay", folder,
            (long long)holds, key, (long long)asked);
}

static bool no_stop_wanted(void *user)
{
    const dt_observer *observer = user;
    return !observer->should_stop || !observer->should_stop(observer->user);
}

/* What every call begins with. */
static dt_status begin(ctx *c)
{
    error_clear(&c->error);
    if (c->calls++ == 0 && !text_enter_c_numbers(&c->plain_numbers))
        error_set(&c->error, DT_ERR_MEMORY, "no memory to begin the call");
    rank_begin(c->ranks);
    ctx_enter(c);
    c->tape = NULL;
    c->recording = false;
    return c->error.status;
}

dt_status api_enter_alone(ctx *c)
{
    return begin(c) == DT_OK ? together_check_alone(c) : c->error.status;
}

dt_status api_enter(ctx *c, const dt_settings *s, settings_verb verb, const dt_observer *observer)
{
    if (begin(c) != DT_OK) return c->error.status;
    c->go_on = rank_follows(c->ranks) ? NULL : no_stop_wanted; /* rank 0 says when it ends */
    c->go_on_user = (void *)observer;
    c->asked_s = clock_s();
    c->gemm_flags = s->mixed_precision == DT_PRECISION_BF16 ? GEMM_BF16 : 0;
    if (settings_check(s, verb, &c->error) != DT_OK || together_check(c, s, verb) != DT_OK) return c->error.status;
    if (c->calls == 1) settings_tell_unused(s, verb, observer); /* of several the call around them speaks */
    rank_begun(c->ranks);
    const bool has_stages = verb == SETTINGS_RUN || verb == SETTINGS_STUDY; /* which look for what those read */
    if (output_check(s, verb, &c->error) != DT_OK || has_stages) return c->error.status;
    return settings_check_inputs(s, verb, &c->error);
}

dt_status api_leave(ctx *c)
{
    c->go_on = NULL;
    tape_clear(c);
    arena_clear(&c->model);
    arena_clear(&c->step);
    arena_clear(&c->scratch);
    rank_tell_end(c->ranks, c->error.status);
    together_sign(c);
    if (--c->calls == 0) text_leave_c_numbers(&c->plain_numbers);
    return c->error.status;
}

const dt_observer *api_observer(const dt_observer *observer)
{
    static const dt_observer nobody = {0};
    return observer ? observer : &nobody;
}

const char *api_spacing_word(const dt_settings *s)
{
    return settings_word_at("timestep_spacing", solver_spacing(s->sampler, s->timestep_spacing));
}
