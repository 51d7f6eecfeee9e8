/* Settings that the model answers where the user says nothing. */
#ifndef SETTINGS_SETTINGS_IMPLIED_H
#define SETTINGS_SETTINGS_IMPLIED_H

#include "settings/settings.h"

/* Puts into *s, for these verbs, what the folder of pretrained_model says: the codec of a run or of a pipeline of diffusers, the text
 * encoder of a run, what an adapter of a run was trained on top of; and pretrained_model itself, of the run of controlnet_model. What
 * leads nowhere is left as it was. */
void settings_imply(dt_settings *s, unsigned verbs);

#endif
