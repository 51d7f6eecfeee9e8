#include "study/experiment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/settings_paths.h"
#include "file/folder.h"
#include "file/json_file.h"
#include "file/names.h"

/* ---- experiment.json ---- */

/* The object under a key, a new one where there is none. */
static json_t *take_object(const json_t *all, const char *key)
{
    json_t *found = json_object_get(all, key);
    return found ? json_incref(found) : json_object();
}

static dt_status read_all(experiment *e, const char *path, dt_error *err)
{
    json_t *all = json_file_read(path, err);
    if (!all) return err->status;
    e->stages = json_incref(json_object_get(all, "stages"));
    e->results = take_object(all, "results");
    e->failed = take_object(all, "failed");
    e->seconds = take_object(all, "seconds");
    json_decref(all);
    if (!json_is_object(e->stages) || !json_is_object(e->results) || !json_is_object(e->failed) ||
        !json_is_object(e->seconds))
        error_set(err, DT_ERR_FORMAT, "%s: not the description of an experiment", path);
    return err->status;
}

static void put_filled(json_t **all, const char *key, json_t *value)
{
    if (json_object_size(value) > 0) json_put(all, key, json_incref(value));
}

dt_status experiment_write(const experiment *e, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, e->folder, EXPERIMENT_FILE);
    json_t *all = json_pack("{s:s, s:O, s:O}", "tool", "difftune " DT_VERSION, "arms", e->arms, "stages", e->stages);
    put_filled(&all, "results", e->results);
    put_filled(&all, "failed", e->failed);
    put_filled(&all, "seconds", e->seconds);
    return json_file_write(path, all, NULL, err);
}

bool experiment_exists(const char *folder)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, EXPERIMENT_FILE);
    return file_exists(path);
}

dt_status experiment_open(experiment *e, const char *folder, dt_error *err)
{
    char path[DT_PATH_MAX];
    *e = (experiment){.states = json_object()};
    snprintf(e->folder, sizeof e->folder, "%s", folder);
    file_join(path, folder, EXPERIMENT_FILE);
    if (file_exists(path) ||
        (file_check_free_folder(folder, "experiment", err) == DT_OK && file_make_dirs(folder, err) == DT_OK))
        file_lock_folder(&e->lock, folder, err);
    if (err->status == DT_OK && file_exists(path)) {
        read_all(e, path, err);
    } else {
        e->stages = json_object();
        e->results = json_object();
        e->failed = json_object();
        e->seconds = json_object();
    }
    if (err->status != DT_OK) experiment_close(e);
    return err->status;
}

void experiment_close(experiment *e)
{
    json_decref(e->arms);
    json_decref(e->stages);
    json_decref(e->results);
    json_decref(e->failed);
    json_decref(e->seconds);
    json_decref(e->states);
    file_unlock(&e->lock);
    e->arms = e->stages = e->results = e->failed = e->seconds = e->states = NULL;
}

dt_status experiment_set_arms(experiment *e, const settings_arms *arms, dt_error *err)
{
    json_decref(e->arms);
    e->arms = json_array();
    for (int i = 0; i < arms->count; i++) json_add(&e->arms, json_string(arms->arm[i].name));
    return experiment_write(e, err);
}

/* ---- stages ---- */

/* The value of a key; of a path inside the experiment's folder what follows it, so that the folder may be moved. */
static void value_of(char text[SETTINGS_VALUE_MAX], const experiment *e, const dt_settings *s, const settings_key *key)
{
    settings_text(text, s, key);
    if (key->type != SETTINGS_TEXT || !file_is_named_below(text, e->folder)) return;
    const size_t length = strlen(e->folder);
    memmove(text, text + length, strlen(text + length) + 1);
}

/* What stands in a stage beside its settings: key -> the state of the pictures that it read. */
#define CONTENTS "contents"

/* The state of pictures; NULL where they are not there, or after a failure. */
static const char *state_of(experiment *e, const char *path, dt_error *err)
{
    file_hash hash;
    const char *known = json_string_value(json_object_get(e->states, path));
    if (known || !file_exists(path) || file_tree_hash(&hash, path, err) != DT_OK) return known;
    if (json_object_set_new(e->states, path, json_string(hash.hex)) != 0)
        error_set(err, DT_ERR_MEMORY, "%s: no memory to note its state", path);
    return json_string_value(json_object_get(e->states, path));
}

/* Whether what is at hand are pictures that the stage reads and the experiment has not made. */
static bool is_content(const experiment *e, const settings_paths *at)
{
    return at->key->path == SETTINGS_PICTURES && !settings_paths_writes(at) &&
           !file_is_named_below(at->path, e->folder);
}

/* The states of all of a stage's pictures. NULL after a failure. */
static json_t *contents_of(experiment *e, settings_verb verb, const dt_settings *s, dt_error *err)
{
    json_t *out = json_object();
    for (settings_paths at = settings_paths_of(s, verb); err->status == DT_OK && settings_paths_next(&at);) {
        const char *state = is_content(e, &at) ? state_of(e, at.path, err) : NULL;
        if (state) json_put(&out, at.key->name, json_string(state));
    }
    return out;
}

/* What is finished needs its pictures no more; where they are there they must be the same. */
static dt_status check_contents(experiment *e, const char *stage, settings_verb verb, const dt_settings *s,
                                dt_error *err)
{
    const json_t *made = json_object_get(json_object_get(e->stages, stage), CONTENTS);
    for (settings_paths at = settings_paths_of(s, verb); made && err->status == DT_OK && settings_paths_next(&at);) {
        const char *before = json_string_value(json_object_get(made, at.key->name));
        const char *state = before && is_content(e, &at) ? state_of(e, at.path, err) : NULL;
        if (state && strcmp(state, before) != 0)
            error_set(err, DT_ERR_CONFLICT,
                      "%s: stage %s was finished with other pictures in %s %s; choose another output_dir", e->folder,
                      stage, at.key->name, at.path);
    }
    return err->status;
}

dt_status experiment_check(bool *done, experiment *e, const char *stage, settings_verb verb, const dt_settings *s,
                           dt_error *err)
{
    const json_t *made = json_object_get(e->stages, stage);
    const dt_settings settled = settings_settled(s);
    *done = made != NULL;
    for (int i = 0; made && i < settings_key_count && err->status == DT_OK; i++) {
        char mine[SETTINGS_VALUE_MAX], before[SETTINGS_VALUE_MAX];
        const settings_key *key = &settings_keys[i];
        if (!settings_shapes(key, verb) || !settings_matter(s, key)) continue;
        value_of(mine, e, &settled, key);
        settings_initial_text(before, key); /* of a key that came later than the stage */
        const json_t *said = json_object_get(made, key->name);
        const char *found = said ? json_string_value(said) : before;
        if (!found || strcmp(found, mine))
            error_set(err, DT_ERR_CONFLICT,
                      "%s: stage %s was finished with %s %s, this call has %s; choose another output_dir", e->folder,
                      stage, key->name, found ? found : "(unknown)", mine);
    }
    return err->status == DT_OK ? check_contents(e, stage, verb, s, err) : err->status;
}

/* Takes the reference, also of what could not be made for want of memory. */
static dt_status put(const experiment *e, json_t *object, const char *stage, json_t *value, dt_error *err)
{
    if (json_object_set_new(object, stage, value) == 0) return DT_OK;
    return error_set(err, DT_ERR_MEMORY, "%s: no memory to mark stage %s", e->folder, stage);
}

dt_status experiment_mark(experiment *e, const char *stage, settings_verb verb, const dt_settings *s, dt_error *err)
{
    json_t *made = json_object();
    const dt_settings settled = settings_settled(s);
    for (int i = 0; i < settings_key_count; i++) {
        char text[SETTINGS_VALUE_MAX];
        if (!settings_shapes(&settings_keys[i], verb)) continue;
        value_of(text, e, &settled, &settings_keys[i]);
        json_put(&made, settings_keys[i].name, json_string(text));
    }
    json_put(&made, CONTENTS, contents_of(e, verb, s, err));
    json_object_del(e->failed, stage);
    if (err->status != DT_OK) {
        json_decref(made);
        return err->status;
    }
    if (put(e, e->stages, stage, made, err) != DT_OK) return err->status;
    return experiment_write(e, err);
}

void experiment_forget(experiment *e, const char *stage)
{
    json_object_del(e->stages, stage);
    json_object_del(e->seconds, stage);
}

dt_status experiment_keep_result(experiment *e, const char *stage, json_t *result, dt_error *err)
{
    return put(e, e->results, stage, result, err);
}

dt_status experiment_keep_failure(experiment *e, const char *stage, const char *why, dt_error *err)
{
    return put(e, e->failed, stage, json_string(why), err);
}

dt_status experiment_add_seconds(experiment *e, const char *stage, double seconds, dt_error *err)
{
    const double before = json_number_value(json_object_get(e->seconds, stage));
    return put(e, e->seconds, stage, json_real(before + seconds), err);
}
