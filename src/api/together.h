/* A call that several processes make together (rank/rank.h): what each must agree on, and who speaks. */
#ifndef API_TOGETHER_H
#define API_TOGETHER_H

#include "rank/rank.h"
#include "settings/settings.h"
#include "tensor/context.h"

/* DT_ERR_UNSUPPORTED where this verb, or one of these settings, is made by one process only; DT_ERR_CONFLICT naming the key where ranks
 * were given different settings. Alone everything is fine. */
dt_status together_check(ctx *c, const dt_settings *s, settings_verb verb);

/* DT_ERR_UNSUPPORTED on several ranks. */
dt_status together_check_alone(ctx *c);

/* What several ranks make of an observer. */
typedef struct together {
    const dt_observer *inner;
    rank_group *ranks;
    dt_observer outer;
} together;

/* The observer that the call works with, while *t stays: `observer` (never NULL), with what the callers of other ranks want; of a rank
 * that follows it hears nothing. */
const dt_observer *together_observer(together *t, const ctx *c, const dt_observer *observer);

/* Says whose failure the context holds. */
void together_sign(ctx *c);

#endif
