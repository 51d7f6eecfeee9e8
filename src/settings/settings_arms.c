/* The arms of an experiment as data. */
#include "settings/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool settings_suits_arm(const settings_key *key)
{
    const unsigned stages = SETTINGS_CACHE | SETTINGS_BANK | SETTINGS_TRAIN | SETTINGS_SAMPLE | SETTINGS_EVAL;
    bool of_all = (key->verbs & SETTINGS_REPORT) || key == settings_find("arms");
    return (key->verbs & (stages | SETTINGS_RUN)) && key->affects != SETTINGS_PLACE && !of_all;
}

bool settings_suits_draw(const settings_key *key)
{
    const unsigned before = SETTINGS_CACHE | SETTINGS_BANK | SETTINGS_TRAIN | SETTINGS_EVAL;
    const bool of_drawing = !(key->verbs & before) || key->group == SETTINGS_GROUP_SAMPLING;
    const bool of_files = key == settings_find("num_samples") || !strncmp(key->name, "save_", 5);
    return (key->verbs & SETTINGS_SAMPLE) && of_drawing && !of_files;
}

settings_arm *settings_arms_add(settings_arms *arms, const char *name, dt_error *err)
{
    settings_arm *grown = realloc(arms->arm, (size_t)(arms->count + 1) * sizeof *grown);
    if (!grown) {
        error_set(err, DT_ERR_MEMORY, "no memory for arm %s", name);
        return NULL;
    }
    arms->arm = grown;
    settings_arm *arm = &grown[arms->count++];
    *arm = (settings_arm){0};
    snprintf(arm->name, sizeof arm->name, "%s", name);
    return arm;
}

dt_status settings_arm_add(settings_arm *arm, const settings_key *key, const char *text, dt_error *err)
{
    struct settings_override *grown = realloc(arm->override, (size_t)(arm->count + 1) * sizeof *grown);
    char *copy = strdup(text);
    if (grown) arm->override = grown;
    if (!grown || !copy) {
        free(copy);
        return error_set(err, DT_ERR_MEMORY, "no memory for the settings of arm %s", arm->name);
    }
    arm->override[arm->count++] = (struct settings_override){key, copy};
    return DT_OK;
}

dt_status settings_arms_default(settings_arms *arms, dt_error *err)
{
    const settings_key *method = settings_find("method");
    static const dt_method methods[] = {DT_METHOD_FINETUNE, DT_METHOD_DIFF_TUNING};
    *arms = (settings_arms){0};
    for (size_t i = 0; i < sizeof methods / sizeof *methods && err->status == DT_OK; i++) {
        const char *word = method->words[methods[i]];
        settings_arm *arm = settings_arms_add(arms, word, err);
        if (arm) settings_arm_add(arm, method, word, err);
        /* What a recipe retains is for the other one. */
        if (arm && methods[i] == DT_METHOD_FINETUNE) settings_arm_add(arm, settings_find("retention"), "none", err);
    }
    if (err->status != DT_OK) settings_arms_free(arms);
    return err->status;
}

void settings_arm_apply(dt_settings *s, const settings_arm *arm)
{
    dt_error never = {0}; /* the texts were tried when they were read */
    for (int i = 0; i < arm->count; i++) settings_set(s, arm->override[i].key->name, arm->override[i].text, &never);
}

void settings_arms_free(settings_arms *arms)
{
    for (int i = 0; i < arms->count; i++) {
        for (int k = 0; k < arms->arm[i].count; k++) free(arms->arm[i].override[k].text);
        free(arms->arm[i].override);
    }
    free(arms->arm);
    *arms = (settings_arms){0};
}

void settings_study_free(settings_study *study)
{
    settings_arms_free(&study->arms);
    settings_arms_free(&study->data);
    settings_arms_free(&study->seeds);
    settings_arms_free(&study->draw);
    for (int i = 0; i < study->axis_count; i++) settings_arms_free(&study->axis[i].value);
    *study = (settings_study){0};
}
