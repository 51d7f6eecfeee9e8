#include "study/experiment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/json_file.h"

/* ---- experiment.json ---- */

static dt_status read_stages(experiment *e, const char *path, dt_error *err)
{
    json_t *all = json_file_read(path, err);
    e->stages = json_incref(json_object_get(all, "stages"));
    json_decref(all);
    if (!json_is_object(e->stages)) error_set(err, DT_ERR_FORMAT, "%s: not the description of an experiment", path);
    return err->status;
}

static dt_status write_stages(const experiment *e, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, e->folder, "experiment.json");
    json_t *all = json_pack("{s:s, s:O, s:O}", "tool", "difftune " DT_VERSION, "arms", e->arms, "stages", e->stages);
    return json_file_write(path, all, NULL, err);
}

dt_status experiment_open(experiment *e, const char *folder, dt_error *err)
{
    char path[DT_PATH_MAX];
    *e = (experiment){0};
    snprintf(e->folder, sizeof e->folder, "%s", folder);
    file_join(path, folder, "experiment.json");
    if (file_exists(path) ||
        (file_check_free_folder(folder, "experiment", err) == DT_OK && file_make_dirs(folder, err) == DT_OK))
        file_lock_folder(&e->lock, folder, err);
    if (err->status == DT_OK && file_exists(path))
        read_stages(e, path, err);
    else
        e->stages = json_object();
    if (err->status != DT_OK) experiment_close(e);
    return err->status;
}

void experiment_close(experiment *e)
{
    json_decref(e->arms);
    json_decref(e->stages);
    file_unlock(&e->lock);
    e->arms = e->stages = NULL;
}

dt_status experiment_set_arms(experiment *e, const settings_arms *arms, dt_error *err)
{
    json_decref(e->arms);
    e->arms = json_array();
    for (int i = 0; i < arms->count; i++) json_add(&e->arms, json_string(arms->arm[i].name));
    return write_stages(e, err);
}

/* ---- stages ---- */

/* The value of a key; of a path inside the experiment's folder what follows it, so that the folder may be moved. */
static void value_of(char text[SETTINGS_VALUE_MAX], const experiment *e, const dt_settings *s, const settings_key *key)
{
    size_t length = strlen(e->folder);
    settings_text(text, s, key);
    bool inside = key->type == SETTINGS_TEXT && !strncmp(text, e->folder, length) && text[length] == '/';
    if (inside) memmove(text, text + length, strlen(text + length) + 1);
}

dt_status experiment_check(bool *done, const experiment *e, const char *stage, unsigned verbs, const dt_settings *s,
                           dt_error *err)
{
    const json_t *made = json_object_get(e->stages, stage);
    dt_settings untouched;
    dt_settings_init(&untouched);
    *done = made != NULL;
    for (int i = 0; made && i < settings_key_count && err->status == DT_OK; i++) {
        char mine[SETTINGS_VALUE_MAX], before[SETTINGS_VALUE_MAX];
        const settings_key *key = &settings_keys[i];
        if (!settings_shapes(key, verbs)) continue;
        value_of(mine, e, s, key);
        settings_text(before, &untouched, key); /* of a key that came later than the stage */
        const json_t *said = json_object_get(made, key->name);
        const char *found = said ? json_string_value(said) : before;
        if (!found || strcmp(found, mine))
            error_set(err, DT_ERR_CONFLICT,
                      "%s: stage %s was finished with %s %s, this call has %s; choose another output_dir", e->folder,
                      stage, key->name, found ? found : "(unknown)", mine);
    }
    return err->status;
}

dt_status experiment_mark(experiment *e, const char *stage, unsigned verbs, const dt_settings *s, dt_error *err)
{
    json_t *made = json_object();
    for (int i = 0; i < settings_key_count; i++) {
        char text[SETTINGS_VALUE_MAX];
        if (!settings_shapes(&settings_keys[i], verbs)) continue;
        value_of(text, e, s, &settings_keys[i]);
        json_put(&made, settings_keys[i].name, json_string(text));
    }
    if (json_object_set_new(e->stages, stage, made) != 0)
        return error_set(err, DT_ERR_MEMORY, "%s: no memory to mark stage %s", e->folder, stage);
    return write_stages(e, err);
}
