#include "study/grid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- putting arms together ---- */

static dt_status check_name(const settings_arms *arms, const char *name, dt_error *err)
{
    if (strlen(name) >= SETTINGS_ARM_NAME_MAX)
        return error_set(err, DT_ERR_ARG, "arm %s: a name of at most %d letters expected; choose shorter ones", name,
                         SETTINGS_ARM_NAME_MAX - 1);
    for (int i = 0; i < arms->count; i++)
        if (!strcmp(arms->arm[i].name, name))
            return error_set(err, DT_ERR_ARG, "two arms would be called %s; choose other names", name);
    return DT_OK;
}

/* Adds an arm of this name; NULL after a failure. */
static settings_arm *add_named(settings_arms *arms, const char *name, dt_error *err)
{
    return check_name(arms, name, err) == DT_OK ? settings_arms_add(arms, name, err) : NULL;
}

/* Adds the settings of another one; `part`, with its name, says where they come from. */
static dt_status take_settings(settings_arm *arm, const settings_arm *from, const char *part, dt_error *err)
{
    for (int i = 0; i < from->count && err->status == DT_OK; i++) {
        const settings_key *key = from->override[i].key;
        for (int k = 0; k < arm->count; k++)
            if (arm->override[k].key == key)
                return error_set(err, DT_ERR_ARG, "arm %s: %s is set twice, the second time by %s %s", arm->name,
                                 key->name, part, from->name);
        settings_arm_add(arm, key, from->override[i].text, err);
    }
    return err->status;
}

/* ---- arms ---- */

/* The name of a point of the grid: of its groups, and of its values with their keys. */
static void name_point(char name[2 * SETTINGS_ARM_NAME_MAX], const settings_study *file, const int place[])
{
    size_t used = 0;
    const size_t room = 2 * SETTINGS_ARM_NAME_MAX;
    name[0] = '\0';
    for (int i = 0; i < file->axis_count && used < room; i++) {
        const settings_axis *axis = &file->axis[i];
        used += (size_t)snprintf(name + used, room - used, "%s%s%s%s", i ? "-" : "", axis->key ? axis->name : "",
                                 axis->key ? "-" : "", axis->value.arm[place[i]].name);
    }
}

static dt_status add_point(study_grid *g, const settings_study *file, const int place[], dt_error *err)
{
    char name[2 * SETTINGS_ARM_NAME_MAX];
    name_point(name, file, place);
    settings_arm *arm = add_named(&g->arms, name, err);
    for (int i = 0; arm && i < file->axis_count && err->status == DT_OK; i++)
        take_settings(arm, &file->axis[i].value.arm[place[i]], file->axis[i].name, err);
    return err->status;
}

/* The next point, the last axis first; false after the last. */
static bool step(int place[], const settings_study *file)
{
    for (int i = file->axis_count - 1; i >= 0; i--) {
        if (++place[i] < file->axis[i].value.count) return true;
        place[i] = 0;
    }
    return false;
}

/* How many arms there will be; more than STUDY_CASES_MAX are not counted any further. */
static int count_arms(const settings_study *file)
{
    int points = file->axis_count > 0;
    for (int i = 0; i < file->axis_count && points <= STUDY_CASES_MAX; i++) points *= file->axis[i].value.count;
    return points + file->arms.count;
}

static dt_status add_arms(study_grid *g, const settings_study *file, dt_error *err)
{
    int place[SETTINGS_AXES_MAX] = {0};
    if (count_arms(file) == 0) settings_arms_default(&g->arms, err);
    for (int i = 0; i < file->arms.count && err->status == DT_OK; i++) {
        settings_arm *arm = add_named(&g->arms, file->arms.arm[i].name, err);
        if (arm) take_settings(arm, &file->arms.arm[i], "arm", err);
    }
    const int named = g->arms.count, most = named + count_arms(file);
    g->place = calloc((size_t)most, sizeof *g->place);
    if (!g->place) error_set(err, DT_ERR_MEMORY, "no memory for the arms of a study");
    for (int i = 0; i < named && err->status == DT_OK; i++)
        for (int k = 0; k < SETTINGS_AXES_MAX; k++) g->place[i][k] = -1;
    for (bool more = file->axis_count > 0; more && err->status == DT_OK; more = step(place, file)) {
        memcpy(g->place[g->arms.count], place, sizeof place);
        add_point(g, file, place, err);
    }
    return err->status;
}

/* ---- cases ---- */

static dt_status add_case(study_grid *g, const settings_study *file, study_case one, dt_error *err)
{
    char name[4 * SETTINGS_ARM_NAME_MAX];
    const settings_arm *of = &g->arms.arm[one.arm];
    const settings_arm *data = file->data.count ? &file->data.arm[one.data] : NULL;
    const settings_arm *seed = file->seeds.count ? &file->seeds.arm[one.seed] : NULL;
    snprintf(name, sizeof name, "%s%s%s%s%s", of->name, data ? "-" : "", data ? data->name : "", seed ? "-" : "",
             seed ? seed->name : "");
    g->kase[g->cases.count] = one;
    settings_arm *arm = add_named(&g->cases, name, err);
    if (arm) take_settings(arm, of, "arm", err);
    if (arm && data && err->status == DT_OK) take_settings(arm, data, "data", err);
    if (arm && seed && err->status == DT_OK) take_settings(arm, seed, "seeds", err);
    return err->status;
}

static int at_least_one(int count)
{
    return count ? count : 1;
}

static dt_status add_cases(study_grid *g, const settings_study *file, dt_error *err)
{
    const int data = at_least_one(file->data.count), seeds = at_least_one(file->seeds.count);
    const int64_t count = (int64_t)g->arms.count * data * seeds;
    if (count > STUDY_CASES_MAX)
        return error_set(err, DT_ERR_ARG,
                         "%d arms on %d data sets with %d seeds are %lld trainings; at most %d expected", g->arms.count,
                         data, seeds, (long long)count, STUDY_CASES_MAX);
    g->kase = calloc((size_t)count, sizeof *g->kase);
    if (!g->kase) return error_set(err, DT_ERR_MEMORY, "no memory for the arms of a study");
    for (int s = 0; s < seeds; s++)
        for (int d = 0; d < data; d++)
            for (int a = 0; a < g->arms.count && err->status == DT_OK; a++)
                add_case(g, file, (study_case){a, d, s}, err);
    return err->status;
}

dt_status study_grid_open(study_grid *g, const settings_study *file, dt_error *err)
{
    *g = (study_grid){0};
    if (count_arms(file) > STUDY_CASES_MAX)
        error_set(err, DT_ERR_ARG, "the grid has more than %d arms", STUDY_CASES_MAX);
    else if (add_arms(g, file, err) == DT_OK)
        add_cases(g, file, err);
    if (err->status != DT_OK) study_grid_close(g);
    return err->status;
}

void study_grid_close(study_grid *g)
{
    settings_arms_free(&g->arms);
    settings_arms_free(&g->cases);
    free(g->place);
    free(g->kase);
    *g = (study_grid){0};
}
