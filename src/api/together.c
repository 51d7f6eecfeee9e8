#include "api/together.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const unsigned verbs_of_several = SETTINGS_TRAIN | SETTINGS_BANK | SETTINGS_SAMPLE;

static dt_status refuse(ctx *c, const char *what)
{
    return error_set(&c->error, DT_ERR_UNSUPPORTED,
                     "%s is not made by several processes together, and %d were started: start one, or give --ranks "
                     "alone for calls that have nothing to do with each other",
                     what, c->ranks->count);
}

static dt_status check_supported(ctx *c, const dt_settings *s, settings_verb verb)
{
    if (!(verb & verbs_of_several)) return refuse(c, "this verb");
    if ((verb & SETTINGS_TRAIN) && s->fused_backward_pass) return refuse(c, "fused_backward_pass");
    if ((verb & SETTINGS_TRAIN) && s->dry_run) return refuse(c, "dry_run");
    return c->error.status;
}

static dt_status compare(const ctx *c, const dt_settings *mine, const dt_settings *first, dt_error *err)
{
    for (int i = 0; i < settings_key_count; i++) {
        char here[SETTINGS_VALUE_MAX], there[SETTINGS_VALUE_MAX];
        settings_text(here, mine, &settings_keys[i]);
        settings_text(there, first, &settings_keys[i]);
        if (strcmp(here, there) != 0)
            return error_set(err, DT_ERR_CONFLICT,
                             "rank %d has %s %s, rank 0 has %s: processes that make one call need "
                             "the same settings",
                             c->ranks->index, settings_keys[i].name, here, there);
    }
    return err->status;
}

dt_status together_check(ctx *c, const dt_settings *s, settings_verb verb)
{
    dt_error *err = &c->error;
    if (rank_count(c->ranks) == 1 || check_supported(c, s, verb) != DT_OK) return err->status;
    dt_settings *first = malloc(sizeof *first);
    if (!first) return error_set(err, DT_ERR_MEMORY, "no memory to compare the ranks' settings");
    *first = *s;
    if (rank_spread(c->ranks, first, sizeof *first, err) == DT_OK) compare(c, s, first, err);
    free(first);
    return err->status;
}

dt_status together_check_alone(ctx *c)
{
    return rank_count(c->ranks) == 1 ? c->error.status : refuse(c, "this verb");
}

/* ---- the observer ---- */

static void progress(void *user, const dt_progress *state)
{
    const together *t = user;
    if (t->inner->progress && !rank_follows(t->ranks)) t->inner->progress(t->inner->user, state);
}

static void tell_log(void *user, const char *line)
{
    const together *t = user;
    if (t->inner->log && !rank_follows(t->ranks)) t->inner->log(t->inner->user, line);
}

static bool should_stop(void *user)
{
    const together *t = user;
    if (rank_follows(t->ranks) && !t->ranks->obeys) return false;
    return t->ranks->stop_wanted || (t->inner->should_stop && t->inner->should_stop(t->inner->user));
}

static bool should_save(void *user)
{
    const together *t = user;
    return t->inner->should_save && t->inner->should_save(t->inner->user);
}

const dt_observer *together_observer(together *t, const ctx *c, const dt_observer *observer)
{
    if (rank_count(c->ranks) == 1) return observer;
    *t = (together){.inner = observer, .ranks = c->ranks};
    t->outer = (dt_observer){
        .user = t, .progress = progress, .log = tell_log, .should_stop = should_stop, .should_save = should_save};
    return &t->outer;
}

void together_sign(ctx *c)
{
    char text[DT_MESSAGE_MAX];
    if (!rank_follows(c->ranks) || !c->error.message[0]) return;
    snprintf(text, sizeof text, "rank %d: %.*s", c->ranks->index, DT_MESSAGE_MAX - 32, c->error.message);
    memcpy(c->error.message, text, sizeof text);
}
