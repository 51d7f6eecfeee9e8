/* What the public calls share: entering a context, leaving it, and an observer that is never NULL. */
#ifndef API_API_H
#define API_API_H

#include "tensor/tensor.h"
#include "settings/settings.h"

/* Clears the last failure and checks the settings for this verb and whether its outputs can be written. From here on the
 * context asks `observer` (never NULL), which must stay, whether to go on, and numbers have a decimal point whatever the caller's
 * locale says. */
dt_status api_enter(ctx *c, const dt_settings *s, settings_verb verb, const dt_observer *observer);

/* The same of a call without settings or observer, which is one process's. */
dt_status api_enter_alone(ctx *c);

/* To be called once for each of the two, also where it failed. Gives back all that the call took in the arenas; returns the call's
 * status. */
dt_status api_leave(ctx *c);

/* `observer`, or one that watches nothing. */
const dt_observer *api_observer(const dt_observer *observer);

/* Says that `folder` holds more images than the setting `key` asks for, where it does: they are left as they are. */
void api_tell_beyond(const dt_observer *observer, const char *folder, int64_t holds, const char *key, int64_t asked);

/* The word of the timestep spacing that is drawn with: `auto` as the sampler has it. */
const char *api_spacing_word(const dt_settings *s);

#endif
