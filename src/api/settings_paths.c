#include "api/settings_paths.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "api/controls.h"
#include "file/names.h"
#include "file/path.h"
#include "model/annotate/annotator.h"
#include "model/control_part.h"

enum { LINKS_DEPTH_MAX = 16, FOLDERS_MAX = 100000 };

/* ---- the paths of a verb ---- */

/* An experiment has the paths of all its stages. */
static unsigned stages_of(settings_verb verb)
{
    return verb == SETTINGS_RUN || verb == SETTINGS_STUDY ? ~0u : verb;
}

/* Whether the value stands for something else, or for nothing. */
static bool is_no_path(const dt_settings *s, const settings_key *key)
{
    if (!strcmp(key->name, "control")) return !strcmp(s->control, CONTROL_GIVEN) || controls_are_annotated(s);
    if (!strcmp(key->name, "cache_dir")) return !settings_keep_cache(s); /* it has a default */
    return false;
}

settings_paths settings_paths_of(const dt_settings *s, settings_verb verb)
{
    return (settings_paths){.s = s, .verb = verb, .index = -1};
}

/* The next of a list, or the next key's value; NULL: there is no more. */
static const char *next_text(settings_paths *w)
{
    while (!w->rest) {
        if (++w->index == settings_key_count) return NULL;
        w->key = &settings_keys[w->index];
        if (w->key->path != SETTINGS_NO_PATH && (w->key->verbs & stages_of(w->verb)) && !is_no_path(w->s, w->key))
            w->rest = (const char *)w->s + w->key->offset;
    }
    return w->rest;
}

bool settings_paths_next(settings_paths *w)
{
    for (const char *text; (text = next_text(w));) {
        const size_t length = w->key->is_list ? strcspn(text, ",") : strlen(text);
        w->rest = text[length] ? text + length + 1 : NULL;
        snprintf(w->path, sizeof w->path, "%.*s", (int)length, text);
        file_cut_word(w->path); /* a split, or a weight */
        if (w->path[0]) return true;
    }
    return false;
}

bool settings_paths_writes(const settings_paths *w)
{
    return w->key->written & w->verb;
}

/* ---- what must be there ---- */

dt_status settings_path_missing(const settings_paths *w, dt_error *err)
{
    char names[DT_TEXT_MAX];
    annotator_names(names);
    if (!strcmp(w->key->name, "control"))
        return error_set(err, DT_ERR_IO, "control %s: no annotator (%s), not " CONTROL_GIVEN ", and no such folder",
                         w->path, names);
    return error_set(err, DT_ERR_IO, "%s %s: no such file or folder%s", w->key->name, w->path,
                     !strcmp(w->key->name, "bank") ? "; difftune bank makes one"
                     : file_is_elsewhere(w->path)
                         ? ", and nothing is downloaded: the path of a file or folder is expected"
                         : "");
}

/* What a run that goes on has kept of a diagnosis stands for it. */
dt_status settings_check_inputs(const dt_settings *s, settings_verb verb, dt_error *err)
{
    for (settings_paths in = settings_paths_of(s, verb); err->status == DT_OK && settings_paths_next(&in);)
        if (!settings_paths_writes(&in) && !file_exists(in.path) && strcmp(in.key->name, "diagnosis") != 0)
            settings_path_missing(&in, err);
    return err->status;
}

/* ---- what must not be the same ---- */

/* Whether `path` is in `folder`, or in a folder that a link below it leads to. *left folders more are looked at: links may
 * lead in circles. */
static bool is_reached_from(const char *path, const char *folder, int depth, int *left)
{
    if (file_is_inside(path, folder)) return true;
    DIR *open = depth < LINKS_DEPTH_MAX && --*left > 0 ? opendir(folder) : NULL;
    bool found = false;
    for (const struct dirent *member; open && !found && (member = readdir(open));) {
        char inner[DT_PATH_MAX];
        const unsigned char type = member->d_type;
        if (member->d_name[0] == '.' || !(type == DT_DIR || type == DT_LNK || type == DT_UNKNOWN)) continue;
        if ((size_t)snprintf(inner, sizeof inner, "%s/%s", folder, member->d_name) >= sizeof inner) continue;
        if (file_is_folder(inner)) found = is_reached_from(path, inner, depth + 1, left);
    }
    if (open) closedir(open);
    return found;
}

/* Whether a copy that is there already may not be made anew: it is in a folder that is read, and of a run's folder in what the run
 * made. */
static bool is_of_source(const char *path, const char *source)
{
    static const char *const made[] = {"final", "checkpoints", "averages"};
    char part[DT_PATH_MAX];
    file_join(part, source, RUN_FILE);
    if (!file_is_inside(path, source) || !file_exists(path)) return false;
    bool own = !file_exists(part);
    for (size_t i = 0; i < sizeof made / sizeof *made && !own; i++) {
        file_join(part, source, made[i]);
        own = file_is_inside(path, part);
    }
    return own;
}

/* An output against another path of the verb. */
static void check_pair(const settings_paths *out, const settings_paths *other, dt_error *err)
{
    const bool read = !settings_paths_writes(other), same = file_is_same(out->path, other->path);
    const bool copies = out->verb == SETTINGS_CONVERT || out->verb == SETTINGS_PREDICT;
    int left = FOLDERS_MAX;
    if (same && read)
        error_set(err, DT_ERR_ARG, "%s must not be the %s of %s", out->key->name,
                  file_is_folder(other->path) ? "folder" : "file", other->key->name);
    else if (same)
        error_set(err, DT_ERR_ARG, "%s must not be the same as %s", out->key->name, other->key->name);
    else if (read && copies && is_of_source(out->path, other->path))
        error_set(err, DT_ERR_ARG, "%s %s is there already, in the folder of %s; choose another name", out->key->name,
                  out->path, other->key->name);
    else if (read && other->key->path == SETTINGS_PICTURES && file_is_folder(other->path) &&
             is_reached_from(out->path, other->path, 0, &left))
        error_set(err, DT_ERR_ARG, "%s %s must not be in the folder of %s", out->key->name, out->path,
                  other->key->name);
}

dt_status settings_check_paths(const dt_settings *s, settings_verb verb, dt_error *err)
{
    for (settings_paths out = settings_paths_of(s, verb); settings_paths_next(&out);) {
        if (!settings_paths_writes(&out)) continue;
        for (settings_paths other = settings_paths_of(s, verb); settings_paths_next(&other);)
            if (other.key != out.key && err->status == DT_OK) check_pair(&out, &other, err);
    }
    return err->status;
}
